package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

var sliceRules = map[string]*rule{
	"Slice": {infer: inferSlice, fold: foldSlice, backward: sliceGradient},
	"Pad":   {infer: inferPad, forward: padForward, backward: padGradient},
}

// cut is a Slice along one axis: count elements from start on.
type cut struct{ start, step, count int64 }

// cuts returns the Slice's plan for every axis.
func (c *call) cuts() []cut {
	in := c.shape(0)
	out := make([]cut, len(in))
	for k, n := range in {
		out[k] = cut{0, 1, n}
	}
	starts, ends, axes, steps := c.ints(1), c.ints(2), c.ints(3), c.ints(4)
	if axes == nil {
		axes = count(len(starts))
	}
	if len(ends) != len(starts) || len(axes) != len(starts) || (steps != nil && len(steps) != len(starts)) {
		c.fail("starts, ends, axes and steps have different lengths")
		return out
	}
	for i, a := range axes {
		k, step := c.front(a, len(in)), int64(1)
		if steps != nil {
			step = steps[i]
		}
		n := in[k]
		from, to := starts[i], ends[i]
		if from < 0 {
			from += n
		}
		if to < 0 {
			to += n
		}
		switch {
		case step > 0:
			from, to = min(max(from, 0), n), min(max(to, 0), n)
			out[k] = cut{from, step, max((to-from+step-1)/step, 0)}
		case step < 0:
			from, to = min(max(from, -1), n-1), min(max(to, -1), n-1)
			out[k] = cut{from, step, max((from-to-step-1)/-step, 0)}
		default:
			c.fail("a step of 0")
		}
	}
	return out
}

func inferSlice(c *call) []info {
	shape := []int64{}
	for _, s := range c.cuts() {
		shape = append(shape, s.count)
	}
	return []info{{c.info(0).typ, shape}}
}

func foldSlice(c *call) *array {
	strides, start := rowMajor(c.shape(0)), 0
	for k, s := range c.cuts() {
		start += int(s.start) * strides[k]
		strides[k] *= int(s.step)
	}
	return c.constant(0).pick(c.outShape(), walk(c.outShape(), strides, start))
}

// sliceGradient puts dy back to where it was cut: reversed where the step is
// negative, with step-1 zeros behind each element, and zeros around.
func sliceGradient(c *call, dy []string) {
	g, v, in := c.g, dy[0], c.shape(0)
	rank := len(in)
	begin, end := make([]int64, rank), make([]int64, rank)
	for k, s := range c.cuts() {
		if s.step < 0 {
			v = g.flip(v, int64(k))
			s = cut{s.start + (s.count-1)*s.step, -s.step, s.count}
		}
		if s.step > 1 && s.count > 1 {
			v = g.dilate(v, k, s.step)
		}
		begin[k], end[k] = s.start, in[k]-s.start-g.shape(v)[k]
	}
	c.grad(0, g.pad(v, begin, end))
}

// dilate puts step-1 zeros between the elements along axis k.
func (g *graph) dilate(a string, k int, step int64) string {
	s := slices.Clone(g.shape(a))
	apart := slices.Insert(slices.Clone(s), k+1, 1)
	begin, end := make([]int64, len(apart)), make([]int64, len(apart))
	end[k+1] = step - 1
	a = g.pad(g.reshape(a, apart...), begin, end)
	s[k] *= step
	a = g.reshape(a, s...)
	s[k] -= step - 1
	return g.crop(a, make([]int64, len(s)), s)
}

// pads returns the amounts of a Pad per axis, negative where it cuts.
func (c *call) pads() (begin, end []int64) {
	rank := len(c.shape(0))
	list, axes := c.ints(1), c.ints(3)
	if axes == nil {
		axes = count(rank)
	}
	begin, end = make([]int64, rank), make([]int64, rank)
	if len(list) != 2*len(axes) {
		c.fail("%d amounts for %d axes", len(list), len(axes))
		return begin, end
	}
	for i, a := range axes {
		k := c.front(a, rank)
		begin[k], end[k] = list[i], list[i+len(axes)]
	}
	return begin, end
}

func inferPad(c *call) []info {
	shape := slices.Clone(c.shape(0))
	begin, end := c.pads()
	for k := range shape {
		shape[k] += begin[k] + end[k]
	}
	return []info{{c.info(0).typ, shape}}
}

// padForward takes a Pad by nothing out.
func padForward(c *call) string {
	if slices.Equal(c.outShape(), c.shape(0)) {
		if begin, _ := c.pads(); all(begin, 0) {
			return c.input(0)
		}
	}
	c.emit()
	return c.out[0]
}

func padGradient(c *call, dy []string) {
	begin, end := c.pads()
	mode := c.text("mode", "constant")
	if slices.Equal(c.outShape(), c.shape(0)) && all(begin, 0) {
		c.grad(0, dy[0])
		return
	}
	if mode != "constant" {
		c.grad(0, c.g.alongAxes(dy[0], c.padMaps(mode, begin, end), true))
		return
	}
	for k := range begin {
		begin[k], end[k] = -begin[k], -end[k]
	}
	c.grad(0, c.g.pad(dy[0], begin, end))
}

// padMaps returns the matrix [out, in] per padded axis of a Pad that copies
// elements of the input.
func (c *call) padMaps(mode string, begin, end []int64) []*array {
	in := c.shape(0)
	maps := make([]*array, len(in))
	for k, n := range in {
		if begin[k] == 0 && end[k] == 0 {
			continue
		}
		out := n + begin[k] + end[k]
		m := newArray(onnx.Float32, []int64{out, n})
		for o := range out {
			i := o - begin[k]
			switch mode {
			case "edge":
				i = min(max(i, 0), n-1)
			case "wrap":
				i = ((i % n) + n) % n
			case "reflect":
				if n > 1 {
					period := 2 * (n - 1)
					i = ((i % period) + period) % period
					i = min(i, period-i)
				} else {
					i = 0
				}
			default:
				c.fail("mode %q is not supported", mode)
			}
			m.v[o*n+min(max(i, 0), n-1)] = 1
		}
		maps[k] = m
	}
	return maps
}
