package native

var softmaxRules = map[string]*rule{
	"Softmax": {infer: sameAsFirst, backward: func(c *call, dy []string) { // y·(dy - Σ dy·y)
		g, k := c.g, int64(c.axis(-1, len(c.shape(0))))
		s := g.dot(dy[0], c.out[0], k)
		c.grad(0, g.mul(c.out[0], g.sub(dy[0], s)))
	}},
	"LogSoftmax": {infer: sameAsFirst, backward: func(c *call, dy []string) { // dy - softmax·Σ dy
		g, k := c.g, int64(c.axis(-1, len(c.shape(0))))
		c.grad(0, g.sub(dy[0], g.mul(g.unary("Exp", c.out[0]), g.sum(dy[0], k))))
	}},
}
