package onnx

import "slices"

// fewElements is the number of elements up to which a provider's own mean in
// float32 is accurate enough.
const fewElements = 512

// maxRank is the largest rank of values that the rules on means look at.
const maxRank = 6

// instanceNorm replaces InstanceNormalization over many elements by a centred
// form in small steps. The providers sum all elements of a channel in one go
// in float32, which drifts where most of them are one constant (padding).
func (r *rewriter) instanceNorm() {
	r.replace(func(n *Node) []*Node {
		if !n.Is("InstanceNormalization") || len(n.Inputs) != 3 || r.few(n.Inputs[0], 2) {
			return nil
		}
		b := r.block(n)
		x, ok := b.unroll(n.Inputs[0])
		if !ok {
			return nil
		}
		out := b.normalise(x, n.Float("epsilon", 1e-5), b.perChannel(n.Inputs[1], x.rank), b.perChannel(n.Inputs[2], x.rank))
		if x.name != n.Inputs[0] {
			b.op("Reshape", []string{out, b.ints(0, 0, -1)})
		}
		return b.finish(n.Outputs[0])
	})
}

// groupNorm replaces GroupNormalization, which the CPU provider would expand
// into means over whole groups, by the same centred form.
func (r *rewriter) groupNorm() {
	r.replace(func(n *Node) []*Node {
		x := n.Input(0)
		shape, groups := r.shape(x), n.Int("num_groups", 0)
		if !n.Is("GroupNormalization") || len(n.Inputs) != 3 || len(shape) < 4 || len(shape) > maxRank || groups < 1 {
			return nil
		}
		b := r.block(n)
		view := grid{b.op("Reshape", []string{x, b.concat(b.ints(0, groups, -1), b.lastTwo(x))}), 5, x}
		if r.opset < 21 { // scale and bias per group
			out := b.normalise(view, n.Float("epsilon", 1e-5), b.perChannel(n.Inputs[1], 5), b.perChannel(n.Inputs[2], 5))
			b.op("Reshape", []string{out, b.op("Shape", []string{x})})
			return b.finish(n.Outputs[0])
		}
		out := b.op("Reshape", []string{b.normalise(view, n.Float("epsilon", 1e-5), "", ""), b.op("Shape", []string{x})})
		scaled := b.op("Mul", []string{out, b.perChannel(n.Inputs[1], len(shape))})
		b.op("Add", []string{scaled, b.perChannel(n.Inputs[2], len(shape))})
		return b.finish(n.Outputs[0])
	})
}

// few reports whether the axes of a value from the given one on are known to
// hold few elements.
func (r *rewriter) few(name string, from int) bool {
	s := r.shape(name)
	if len(s) <= from {
		return false
	}
	n := known(s[from:])
	return n > 0 && n <= fewElements
}

// grid is a value [N, C, …] with at least two axes behind the channels; the
// last axis is as long as like's.
type grid struct {
	name string
	rank int
	like string
}

// unroll views x as a grid, or reports that it cannot. A 3-D x that was made
// by a Reshape (the way group normalisation is exported) gets the last two
// axes of the source back: [N, groups, rest, Y, Z].
func (b *block) unroll(x string) (grid, bool) {
	if s := b.r.shape(x); len(s) > 3 && len(s) <= maxRank {
		return grid{x, len(s), x}, true
	}
	p := b.r.x.Producer(x)
	if p == nil || !p.Is("Reshape") || len(b.r.shape(p.Input(0))) < 4 {
		return grid{}, false
	}
	source := p.Inputs[0]
	return grid{b.op("Reshape", []string{x, b.concat(b.ints(0, 0, -1), b.lastTwo(source))}), 5, source}, true
}

// lastTwo returns the sizes of the last two axes of x as an int64 vector.
func (b *block) lastTwo(x string) string {
	s := b.r.shape(x)
	if tail := s[len(s)-2:]; !slices.Contains(tail, -1) {
		return b.ints(tail...)
	}
	return b.op("Slice", []string{b.op("Shape", []string{x}), b.ints(int64(len(s) - 2)), b.ints(int64(len(s)))})
}

func (b *block) concat(parts ...string) string {
	return b.op("Concat", parts, IntAttr("axis", 0))
}

// perChannel views a vector of C elements as [1, C, 1…] of the given rank.
func (b *block) perChannel(vector string, rank int) string {
	shape := slices.Repeat([]int64{1}, rank)
	shape[1] = -1
	return b.op("Reshape", []string{vector, b.ints(shape...)})
}

// normalise appends (x - mean)/sqrt(variance + eps)·scale + bias over the axes
// from 2 on; "" leaves scale and bias out. With a first mean m and c = x - m:
//
//	m2 = mean(c)               what m is off by
//	v  = mean(c²) - m2²        the variance
//	a  = scale/sqrt(v + eps)
//	y  = c·a + (bias - m2·a)
func (b *block) normalise(x grid, eps float32, scale, bias string) string {
	axes := stepAxes(x.rank)
	c := b.op("Sub", []string{x.name, b.meanOver(x.name, axes)})
	m2 := b.meanOver(c, axes)
	v := b.op("Sub", []string{b.meanSquare(c, x.like, axes), b.op("Mul", []string{m2, m2})})
	v = b.op("Add", []string{b.op("Max", []string{v, b.floats(nil, 0)}), b.floats(nil, eps)})
	if scale == "" {
		scale = b.floats(nil, 1)
	}
	a := b.op("Div", []string{scale, b.op("Sqrt", []string{v})})
	shift := b.op("Mul", []string{m2, a})
	if bias != "" {
		shift = b.op("Sub", []string{bias, shift})
	} else {
		shift = b.op("Neg", []string{shift})
	}
	return b.op("Add", []string{b.op("Mul", []string{c, a}), shift})
}

// stepAxes returns the axes from 2 on, last first: no sum runs over more than
// one axis.
func stepAxes(rank int) []int64 {
	var axes []int64
	for axis := rank - 1; axis >= 2; axis-- {
		axes = append(axes, int64(axis))
	}
	return axes
}

// meanSquare appends the mean of x² over the axes, one at a time. The first
// step sums without storing the squares; like's last axis is as long as x's.
func (b *block) meanSquare(x, like string, axes []int64) string {
	sum := b.reduce("ReduceSumSquare", x, axes[0])
	return b.op("Div", []string{b.meanOver(sum, axes[1:]), b.lastSize(like)})
}

// lastSize returns the size of the last axis of x as float32.
func (b *block) lastSize(x string) string {
	s := b.r.shape(x)
	last := len(s) - 1
	if s[last] > 0 {
		return b.floats(nil, float32(s[last]))
	}
	size := b.op("Slice", []string{b.op("Shape", []string{x}), b.ints(int64(last)), b.ints(int64(last + 1))})
	return b.op("Cast", []string{size}, IntAttr("to", int64(Float32)))
}

// meanOver appends the mean over the axes, one at a time, in order. OpenVINO
// would merge the steps into one again: there, halving in between holds them
// apart (exactly: powers of two do not round).
func (b *block) meanOver(x string, axes []int64) string {
	up := float32(1)
	for i, axis := range axes {
		if i > 0 && b.r.provider == "openvino" {
			x = b.op("Mul", []string{x, b.floats(nil, 0.5)})
			up *= 2
		}
		x = b.reduce("ReduceMean", x, axis)
	}
	if up > 1 {
		x = b.op("Mul", []string{x, b.floats(nil, up)})
	}
	return x
}
