package native

import "github.com/voxloop/voxloop/internal/onnx"

// ONNX Runtime's Softmax and LogSoftmax transpose their input when the axis is
// not the last one; over channels, their formulas are several times faster.
var softmaxRules = map[string]*rule{
	"Softmax": {
		infer: sameAsFirst,
		forward: func(c *call) string {
			k, last := c.softmaxAxis()
			if last {
				c.emit()
				return c.out[0]
			}
			e := c.g.unary("Exp", c.belowMaximum(k))
			return c.g.div(e, c.g.reduce("ReduceSum", e, k))
		},
		backward: func(c *call, dy []string) { // y·(dy - Σ dy·y)
			g := c.g
			k, _ := c.softmaxAxis()
			c.grad(0, g.mul(c.out[0], g.sub(dy[0], g.dot(dy[0], c.out[0], k))))
		},
	},
	"LogSoftmax": {
		infer: sameAsFirst,
		forward: func(c *call) string {
			k, last := c.softmaxAxis()
			if last {
				c.emit()
				return c.out[0]
			}
			below := c.belowMaximum(k)
			return c.g.sub(below, c.g.unary("Log", c.g.reduce("ReduceSum", c.g.unary("Exp", below), k)))
		},
		backward: func(c *call, dy []string) { // dy - softmax·Σ dy
			g := c.g
			k, _ := c.softmaxAxis()
			c.grad(0, g.sub(dy[0], g.mul(g.unary("Exp", c.out[0]), g.sum(dy[0], k))))
		},
	},
}

func (c *call) softmaxAxis() (k int64, last bool) {
	rank := len(c.shape(0))
	k = int64(c.axis(-1, rank))
	return k, k == int64(rank)-1
}

// belowMaximum subtracts the largest value along an axis, so that no
// exponential overflows.
func (c *call) belowMaximum(k int64) string {
	return c.g.sub(c.input(0), c.g.reduce("ReduceMax", c.input(0), k))
}

// logSoftmax appends a LogSoftmax over channels in the form that training uses.
func (g *graph) logSoftmax(x string) string {
	y := g.names.New("logsoftmax")
	g.load(&onnx.Node{Name: y, Op: "LogSoftmax", Inputs: []string{x}, Outputs: []string{y}, Attrs: []*onnx.Attr{onnx.IntAttr("axis", 1)}})
	return g.value(y)
}
