package native

import (
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/onnx"
)

var matrixRules = map[string]*rule{
	"MatMul": {infer: inferMatMul, backward: matMulGradient},
	"Gemm":   {infer: inferGemm, backward: gemmGradient},
	"Einsum": {infer: inferEinsum, forward: einsumForward, backward: einsumGradient},
}

func inferMatMul(c *call) []info {
	a, b := c.shape(0), c.shape(1)
	if len(a) < 2 || len(b) < 2 {
		c.fail("operands of rank below 2 (%v and %v) are not supported", a, b)
		return nil
	}
	m, k, n := a[len(a)-2], a[len(a)-1], b[len(b)-1]
	if k != b[len(b)-2] {
		c.fail("shapes %v and %v do not go together", a, b)
		return nil
	}
	lead := batchShape(c, a[:len(a)-2], b[:len(b)-2])
	return []info{{c.info(0).typ, append(lead, m, n)}}
}

// batchShape broadcasts the leading axes of two matrices.
func batchShape(c *call, a, b []int64) []int64 {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := slices.Clone(a)
	for k, n := range b {
		switch p := &out[len(a)-len(b)+k]; {
		case *p == 1:
			*p = n
		case *p != n && n != 1:
			c.fail("leading shapes %v and %v do not go together", a, b)
		}
	}
	return out
}

// matMulGradient: da = dy·bᵀ, db = aᵀ·dy, summed over broadcast axes.
func matMulGradient(c *call, dy []string) {
	g, a, b := c.g, c.input(0), c.input(1)
	if c.wants(0) {
		c.grad(0, g.matmul(dy[0], g.swapped(b)))
	}
	if !c.wants(1) {
		return
	}
	as, bs := c.shape(0), c.shape(1)
	if len(bs) == 2 && len(as) > 2 { // one product over all rows
		rows := size(as[:len(as)-1])
		a = g.reshape(a, rows, as[len(as)-1])
		c.grad(1, g.matmul(g.swapped(a), g.reshape(dy[0], rows, bs[1])))
		return
	}
	c.grad(1, g.matmul(g.swapped(a), dy[0]))
}

func inferGemm(c *call) []info {
	a, b := c.shape(0), c.shape(1)
	if len(a) != 2 || len(b) != 2 {
		c.fail("operands %v and %v are no matrices", a, b)
		return nil
	}
	m, k := a[0], a[1]
	if c.node.Int("transA", 0) != 0 {
		m, k = k, m
	}
	inner, n := b[0], b[1]
	if c.node.Int("transB", 0) != 0 {
		inner, n = n, inner
	}
	if k != inner {
		c.fail("shapes %v and %v do not go together", a, b)
	}
	return []info{{c.info(0).typ, []int64{m, n}}}
}

// gemmGradient is that of y = alpha·A'·B' + beta·C.
func gemmGradient(c *call, dy []string) {
	g := c.g
	alpha, beta := float64(c.node.Float("alpha", 1)), float64(c.node.Float("beta", 1))
	ta, tb := c.node.Int("transA", 0) != 0, c.node.Int("transB", 0) != 0
	turned := func(name string, t bool) string {
		if t {
			return g.swapped(name)
		}
		return name
	}
	if c.wants(0) {
		d := g.matmul(dy[0], g.swapped(turned(c.input(1), tb)))
		c.grad(0, g.scale(turned(d, ta), alpha))
	}
	if c.wants(1) {
		d := g.matmul(g.swapped(turned(c.input(0), ta)), dy[0])
		c.grad(1, g.scale(turned(d, tb), alpha))
	}
	if c.wants(2) {
		c.grad(2, g.scale(g.sumTo(dy[0], c.shape(2)), beta))
	}
}

// equation splits an Einsum equation into the indices of its operands and of
// its result. Repeated indices within an operand and "..." are not supported.
func (c *call) equation() (in []string, out string) {
	text := strings.ReplaceAll(c.text("equation", ""), " ", "")
	left, right, ok := strings.Cut(text, "->")
	in = strings.Split(left, ",")
	if !ok || strings.Contains(text, ".") || len(in) != len(c.in) || len(in) > 2 {
		c.fail("equation %q is not supported", text)
		return nil, ""
	}
	for i, s := range append(slices.Clone(in), right) {
		for k, r := range s {
			if strings.ContainsRune(s[k+1:], r) {
				c.fail("equation %q repeats an index", text)
				return nil, ""
			}
		}
		if i < len(in) && len(s) != len(c.shape(i)) {
			c.fail("equation %q does not fit shape %v", text, c.shape(i))
			return nil, ""
		}
	}
	return in, right
}

// sizes maps each index of an equation to its size.
func (c *call) sizes(in []string) map[rune]int64 {
	m := map[rune]int64{}
	for i, s := range in {
		for k, r := range s {
			m[r] = max(m[r], c.shape(i)[k])
		}
	}
	return m
}

func inferEinsum(c *call) []info {
	in, right := c.equation()
	m := c.sizes(in)
	out := []int64{}
	for _, r := range right {
		out = append(out, m[r])
	}
	return []info{{c.info(0).typ, out}}
}

// einsumForward sums indices that only one operand has before the product.
func einsumForward(c *call) string {
	in, right := c.equation()
	names, parts := make([]string, len(in)), make([]string, len(in))
	for i, s := range in {
		others := right
		if len(in) == 2 {
			others += in[1-i]
		}
		names[i], parts[i] = c.alone(i, s, others)
	}
	return c.g.op("Einsum", names, onnx.StringAttr("equation", strings.Join(parts, ",")+"->"+right))
}

// einsumGradient exchanges the operand with the result. An index that only
// this operand has was summed: dy is broadcast along it.
func einsumGradient(c *call, dy []string) {
	g := c.g
	in, right := c.equation()
	m := c.sizes(in)
	for i, s := range in {
		if !c.wants(i) {
			continue
		}
		known, operands := right, []string{dy[0]}
		if len(in) == 2 {
			name, other := c.alone(1-i, in[1-i], right+s)
			known, operands = known+","+other, append(operands, name)
		}
		kept := []rune{}
		partly, full := []int64{}, []int64{}
		for k, r := range s {
			if n := c.shape(i)[k]; n != m[r] {
				c.fail("broadcast index %q in an equation", r)
			}
			full = append(full, m[r])
			if strings.ContainsRune(known, r) {
				kept = append(kept, r)
				partly = append(partly, m[r])
			} else {
				partly = append(partly, 1)
			}
		}
		d := g.op("Einsum", operands, onnx.StringAttr("equation", known+"->"+string(kept)))
		c.grad(i, g.expand(g.reshape(d, partly...), full...))
	}
}

// alone sums an operand over the indices that no other part of the equation
// has: ONNX Runtime's Einsum fails on some of them.
func (c *call) alone(i int, indices, others string) (name, left string) {
	var axes, shape []int64
	kept := []rune{}
	for k, r := range indices {
		if strings.ContainsRune(others, r) {
			kept, shape = append(kept, r), append(shape, c.shape(i)[k])
		} else {
			axes = append(axes, int64(k))
		}
	}
	if axes == nil {
		return c.input(i), indices
	}
	return c.g.reshape(c.g.sum(c.input(i), axes...), shape...), string(kept)
}
