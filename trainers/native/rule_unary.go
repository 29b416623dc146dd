package native

import (
	"math"

	"github.com/voxloop/voxloop/internal/onnx"
)

// elementwise is the rule of a function of one value: derivative returns
// dx from dy, the input x and the result y.
func elementwise(f func(float64) float64, derivative func(g *graph, dy, x, y string) string) *rule {
	r := &rule{infer: sameAsFirst, backward: func(c *call, dy []string) {
		c.grad(0, derivative(c.g, dy[0], c.input(0), c.out[0]))
	}}
	if f != nil {
		r.fold = fold1(f)
	}
	return r
}

var unaryRules = map[string]*rule{
	"Neg": elementwise(func(x float64) float64 { return -x }, func(g *graph, dy, _, _ string) string { return g.unary("Neg", dy) }),
	"Abs": elementwise(math.Abs, func(g *graph, dy, x, _ string) string { return g.mul(dy, g.unary("Sign", x)) }),
	"Sqrt": elementwise(math.Sqrt, func(g *graph, dy, _, y string) string {
		return g.div(g.scale(dy, 0.5), y)
	}),
	"Exp": elementwise(math.Exp, func(g *graph, dy, _, y string) string { return g.mul(dy, y) }),
	"Log": elementwise(math.Log, func(g *graph, dy, x, _ string) string { return g.div(dy, x) }),
	"Erf": elementwise(math.Erf, func(g *graph, dy, x, _ string) string {
		bell := g.unary("Exp", g.unary("Neg", g.mul(x, x)))
		return g.mul(dy, g.scale(bell, 2/math.Sqrt(math.Pi)))
	}),
	"Tanh": elementwise(math.Tanh, func(g *graph, dy, _, y string) string {
		return g.mul(dy, g.sub(g.scalar(1), g.mul(y, y)))
	}),
	"Sin": elementwise(math.Sin, func(g *graph, dy, x, _ string) string { return g.mul(dy, g.unary("Cos", x)) }),
	"Cos": elementwise(math.Cos, func(g *graph, dy, x, _ string) string {
		return g.unary("Neg", g.mul(dy, g.unary("Sin", x)))
	}),
	"Reciprocal": elementwise(func(x float64) float64 { return 1 / x }, func(g *graph, dy, _, y string) string {
		return g.unary("Neg", g.mul(dy, g.mul(y, y)))
	}),
	"Identity": {infer: sameAsFirst, fold: fold1(func(x float64) float64 { return x }), backward: func(c *call, dy []string) { c.grad(0, dy[0]) }},

	"Sign":  {infer: sameAsFirst, fold: fold1(sign), backward: noGradient},
	"Floor": {infer: sameAsFirst, fold: fold1(math.Floor), backward: noGradient},
	"Ceil":  {infer: sameAsFirst, fold: fold1(math.Ceil), backward: noGradient},
	"Round": {infer: sameAsFirst, fold: fold1(math.RoundToEven), backward: noGradient},
	"Not":   {infer: sameAsFirst, fold: fold1(func(x float64) float64 { return 1 - x })},
	"Cast": {
		infer: func(c *call) []info { return []info{{onnx.DataType(c.node.Int("to", 0)), c.shape(0)}} },
		fold:  fold1(func(x float64) float64 { return x }), backward: castGradient,
	},
	"CastLike": {
		infer: func(c *call) []info { return []info{{c.info(1).typ, c.shape(0)}} },
		fold: func(c *call) *array {
			a, t := c.constant(0), c.g.info[c.out[0]]
			if a == nil {
				return nil
			}
			out := newArray(t.typ, t.shape)
			for i, v := range a.v {
				out.v[i] = fit(t.typ, v)
			}
			return out
		},
		fromShape: true, backward: castGradient,
	},
	"Dropout": {infer: inferDropout, forward: dropoutForward, backward: dropoutGradient},
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

// noGradient is the rule of piecewise constant functions.
func noGradient(*call, []string) {}

// castGradient passes between floating-point types only; whole numbers carry
// no gradient.
func castGradient(c *call, dy []string) {
	if c.info(0).typ == onnx.Float32 && c.g.info[dy[0]].typ == onnx.Float32 {
		c.grad(0, dy[0])
		return
	}
	c.fail("a gradient would pass a conversion between %s and %s", c.info(0).typ, c.g.info[c.out[0]].typ)
}
