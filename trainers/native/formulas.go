package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// Short forms for the operators that formulas are made of.

func (g *graph) add(a, b string) string { return g.op("Add", []string{a, b}) }
func (g *graph) sub(a, b string) string { return g.op("Sub", []string{a, b}) }
func (g *graph) mul(a, b string) string { return g.op("Mul", []string{a, b}) }
func (g *graph) div(a, b string) string { return g.op("Div", []string{a, b}) }

func (g *graph) scale(a string, by float64) string {
	if by == 1 {
		return a
	}
	return g.mul(a, g.scalar(by))
}

func (g *graph) unary(op, a string) string { return g.op(op, []string{a}) }

// mask returns 1 where the comparison of a with b holds, otherwise 0.
func (g *graph) mask(comparison, a, b string) string {
	return g.cast(g.op(comparison, []string{a, b}), onnx.Float32)
}

func (g *graph) cast(a string, t onnx.DataType) string {
	if g.info[a].typ == t {
		return a
	}
	return g.op("Cast", []string{a}, onnx.IntAttr("to", int64(t)))
}

func (g *graph) where(cond, a, b string) string { return g.op("Where", []string{cond, a, b}) }

// reshape views a in another shape of the same size.
func (g *graph) reshape(a string, shape ...int64) string {
	if slices.Equal(g.shape(a), shape) {
		return a
	}
	return g.op("Reshape", []string{a, g.ints(shape...)})
}

// transpose permutes axes: axis i of the result is axis perm[i] of a. Where
// there are many axes, those that stay together are joined first: ONNX Runtime
// moves whole rows then.
func (g *graph) transpose(a string, perm ...int64) string {
	if slices.IsSorted(perm) {
		return a
	}
	if len(perm) > 4 {
		in, short, out := joinedAxes(g.shape(a), perm)
		if len(short) < len(perm) {
			return g.reshape(g.transpose(g.reshape(a, in...), short...), out...)
		}
	}
	return g.op("Transpose", []string{a}, onnx.IntsAttr("perm", perm...))
}

// joinedAxes returns a transposition without axes of size 1 and with axes
// joined that stay next to each other: the shape before it, the permutation, and
// the shape that perm itself gives.
func joinedAxes(shape, perm []int64) (in, short, out []int64) {
	var kept []int64 // axes of the result that are longer than 1
	for _, k := range perm {
		out = append(out, shape[k])
		if shape[k] > 1 {
			kept = append(kept, k)
		}
	}
	ordered := slices.Sorted(slices.Values(kept)) // the same axes in the order of the input
	rank := map[int64]int{}
	for i, k := range ordered {
		rank[k] = i
	}
	head := map[int64]int64{} // first axis of a group → its size
	var heads []int64
	for i, k := range kept {
		if i > 0 && rank[k] == rank[kept[i-1]]+1 {
			head[heads[len(heads)-1]] *= shape[k]
			continue
		}
		heads = append(heads, k)
		head[k] = shape[k]
	}
	sorted := slices.Sorted(slices.Values(heads))
	for _, k := range sorted {
		in = append(in, head[k])
	}
	for _, k := range heads {
		short = append(short, int64(slices.Index(sorted, k)))
	}
	return in, short, out
}

func (g *graph) expand(a string, shape ...int64) string {
	if slices.Equal(g.shape(a), shape) {
		return a
	}
	return g.op("Expand", []string{a, g.ints(shape...)})
}

func (g *graph) concat(axis int, parts ...string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	return g.op("Concat", parts, onnx.IntAttr("axis", int64(axis)))
}

// slice cuts along the given axes.
func (g *graph) slice(a string, axes, starts, ends, steps []int64) string {
	if len(axes) == 0 {
		return a
	}
	return g.op("Slice", []string{a, g.ints(starts...), g.ints(ends...), g.ints(axes...), g.ints(steps...)})
}

// crop keeps length elements from start on, per axis.
func (g *graph) crop(a string, start, length []int64) string {
	var axes, from, to, step []int64
	for k, n := range g.shape(a) {
		if start[k] != 0 || length[k] != n {
			axes, from, to, step = append(axes, int64(k)), append(from, start[k]), append(to, start[k]+length[k]), append(step, 1)
		}
	}
	return g.slice(a, axes, from, to, step)
}

// flip reverses the given axes.
func (g *graph) flip(a string, axes ...int64) string {
	var long, from, to, step []int64
	for _, k := range axes {
		if g.shape(a)[k] > 1 {
			long, from, to, step = append(long, k), append(from, -1), append(to, -1<<62), append(step, -1)
		}
	}
	return g.slice(a, long, from, to, step)
}

// pad adds zeros, or cuts where an amount is negative.
func (g *graph) pad(a string, begin, end []int64) string {
	all := slices.Concat(begin, end)
	if !slices.ContainsFunc(all, func(p int64) bool { return p != 0 }) {
		return a
	}
	if !slices.ContainsFunc(all, func(p int64) bool { return p > 0 }) { // cuts only
		start, length := make([]int64, len(begin)), make([]int64, len(begin))
		for k, n := range g.shape(a) {
			start[k], length[k] = -begin[k], n+begin[k]+end[k]
		}
		return g.crop(a, start, length)
	}
	return g.op("Pad", []string{a, g.ints(all...)})
}

// reduce reduces over axes, which stay with size 1.
func (g *graph) reduce(op, a string, axes ...int64) string {
	if len(axes) == 0 {
		return a
	}
	if op == "ReduceSum" || g.opset >= 18 {
		return g.op(op, []string{a, g.ints(axes...)}, onnx.IntAttr("keepdims", 1))
	}
	return g.op(op, []string{a}, onnx.IntsAttr("axes", axes...), onnx.IntAttr("keepdims", 1))
}

// naive is the number of elements up to which ONNX Runtime's plain float32
// summation is exact enough (docs/decisions/001-graph-rewrites.md).
const naive = 512

// sum sums over axes, which stay with size 1. Long sums run over few axes at a
// time, so that rounding errors of one sign do not pile up.
func (g *graph) sum(a string, axes ...int64) string { return g.total("ReduceSum", a, axes) }

// sumSquares sums the squares over axes, which stay with size 1.
func (g *graph) sumSquares(a string, axes ...int64) string {
	return g.total("ReduceSumSquare", a, axes)
}

func (g *graph) total(op, a string, axes []int64) string {
	axes = slices.Sorted(slices.Values(axes))
	count := int64(1)
	for _, k := range axes {
		count *= g.shape(a)[k]
	}
	if count == 1 && op == "ReduceSum" {
		return a
	}
	if count <= naive {
		return g.reduce(op, a, axes...)
	}
	for len(axes) > 0 {
		last := len(axes) - 1
		from, n := last, g.shape(a)[axes[last]]
		for from > 0 && n*g.shape(a)[axes[from-1]] <= naive { // short axes go together
			from--
			n *= g.shape(a)[axes[from]]
		}
		if n > 1 || op != "ReduceSum" {
			a = g.reduce(op, a, axes[from:]...)
			op = "ReduceSum"
		}
		axes = axes[:from]
	}
	return a
}

// sumTo undoes broadcasting: it sums a over the axes in which shape is 1 or
// has no axis.
func (g *graph) sumTo(a string, shape []int64) string {
	have := g.shape(a)
	if slices.Equal(have, shape) || len(have) < len(shape) {
		return a
	}
	lead := len(have) - len(shape)
	var axes []int64
	for k, n := range have {
		if k < lead || (shape[k-lead] == 1 && n != 1) {
			axes = append(axes, int64(k))
		}
	}
	a = g.sum(a, axes...)
	if size(g.shape(a)) == size(shape) {
		a = g.reshape(a, shape...)
	}
	return a
}

// dot sums a·b over axes, which stay with size 1.
func (g *graph) dot(a, b string, axes ...int64) string { return g.sum(g.mul(a, b), axes...) }

// matmul multiplies matrices.
func (g *graph) matmul(a, b string) string { return g.op("MatMul", []string{a, b}) }

// swapped transposes the last two axes.
func (g *graph) swapped(a string) string {
	perm := count(len(g.shape(a)))
	n := len(perm)
	perm[n-1], perm[n-2] = perm[n-2], perm[n-1]
	return g.transpose(a, perm...)
}

// count returns 0, 1, … n-1.
func count(n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}

// zeros returns a constant of zeros.
func (g *graph) zeros(shape []int64) string {
	return g.op("ConstantOfShape", []string{g.ints(shape...)}, onnx.TensorAttr("value", onnx.NewFloat32("", []int64{1}, []float32{0})))
}
