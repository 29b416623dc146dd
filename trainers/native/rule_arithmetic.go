package native

import (
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

var arithmeticRules = map[string]*rule{
	"Add": {infer: broadcast, fold: fold2(func(a, b float64) float64 { return a + b }), backward: func(c *call, dy []string) {
		c.grad(0, dy[0])
		c.grad(1, dy[0])
	}},
	"Sub": {infer: broadcast, fold: fold2(func(a, b float64) float64 { return a - b }), backward: func(c *call, dy []string) {
		c.grad(0, dy[0])
		if c.wants(1) {
			c.grad(1, c.g.unary("Neg", c.g.sumTo(dy[0], c.shape(1))))
		}
	}},
	"Mul": {infer: broadcast, fold: fold2(func(a, b float64) float64 { return a * b }), backward: func(c *call, dy []string) {
		for i := range 2 {
			if c.wants(i) {
				c.grad(i, c.g.mul(dy[0], c.input(1-i)))
			}
		}
	}},
	"Div": {infer: broadcast, fold: foldDiv, backward: func(c *call, dy []string) {
		if c.wants(0) {
			c.grad(0, c.g.div(dy[0], c.input(1)))
		}
		if c.wants(1) { // -dy·y/b
			s := c.g.sumTo(c.g.mul(dy[0], c.out[0]), c.shape(1))
			c.grad(1, c.g.unary("Neg", c.g.div(s, c.input(1))))
		}
	}},
	"Pow": {infer: broadcast, fold: fold2(math.Pow), backward: powGradient},
	"Mod": {infer: broadcast, fold: foldMod},
	"Min": {infer: broadcast, fold: foldEach(extreme(math.Min)), backward: extremeGradient},
	"Max": {infer: broadcast, fold: foldEach(extreme(math.Max)), backward: extremeGradient},
	"Sum": {infer: broadcast, fold: foldEach(func(x []float64) float64 {
		var s float64
		for _, v := range x {
			s += v
		}
		return s
	}), backward: func(c *call, dy []string) {
		for i := range c.in {
			c.grad(i, dy[0])
		}
	}},
	"Where": {
		infer: func(c *call) []info { return []info{{c.info(1).typ, c.broadcastShape(0, 1, 2)}} },
		fold: foldEach(func(x []float64) float64 {
			if x[0] != 0 {
				return x[1]
			}
			return x[2]
		}),
		backward: func(c *call, dy []string) {
			zero := c.g.scalar(0)
			if c.wants(1) {
				c.grad(1, c.g.where(c.input(0), dy[0], zero))
			}
			if c.wants(2) {
				c.grad(2, c.g.where(c.input(0), zero, dy[0]))
			}
		},
	},
}

var comparisonRules = map[string]*rule{
	"Equal":          compare(func(a, b float64) bool { return a == b }),
	"Greater":        compare(func(a, b float64) bool { return a > b }),
	"GreaterOrEqual": compare(func(a, b float64) bool { return a >= b }),
	"Less":           compare(func(a, b float64) bool { return a < b }),
	"LessOrEqual":    compare(func(a, b float64) bool { return a <= b }),
	"And":            compare(func(a, b float64) bool { return a != 0 && b != 0 }),
	"Or":             compare(func(a, b float64) bool { return a != 0 || b != 0 }),
	"Xor":            compare(func(a, b float64) bool { return (a != 0) != (b != 0) }),
}

// compare is the rule of an operator whose result is a truth value: nothing
// flows back.
func compare(f func(a, b float64) bool) *rule {
	return &rule{infer: broadcastBool, backward: noGradient, fold: fold2(func(a, b float64) float64 {
		if f(a, b) {
			return 1
		}
		return 0
	})}
}

func foldDiv(c *call) *array {
	if isFloat(c.info(0).typ) {
		return fold2(func(a, b float64) float64 { return a / b })(c)
	}
	if b := c.constant(1); b != nil {
		if slices.Contains(b.v, 0) {
			c.fail("division by zero")
			return nil
		}
	}
	return fold2(func(a, b float64) float64 { return math.Trunc(a / b) })(c)
}

// foldMod follows the sign of the divisor, or of the dividend with fmod = 1.
func foldMod(c *call) *array {
	if c.node.Int("fmod", 0) != 0 {
		return fold2(math.Mod)(c)
	}
	return fold2(func(a, b float64) float64 {
		m := math.Mod(a, b)
		if m != 0 && (m < 0) != (b < 0) {
			m += b
		}
		return m
	})(c)
}

func extreme(f func(a, b float64) float64) func(x []float64) float64 {
	return func(x []float64) float64 {
		out := x[0]
		for _, v := range x[1:] {
			out = f(out, v)
		}
		return out
	}
}

// powGradient: d(aᵇ)/da = b·aᵇ⁻¹, d(aᵇ)/db = aᵇ·ln a.
func powGradient(c *call, dy []string) {
	g := c.g
	if c.wants(0) {
		var slope string
		switch b := c.constant(1); {
		case b != nil && len(b.v) == 1 && b.v[0] == 2:
			slope = g.scale(c.input(0), 2)
		case b != nil && len(b.v) == 1:
			slope = g.scale(g.op("Pow", []string{c.input(0), g.scalar(b.v[0] - 1)}), b.v[0])
		default:
			b := g.cast(c.input(1), onnx.Float32)
			slope = g.mul(b, g.op("Pow", []string{c.input(0), g.sub(b, g.scalar(1))}))
		}
		c.grad(0, g.mul(dy[0], slope))
	}
	if c.wants(1) {
		c.grad(1, g.mul(dy[0], g.mul(c.out[0], g.unary("Log", c.input(0)))))
	}
}

// extremeGradient gives the gradient to the inputs that reach the extreme, in
// equal shares where several do.
func extremeGradient(c *call, dy []string) {
	g := c.g
	hits := make([]string, len(c.in))
	for i := range c.in {
		hits[i] = g.mask("Equal", c.input(i), c.out[0])
	}
	share := dy[0]
	if len(hits) > 1 {
		total := hits[0]
		for _, h := range hits[1:] {
			total = g.add(total, h)
		}
		share = g.div(dy[0], total)
	}
	for i := range c.in {
		if c.wants(i) {
			c.grad(i, g.mul(share, hits[i]))
		}
	}
}
