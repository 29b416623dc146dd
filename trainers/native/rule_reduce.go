package native

import (
	"math"
	"slices"
)

var reduceRules = map[string]*rule{
	"ReduceSum": reduction(func(s, v float64) float64 { return s + v }, 0, func(c *call, dy, _ string) {
		c.grad(0, c.g.expand(dy, c.shape(0)...))
	}),
	"ReduceMean": reduction(nil, 0, func(c *call, dy, _ string) {
		n := float64(size(c.shape(0))) / float64(size(c.g.shape(dy)))
		c.grad(0, c.g.expand(c.g.scale(dy, 1/n), c.shape(0)...))
	}),
	"ReduceMax": reduction(math.Max, math.Inf(-1), reducedExtreme),
	"ReduceMin": reduction(math.Min, math.Inf(1), reducedExtreme),
	"ReduceSumSquare": reduction(nil, 0, func(c *call, dy, _ string) {
		c.grad(0, c.g.mul(dy, c.g.scale(c.input(0), 2)))
	}),
	"ReduceL2": reduction(nil, 0, func(c *call, dy, y string) {
		c.grad(0, c.g.mul(c.g.div(dy, y), c.input(0)))
	}),
	"ReduceL1": reduction(nil, 0, func(c *call, dy, _ string) {
		c.grad(0, c.g.mul(dy, c.g.unary("Sign", c.input(0))))
	}),
	"ReduceLogSumExp": reduction(nil, 0, func(c *call, dy, y string) {
		c.grad(0, c.g.mul(dy, c.g.unary("Exp", c.g.sub(c.input(0), y))))
	}),
	"ReduceProd": {infer: inferReduce, fold: foldReduce(func(p, v float64) float64 { return p * v }, 1)},
}

// reduction is the rule of a reduction; gradient gets dy and y with the
// reduced axes kept as 1.
func reduction(f func(acc, v float64) float64, start float64, gradient func(c *call, dy, y string)) *rule {
	r := &rule{infer: inferReduce, backward: func(c *call, dy []string) {
		kept := slices.Clone(c.shape(0))
		for _, k := range c.reduced() {
			kept[k] = 1
		}
		gradient(c, c.g.reshape(dy[0], kept...), c.g.reshape(c.out[0], kept...))
	}}
	if f != nil {
		r.fold = foldReduce(f, start)
	}
	return r
}

// reduced returns the axes of a reduction: an attribute, an input, or all.
func (c *call) reduced() []int {
	list := c.node.Ints("axes")
	if c.input(1) != "" {
		list = c.ints(1)
	}
	rank := len(c.shape(0))
	if len(list) == 0 {
		if c.node.Int("noop_with_empty_axes", 0) != 0 {
			return nil
		}
		list = count(rank)
	}
	var out []int
	for _, a := range list {
		out = append(out, c.front(a, rank))
	}
	return out
}

func inferReduce(c *call) []info {
	axes, shape := c.reduced(), []int64{}
	for k, n := range c.shape(0) {
		switch {
		case !slices.Contains(axes, k):
			shape = append(shape, n)
		case c.node.Int("keepdims", 1) != 0:
			shape = append(shape, 1)
		}
	}
	return []info{{c.info(0).typ, shape}}
}

func foldReduce(f func(acc, v float64) float64, start float64) func(c *call) *array {
	return func(c *call) *array {
		a, axes := c.constant(0), c.reduced()
		out := newArray(a.typ, c.outShape())
		for i := range out.v {
			out.v[i] = start
		}
		kept := slices.Clone(a.shape)
		for _, k := range axes {
			kept[k] = 1
		}
		for p, at := range broadcastTo(a.shape, kept) {
			out.v[at] = f(out.v[at], a.v[p])
		}
		return out
	}
}

// reducedExtreme gives equal shares to all elements that reach the extreme.
func reducedExtreme(c *call, dy, y string) {
	var axes []int64
	for _, k := range c.reduced() {
		axes = append(axes, int64(k))
	}
	c.grad(0, c.g.shareOfExtreme(c.input(0), y, dy, axes))
}

// shareOfExtreme is the gradient of an extreme y of x over axes.
func (g *graph) shareOfExtreme(x, y, dy string, axes []int64) string {
	hit := g.mask("Equal", x, y)
	return g.mul(hit, g.div(dy, g.sum(hit, axes...)))
}
