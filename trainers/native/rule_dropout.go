package native

import (
	"github.com/voxloop/voxloop/internal/dropout"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// Dropout says what the network's Dropout nodes do in training. The zero value
// drops with the nodes' own ratios.
type Dropout struct {
	Off   bool    // values pass as at inference
	Ratio float64 // in place of the nodes' own; 0: their own
	Seed  uint64  // of the masks, which are a function of (seed, pass, node)
}

func (d Dropout) check() error {
	if !(d.Ratio >= 0 && d.Ratio < 1) {
		return fault.New(fault.Invalid, "the ratio of dropout must lie in [0, 1), not %g", d.Ratio)
	}
	return nil
}

// inferDropout knows the form that dropout.Unify gives to every dropout.
func inferDropout(c *call) []info {
	if c.input(2) != "" {
		c.fail("a switch for the training mode is not supported here")
	}
	return []info{c.info(0)}
}

// dropoutForward multiplies by a mask of our own generator, an input of the
// graph. ONNX Runtime's operator draws masks that are not independent.
func dropoutForward(c *call) string {
	g, ratio := c.g, 0.5
	if a := c.constant(1); a != nil {
		ratio = a.v[0]
	}
	if g.dropout.Off || dropout.Scale(ratio) == 1 {
		return c.input(0)
	}
	mask := c.keep("mask", g.names.New("voxloop.mask"))
	g.info[mask] = info{onnx.Uint8, c.shape(0)}
	g.masks = append(g.masks, dropout.Layer{Node: c.out[0], Input: mask, Shape: c.shape(0), Ratio: ratio})
	return g.mul(c.input(0), g.kept(mask, ratio))
}

func dropoutGradient(c *call, dy []string) {
	g := c.g
	for _, l := range g.masks {
		if l.Input == c.kept["mask"] {
			c.grad(0, g.mul(dy[0], g.kept(l.Input, l.Ratio)))
		}
	}
}

// kept is the mask as float32, times the scale of kept values. It is made from
// the bytes again in the backward pass, which hold a quarter of the memory.
func (g *graph) kept(mask string, ratio float64) string {
	scale := g.scalar(dropout.Scale(ratio))
	g.place(scale)
	out := g.names.New("kept")
	g.info[out] = floats(g.shape(mask))
	g.nodes = append(g.nodes, &onnx.Node{Name: out, Op: "DequantizeLinear", Inputs: []string{mask, scale}, Outputs: []string{out}})
	return out
}
