package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

var convRules = map[string]*rule{
	"Conv":          {infer: inferConv, backward: convGradient},
	"ConvTranspose": {infer: inferConvTranspose, forward: convTransposeForward, backward: convTransposeGradient},
}

// convWindow reads the geometry of a Conv or ConvTranspose; axes is the
// spatial shape that the window runs over.
func (c *call) convWindow(axes []int64) window { return c.window(c.shape(1)[2:], axes) }

func inferConv(c *call) []info {
	x, w := c.shape(0), c.shape(1)
	if len(x) < 3 || len(w) != len(x) {
		c.fail("input %v and weight %v do not go together", x, w)
		return nil
	}
	win := c.convWindow(x[2:])
	if w[1]*win.group != x[1] || w[0]%win.group != 0 {
		c.fail("input %v, weight %v and group %d do not go together", x, w, win.group)
		return nil
	}
	return []info{{c.info(0).typ, append([]int64{x[0], w[0]}, win.out(x[2:], false)...)}}
}

func convGradient(c *call, dy []string) {
	g, x, w := c.g, c.input(0), c.input(1)
	win := c.convWindow(c.shape(0)[2:])
	if c.wants(0) {
		c.grad(0, g.spread(dy[0], w, "", win, c.shape(0)[2:]))
	}
	if c.wants(1) {
		c.grad(1, g.weightGradient(x, dy[0], win, c.shape(1)))
	}
	if c.wants(2) {
		c.grad(2, g.channelSums(dy[0]))
	}
}

// channelSums sums [N, C, spatial…] to [C].
func (g *graph) channelSums(a string) string {
	s := g.shape(a)
	axes := slices.DeleteFunc(count(len(s)), func(k int64) bool { return k == 1 })
	return g.reshape(g.sum(a, axes...), s[1])
}

func inferConvTranspose(c *call) []info {
	x, w := c.shape(0), c.shape(1)
	if len(x) < 3 || len(w) != len(x) || w[0] != x[1] {
		c.fail("input %v and weight %v do not go together", x, w)
		return nil
	}
	if c.node.Attr("output_shape") != nil || c.text("auto_pad", "NOTSET") != "NOTSET" {
		c.fail("output_shape and auto_pad are not supported, explicit pads are")
		return nil
	}
	win := c.convWindow(nil)
	if w[0]%win.group != 0 {
		c.fail("weight %v and group %d do not go together", w, win.group)
		return nil
	}
	extra := c.node.Ints("output_padding")
	out := []int64{x[0], w[1] * win.group}
	for k, n := range x[2:] {
		size := (n-1)*win.stride[k] + win.reach(k) - win.begin[k] - win.end[k]
		if k < len(extra) {
			size += extra[k]
		}
		out = append(out, max(size, 0))
	}
	return []info{{c.info(0).typ, out}}
}

func convTransposeForward(c *call) string {
	return c.g.spread(c.input(0), c.input(1), c.input(2), c.convWindow(nil), c.outShape()[2:])
}

// convTransposeGradient: with respect to x this is the convolution whose
// gradient a transposed convolution is; the weight has Conv's layout already.
func convTransposeGradient(c *call, dy []string) {
	g, x := c.g, c.input(0)
	win := c.convWindow(nil)
	if c.wants(0) {
		c.grad(0, g.op("Conv", []string{dy[0], c.input(1)}, win.attrs()...))
	}
	if c.wants(1) {
		c.grad(1, g.weightGradient(dy[0], x, win, c.shape(1)))
	}
	if c.wants(2) {
		c.grad(2, g.channelSums(dy[0]))
	}
}

// conv appends a convolution.
func (g *graph) conv(x, w, bias string, win window) string {
	inputs := []string{x, w}
	if bias != "" {
		inputs = append(inputs, bias)
	}
	return g.op("Conv", inputs, win.attrs()...)
}

// transposed appends ONNX Runtime's own transposed convolution.
func (g *graph) transposed(x, w, bias string, win window, out []int64) string {
	inputs := []string{x, w}
	if bias != "" {
		inputs = append(inputs, bias)
	}
	win.end = slices.Clone(win.end)
	extra := make([]int64, len(out))
	for k, n := range g.shape(x)[2:] {
		// Cut or extend the end so that the result has the wanted size.
		rest := out[k] - ((n-1)*win.stride[k] + win.reach(k) - win.begin[k] - win.end[k])
		if rest < 0 {
			win.end[k] -= rest
		} else {
			extra[k] = rest
		}
	}
	return g.op("ConvTranspose", inputs, win.attrs(onnx.IntsAttr("output_padding", extra...))...)
}
