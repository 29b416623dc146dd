package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

var poolRules = map[string]*rule{
	"MaxPool":           {infer: inferPool, forward: maxPoolForward, backward: maxPoolGradient},
	"AveragePool":       {infer: inferPool, backward: averagePoolGradient},
	"GlobalAveragePool": {infer: inferGlobal, backward: globalAverageGradient},
	"GlobalMaxPool": {infer: inferGlobal, backward: func(c *call, dy []string) {
		c.grad(0, c.g.shareOfExtreme(c.input(0), c.out[0], dy[0], count(len(c.shape(0)))[2:]))
	}},
}

func inferPool(c *call) []info {
	x := c.shape(0)
	kernel := c.node.Ints("kernel_shape")
	if len(x) < 3 || len(kernel) != len(x)-2 {
		c.fail("input %v and kernel %v do not go together", x, kernel)
		return nil
	}
	ceil := c.node.Int("ceil_mode", 0) != 0
	if ceil && c.node.Op == "AveragePool" {
		c.fail("ceil_mode is not supported")
		return nil
	}
	if c.node.Int("storage_order", 0) != 0 {
		c.fail("storage_order is not supported")
		return nil
	}
	win := c.window(kernel, x[2:])
	if c.node.Op == "AveragePool" && !all(win.dilation, 1) {
		c.fail("dilations are not supported")
		return nil
	}
	shape := append(slices.Clone(x[:2]), win.out(x[2:], ceil)...)
	return []info{{c.info(0).typ, shape}, {onnx.Int64, shape}}
}

// maxPoolForward keeps the positions of the maxima. Of equal ones ONNX Runtime
// names the first in row-major order, as PyTorch does.
func maxPoolForward(c *call) string {
	if len(c.out) > 1 {
		c.fail("the positions of the maxima (second result) are not supported")
		return c.out[0]
	}
	out := c.g.ops("MaxPool", 2, c.in[:1], c.node.Attrs...)
	c.keep("positions", out[1])
	return out[0]
}

func maxPoolGradient(c *call, dy []string) {
	g, n := c.g, size(c.shape(0))
	flat, at := g.reshape(dy[0], size(g.shape(dy[0]))), g.reshape(c.kept["positions"], size(g.shape(dy[0])))
	win := c.window(c.node.Ints("kernel_shape"), c.shape(0)[2:])
	overlap := false
	for k := range win.kernel {
		overlap = overlap || win.reach(k) > win.stride[k]
	}
	c.grad(0, g.reshape(g.scatter(g.zeros([]int64{n}), at, flat, 0, overlap), c.shape(0)...))
}

// scatter puts values into base at the given positions of an axis; add sums
// where positions repeat, in the order of the values.
func (g *graph) scatter(base, at, values string, axis int64, add bool) string {
	attrs := []*onnx.Attr{onnx.IntAttr("axis", axis)}
	if add {
		attrs = append(attrs, onnx.StringAttr("reduction", "add"))
	}
	return g.op("ScatterElements", []string{base, at, values}, attrs...)
}

// averagePoolGradient spreads dy over its windows: pooling is a matrix per
// axis, and this is their transpose.
func averagePoolGradient(c *call, dy []string) {
	x := c.shape(0)
	win := c.window(c.node.Ints("kernel_shape"), x[2:])
	counted := c.node.Int("count_include_pad", 0) != 0
	maps := make([]*array, len(x))
	for k := range win.kernel {
		out := c.g.shape(dy[0])[2+k]
		m := newArray(onnx.Float32, []int64{out, x[2+k]})
		for o := range out {
			start := o*win.stride[k] - win.begin[k]
			from, to := max(start, 0), min(start+win.kernel[k], x[2+k])
			weight := 1 / float64(to-from)
			if counted {
				weight = 1 / float64(min(start+win.kernel[k], x[2+k]+win.end[k])-start)
			}
			for i := from; i < to; i++ {
				m.v[o*x[2+k]+i] = weight
			}
		}
		maps[2+k] = m
	}
	c.grad(0, c.g.alongAxes(dy[0], maps, true))
}

// alongAxes applies a matrix [out, in] along every axis that has one; back
// applies the transposed ones, [in, out].
func (g *graph) alongAxes(a string, maps []*array, back bool) string {
	for k, m := range maps {
		if m == nil {
			continue
		}
		if back {
			m = m.pick([]int64{m.shape[1], m.shape[0]}, walk([]int64{m.shape[1], m.shape[0]}, []int{1, int(m.shape[1])}, 0))
		}
		s := slices.Clone(g.shape(a))
		before, after := size(s[:k]), size(s[k+1:])
		to := m.shape[0]
		if after == 1 { // the last axis: a·mᵀ
			t := m.pick([]int64{m.shape[1], m.shape[0]}, walk([]int64{m.shape[1], m.shape[0]}, []int{1, int(m.shape[1])}, 0))
			a = g.matmul(g.reshape(a, before, s[k]), g.newConstant("axis", t))
		} else {
			a = g.matmul(g.newConstant("axis", m), g.reshape(a, before, s[k], after))
		}
		s[k] = to
		a = g.reshape(a, s...)
	}
	return a
}

func inferGlobal(c *call) []info {
	x := c.shape(0)
	if len(x) < 3 {
		c.fail("input %v has no spatial axes", x)
		return nil
	}
	return []info{{c.info(0).typ, append(slices.Clone(x[:2]), slices.Repeat([]int64{1}, len(x)-2)...)}}
}

func globalAverageGradient(c *call, dy []string) {
	x := c.shape(0)
	c.grad(0, c.g.expand(c.g.scale(dy[0], 1/float64(size(x[2:]))), x...))
}
