package native

import "math"

var activationRules = map[string]*rule{
	"Relu": elementwise(nil, func(g *graph, dy, _, y string) string { return g.mul(dy, g.mask("Greater", y, g.scalar(0))) }),
	"LeakyRelu": {infer: sameAsFirst, backward: func(c *call, dy []string) {
		c.grad(0, c.g.mul(dy[0], c.g.leaky(c.input(0), c.g.scalar(float64(c.node.Float("alpha", 0.01))))))
	}},
	"PRelu":   {infer: sameAsFirst, forward: preluForward, backward: preluGradient},
	"Elu":     {infer: sameAsFirst, backward: eluGradient(1, 1)},
	"Selu":    {infer: sameAsFirst, backward: seluGradient},
	"Sigmoid": elementwise(nil, func(g *graph, dy, _, y string) string { return g.mul(dy, g.mul(y, g.sub(g.scalar(1), y))) }),
	"Softplus": elementwise(nil, func(g *graph, dy, x, _ string) string {
		return g.mul(dy, g.unary("Sigmoid", x))
	}),
	"Softsign": elementwise(nil, func(g *graph, dy, x, _ string) string {
		d := g.add(g.unary("Abs", x), g.scalar(1))
		return g.div(dy, g.mul(d, d))
	}),
	"HardSigmoid": {infer: sameAsFirst, backward: func(c *call, dy []string) {
		c.grad(0, c.g.mul(dy[0], c.g.scale(c.g.inside(c.out[0], 0, 1, false), float64(c.node.Float("alpha", 0.2)))))
	}},
	"HardSwish": elementwise(nil, hardSwish),
	"Mish":      elementwise(nil, mish),
	"Gelu":      {infer: sameAsFirst, backward: geluGradient},
	"Clip":      {infer: sameAsFirst, fold: foldClip, backward: clipGradient},
}

// leaky returns 1 where x > 0, otherwise slope.
func (g *graph) leaky(x, slope string) string {
	return g.where(g.op("Greater", []string{x, g.scalar(0)}), g.scalar(1), slope)
}

// inside returns 1 where low < x < high, or low <= x <= high when closed.
func (g *graph) inside(x string, low, high float64, closed bool) string {
	above, below := "Greater", "Less"
	if closed {
		above, below = "GreaterOrEqual", "LessOrEqual"
	}
	return g.mul(g.mask(above, x, g.scalar(low)), g.mask(below, x, g.scalar(high)))
}

// preluForward is max(x, 0) + slope·min(x, 0): four passes that ONNX Runtime
// spreads over the cores are several times faster than its PRelu.
func preluForward(c *call) string {
	g, x := c.g, c.input(0)
	low := c.keep("low", g.op("Min", []string{x, g.scalar(0)}))
	return g.add(g.unary("Relu", x), g.mul(low, c.input(1)))
}

// preluGradient: the slope counts where x <= 0.
func preluGradient(c *call, dy []string) {
	g := c.g
	if c.wants(0) {
		c.grad(0, g.mul(dy[0], g.leaky(c.input(0), c.input(1))))
	}
	if c.wants(1) {
		c.grad(1, g.mul(dy[0], c.kept["low"]))
	}
}

// eluGradient: above 0 the slope is scale, else y + alpha (alpha·eˣ).
func eluGradient(alpha, scale float64) func(c *call, dy []string) {
	return func(c *call, dy []string) {
		g := c.g
		a := float64(c.node.Float("alpha", float32(alpha))) * scale
		curve := g.add(c.out[0], g.scalar(a))
		c.grad(0, g.mul(dy[0], g.where(g.op("Greater", []string{c.input(0), g.scalar(0)}), g.scalar(scale), curve)))
	}
}

func seluGradient(c *call, dy []string) {
	eluGradient(1.67326319217681884765625, float64(c.node.Float("gamma", 1.05070102214813232421875)))(c, dy)
}

// hardSwish is x·clip(x/6 + 1/2, 0, 1).
func hardSwish(g *graph, dy, x, _ string) string {
	middle := g.mul(g.inside(x, -3, 3, false), g.add(g.scale(x, 1.0/3), g.scalar(0.5)))
	return g.mul(dy, g.add(middle, g.mask("GreaterOrEqual", x, g.scalar(3))))
}

// mish is x·tanh(softplus(x)).
func mish(g *graph, dy, x, _ string) string {
	t := g.unary("Tanh", g.unary("Softplus", x))
	curve := g.mul(g.mul(x, g.unary("Sigmoid", x)), g.sub(g.scalar(1), g.mul(t, t)))
	return g.mul(dy, g.add(t, curve))
}

// geluGradient: Φ(x) + x·φ(x), or the derivative of the tanh approximation.
func geluGradient(c *call, dy []string) {
	g, x := c.g, c.input(0)
	if c.text("approximate", "none") == "tanh" {
		k, cube := math.Sqrt(2/math.Pi), 0.044715
		square := g.mul(x, x)
		inner := g.scale(g.mul(x, g.add(g.scale(square, cube), g.scalar(1))), k)
		t := g.unary("Tanh", inner)
		slope := g.scale(g.add(g.scale(square, 3*cube), g.scalar(1)), k)
		curve := g.mul(g.mul(g.sub(g.scalar(1), g.mul(t, t)), slope), x)
		c.grad(0, g.mul(dy[0], g.scale(g.add(g.add(t, g.scalar(1)), curve), 0.5)))
		return
	}
	phi := g.scale(g.add(g.unary("Erf", g.scale(x, math.Sqrt(0.5))), g.scalar(1)), 0.5)
	bell := g.scale(g.unary("Exp", g.scale(g.mul(x, x), -0.5)), 1/math.Sqrt(2*math.Pi))
	c.grad(0, g.mul(dy[0], g.add(phi, g.mul(x, bell))))
}

// clipGradient passes between the bounds, both included.
func clipGradient(c *call, dy []string) {
	v := dy[0]
	for i, comparison := range []string{"", "GreaterOrEqual", "LessOrEqual"} {
		if i > 0 && c.input(i) != "" {
			v = c.g.mul(v, c.g.mask(comparison, c.input(0), c.input(i)))
		}
	}
	c.grad(0, v)
}

func foldClip(c *call) *array {
	a := c.constant(0)
	if a == nil {
		return nil
	}
	low, high := math.Inf(-1), math.Inf(1)
	if b := c.constant(1); b != nil {
		low = b.v[0]
	}
	if b := c.constant(2); b != nil {
		high = b.v[0]
	}
	out := newArray(a.typ, a.shape)
	for i, v := range a.v {
		out.v[i] = min(max(v, low), high)
	}
	return out
}
