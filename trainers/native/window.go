package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// window is the geometry of a convolution or pooling, per spatial axis: output
// o reads the inputs o·stride + k·dilation - begin.
type window struct {
	kernel, stride, dilation, begin, end []int64
	group                                int64
}

// window reads the geometry of a call from its attributes; in is the spatial
// shape that the window runs over.
func (c *call) window(kernel, in []int64) window {
	d := len(kernel)
	list := func(name string, def int64, n int) []int64 {
		v := c.node.Ints(name)
		if v == nil {
			return slices.Repeat([]int64{def}, n)
		}
		if len(v) != n {
			c.fail("attribute %s has %d values instead of %d", name, len(v), n)
			return slices.Repeat([]int64{1}, n)
		}
		return v
	}
	pads := list("pads", 0, 2*d)
	w := window{
		kernel: kernel, stride: list("strides", 1, d), dilation: list("dilations", 1, d),
		begin: slices.Clone(pads[:d]), end: slices.Clone(pads[d:]), group: c.node.Int("group", 1),
	}
	if slices.ContainsFunc(slices.Concat(w.stride, w.dilation, kernel), func(v int64) bool { return v < 1 }) {
		c.fail("kernel, strides and dilations must be positive")
		return w
	}
	switch pad := c.text("auto_pad", "NOTSET"); pad {
	case "NOTSET":
	case "VALID":
		w.begin, w.end = make([]int64, d), make([]int64, d)
	case "SAME_UPPER", "SAME_LOWER":
		for k := range d {
			out := (in[k] + w.stride[k] - 1) / w.stride[k]
			total := max((out-1)*w.stride[k]+w.reach(k)-in[k], 0)
			w.begin[k], w.end[k] = total/2, total-total/2
			if pad == "SAME_LOWER" {
				w.begin[k], w.end[k] = w.end[k], w.begin[k]
			}
		}
	default:
		c.fail("auto_pad %q is unknown", pad)
	}
	return w
}

// reach is the extent of the kernel along an axis.
func (w window) reach(k int) int64 { return w.dilation[k]*(w.kernel[k]-1) + 1 }

// out returns the spatial shape after the window.
func (w window) out(in []int64, ceil bool) []int64 {
	out := make([]int64, len(in))
	for k, n := range in {
		span := n + w.begin[k] + w.end[k] - w.reach(k)
		if span < 0 {
			continue // empty, which infer reports
		}
		out[k] = span/w.stride[k] + 1
		if ceil && span%w.stride[k] != 0 && out[k]*w.stride[k] < n+w.begin[k] { // a window that starts inside
			out[k]++
		}
	}
	return out
}

// attrs returns the geometry as attributes of Conv or ConvTranspose.
func (w window) attrs(extra ...*onnx.Attr) []*onnx.Attr {
	return append([]*onnx.Attr{
		onnx.IntsAttr("kernel_shape", w.kernel...), onnx.IntsAttr("strides", w.stride...), onnx.IntsAttr("dilations", w.dilation...),
		onnx.IntsAttr("pads", slices.Concat(w.begin, w.end)...), onnx.IntAttr("group", w.group),
	}, extra...)
}

// plain is a window with unit strides and dilations and no padding.
func plain(kernel []int64, group int64) window {
	d := len(kernel)
	ones := slices.Repeat([]int64{1}, d)
	return window{kernel: kernel, stride: ones, dilation: ones, begin: make([]int64, d), end: make([]int64, d), group: group}
}

// all tells whether every value equals v.
func all(list []int64, v int64) bool {
	return !slices.ContainsFunc(list, func(x int64) bool { return x != v })
}
