package native

import (
	"slices"
)

// spread is the transposed convolution
//
//	out[n, co, o] = bias[co] + Σ x[n, ci, i]·w[ci, co, k]   over i·stride + k·dilation - begin = o
//
// of x [N, G·Ci, spatial…] and w [G·Ci, Co, kernel…] to the spatial shape out:
// ONNX's ConvTranspose, and the data gradient of a Conv. bias may be "".
//
// ONNX Runtime's CPU provider runs its ConvTranspose several times slower than
// a Conv of the same work. So the outputs are sorted by their position modulo
// the stride (phases): each phase is an ordinary convolution with every
// stride-th tap of the kernel, all phases are the channels of one Conv, and
// its results are interleaved. With stride 1 that is a Conv with the flipped
// kernel and no interleaving.
func (g *graph) spread(x, w, bias string, win window, out []int64) string {
	p := newPhases(win, g.shape(x)[2:], out)
	if p == nil {
		return g.transposed(x, w, bias, win, out)
	}
	kernel := g.phaseKernel(w, win, p)
	if bias != "" && p.count > 1 {
		co := g.shape(w)[1]
		wide := g.expand(g.reshape(bias, win.group, 1, co), win.group, p.count, co)
		bias = g.reshape(wide, win.group*p.count*co)
	}
	conv := plain(p.taps, win.group)
	conv.dilation, conv.begin, conv.end = p.dilation, p.begin, p.end
	y := g.conv(x, kernel, bias, conv)
	if p.count > 1 {
		y = g.interleave(y, win.group, g.shape(w)[1], win.stride)
	}
	return g.crop(y, make([]int64, len(out)+2), append(slices.Clone(g.shape(y)[:2]), out...))
}

// phases is the plan of one spread, per spatial axis.
type phases struct {
	count      int64   // phases in all: the product of the strides
	front      []int64 // zeros in front of the kernel, so that output 0 has phase 0
	taps       []int64 // kernel of each phase
	dilation   []int64
	begin, end []int64 // padding of the convolution
}

// newPhases returns nil where the form does not apply: a stride together with
// a dilation, or padding beyond the kernel.
func newPhases(win window, in, out []int64) *phases {
	p := &phases{count: 1, dilation: win.dilation}
	for k, n := range in {
		s, d, pad := win.stride[k], win.dilation[k], win.begin[k]
		if s > 1 && d > 1 {
			return nil
		}
		front := (s - pad%s) % s
		taps := (win.kernel[k] + front + s - 1) / s
		first := (pad + front) / s                 // position in the phase of output 0
		last := (pad + front + out[k] + s - 1) / s // one behind that of the last output
		begin, end := (taps-1)*d-first, last-n
		if begin < 0 || end < 0 {
			return nil
		}
		p.count *= s
		p.front, p.taps = append(p.front, front), append(p.taps, taps)
		p.begin, p.end = append(p.begin, begin), append(p.end, end)
	}
	return p
}

// phaseKernel rearranges w [G·Ci, Co, kernel…] into the weight
// [G·phases·Co, Ci, taps…] of the phases' convolution.
func (g *graph) phaseKernel(w string, win window, p *phases) string {
	if size(win.kernel)*p.count*size(p.taps) > largest {
		return g.phaseKernelBySlices(w, win, p)
	}
	shape, taps := g.shape(w), size(p.taps)
	ci, co := shape[0]/win.group, shape[1]
	w = g.reordered(w, size(win.kernel), p.count*taps, func(i int64) int64 {
		at := indices(i, win.kernel)
		phase := make([]int64, len(at))
		for k := range at { // kernel and zeros in front are [taps, stride], taps reversed
			place := at[k] + p.front[k]
			at[k], phase[k] = p.taps[k]-1-place/win.stride[k], place%win.stride[k]
		}
		return index(phase, win.stride)*taps + index(at, p.taps)
	})
	w = g.transpose(g.reshape(w, win.group, ci, co, p.count, taps), 0, 3, 2, 1, 4)
	return g.reshape(w, append([]int64{win.group * p.count * co, ci}, p.taps...)...)
}

// phaseKernelBySlices is phaseKernel for kernels with many taps.
func (g *graph) phaseKernelBySlices(w string, win window, p *phases) string {
	shape := g.shape(w)
	ci, co, d := shape[0]/win.group, shape[1], len(win.kernel)
	begin, end := make([]int64, d+2), make([]int64, d+2)
	for k := range d {
		begin[k+2] = p.front[k]
		end[k+2] = p.taps[k]*win.stride[k] - win.kernel[k] - p.front[k]
	}
	w = g.pad(w, begin, end)
	// [G, Ci, Co, taps, stride, taps, stride, …]
	split := []int64{win.group, ci, co}
	var taps, steps []int64 // their axes
	for k := range d {
		split = append(split, p.taps[k], win.stride[k])
		taps, steps = append(taps, int64(3+2*k)), append(steps, int64(4+2*k))
	}
	w = g.flip(g.reshape(w, split...), taps...)
	w = g.transpose(w, slices.Concat([]int64{0}, steps, []int64{2, 1}, taps)...)
	return g.reshape(w, append([]int64{win.group * p.count * co, ci}, p.taps...)...)
}
