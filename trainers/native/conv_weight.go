package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// weightGradient is the gradient of a convolution with respect to its weight,
//
//	dw[co, ci, k] = Σ dy[n, co, o]·x[n, ci, o·stride + k·dilation - begin]
//
// x [N, G·Ci, spatial…], dy [N, G·Co, out…] → shape [G·Co, Ci, kernel…]. The
// recipe follows from the shapes.
func (g *graph) weightGradient(x, dy string, win window, shape []int64) string {
	if g.byPlanes(dy, win, shape) {
		return g.weightByPlanes(x, dy, win, shape)
	}
	x = g.pad(x, append([]int64{0, 0}, win.begin...), append([]int64{0, 0}, win.end...))
	pads := win
	pads.begin, pads.end = make([]int64, len(win.begin)), make([]int64, len(win.end))
	switch {
	case win.group == 1 && all(win.dilation, 1) && !all(win.kernel, 1) && slices.Equal(win.kernel, win.stride):
		return g.weightByPatches(x, dy, pads, shape)
	case win.group == 1 && shape[1] <= fewChannels && !all(win.kernel, 1):
		return g.weightBySwap(x, dy, pads, shape)
	case win.group == 1 && all(win.dilation, 1) && !all(win.stride, 1) && size(win.kernel) >= 1<<len(win.kernel):
		return g.weightByPhases(x, dy, pads, shape)
	}
	return g.weightByTaps(x, dy, pads, shape)
}

// byPlanes tells whether weightByPlanes pays.
func (g *graph) byPlanes(dy string, win window, shape []int64) bool {
	return win.group == 1 && len(win.kernel) == 3 && all(win.stride, 1) && win.kernel[0] > 1 && shape[1] > fewChannels &&
		size(g.shape(dy)[3:]) >= wholePlane
}

// fewChannels is the number of input channels up to which a matrix product per
// tap is too narrow to pay.
const fewChannels = 2

// wholePlane is the number of voxels of a plane from which on the products of
// single planes pay.
const wholePlane = 64

// wideStack is the number of elements up to which the products of all shifts
// are kept and summed at once.
const wideStack = 1 << 22

// narrow is the number of rows of x up to which the shifts along the last axis
// are stacked: products of a few rows would be bound by reading dy.
const narrow = 32

// weightByPlanes multiplies plane by plane along the first spatial axis, which
// ONNX Runtime spreads over the cores; one long product per tap would run on
// one core and out of its caches. dy stands there once per tap of the first
// axis, shifted, so that each shift of x within the plane is cut out once only:
//
//	dw[co, ci, k] = Σ over planes p: dy[p - k₀·dilation][co, :] · x[p][ci, : shifted by k₁, k₂]
//
// The rows of dy are padded to the length of x's, so that a shift within the
// plane is one along a single axis.
func (g *graph) weightByPlanes(x, dy string, win window, shape []int64) string {
	q := g.shape(dy)
	co, ci, k := shape[0], shape[1], win.kernel
	x = g.pad(x, append([]int64{0, 0}, win.begin...), []int64{0, 0, win.end[0], win.end[1] + 1, win.end[2]})
	x = g.transpose(x, 0, 2, 1, 3, 4)
	s := g.shape(x)
	planes, width := s[0]*s[1], s[4]
	x = g.reshape(x, planes, ci, s[3]*width)
	dy = g.reshape(g.tapRows(dy, win, width), planes, k[0]*co, q[3]*width)

	inner, stacked := k[2], int64(1) // shifts along the last axis: apart, or as rows of x
	if k[2] > 1 && ci*k[2] <= narrow {
		length := (s[3] - 1) * width
		var rows []string
		for j := range k[2] {
			rows = append(rows, g.span(x, j*win.dilation[2], length))
		}
		x, inner, stacked = g.concat(1, rows...), 1, k[2]
	}
	large := size(k)*planes*co*ci > wideStack
	var parts []string
	for i := range k[1] {
		for j := range inner {
			cut := g.span(x, i*win.dilation[1]*width+j*win.dilation[2], q[3]*width)
			product := g.matmul(dy, g.swapped(cut))
			if large {
				product = g.sum(product, 0)
			}
			parts = append(parts, product)
		}
	}
	stack := g.concat(0, parts...)
	if !large {
		stack = g.sum(g.reshape(stack, int64(len(parts)), planes, k[0]*co, stacked*ci), 1)
	}
	// [taps 1, taps 2 apart, taps 0, Co, taps 2 stacked, Ci] → [Co, Ci, taps]
	if stacked > 1 {
		stack = g.transpose(g.reshape(stack, k[1], k[0]*co, stacked, ci), 0, 2, 1, 3)
	}
	order := g.selection(size(k), size(k), func(i int64) int64 { return i%k[0]*k[1]*k[2] + i/k[0] })
	dw := g.op("Gemm", []string{g.reshape(stack, size(k), co*ci), order}, onnx.IntAttr("transA", 1))
	return g.reshape(dw, shape...)
}

// tapRows turns dy [N, Co, planes, rows, columns] into [N, planes + (taps-1)·dilation, taps, Co, rows, width]:
// dy shifted by every tap of the first axis, rows padded with zeros.
func (g *graph) tapRows(dy string, win window, width int64) string {
	dy = g.transpose(dy, 0, 2, 1, 3, 4)
	wide := width - g.shape(dy)[4]
	var shifted []string
	for k := range win.kernel[0] {
		before := k * win.dilation[0]
		after := (win.kernel[0]-1)*win.dilation[0] - before
		shifted = append(shifted, g.pad(dy, []int64{0, before, 0, 0, 0}, []int64{0, after, 0, 0, wide}))
	}
	return g.concat(2, shifted...)
}

// span cuts length elements of the last of three axes.
func (g *graph) span(a string, from, length int64) string {
	s := g.shape(a)
	return g.crop(a, []int64{0, 0, from}, []int64{s[0], s[1], length})
}

// weightByPhases makes a convolution with stride one without: positions modulo
// the stride become channels, the kernel gets every stride-th tap.
func (g *graph) weightByPhases(x, dy string, win window, shape []int64) string {
	s, q, d := g.shape(x), g.shape(dy), len(win.kernel)
	co, ci, phases := shape[0], shape[1], size(win.stride)
	end, taps := make([]int64, d+2), make([]int64, d)
	for k, step := range win.stride {
		taps[k] = (win.kernel[k] + step - 1) / step
		end[2+k] = (q[2+k]+taps[k]-1)*step - s[2+k]
	}
	x = g.parted(g.pad(x, make([]int64, d+2), end), win.stride)
	inner, deep := plain(taps, 1), append([]int64{co, phases * ci}, taps...)
	if phases*size(taps)*size(win.kernel) > largest {
		// [Co, phases, Ci, taps] → [Co, Ci, kernel]
		dw := g.weightGradient(x, dy, inner, deep)
		dw = g.transpose(g.reshape(dw, co, phases, ci, size(taps)), 0, 2, 1, 3)
		return g.joinPhases(dw, win, taps, shape)
	}
	var dw string
	if g.byPlanes(dy, inner, deep) {
		dw = g.weightByPlanes(x, dy, inner, deep)
		dw = g.transpose(g.reshape(dw, co, phases*ci, size(taps)), 0, 2, 1)
	} else {
		dw = g.tapProducts(x, dy, inner, deep)
	}
	// [Co, taps, phases, Ci] → [Co, Ci, taps, phases]: two axes stay together,
	// which ONNX Runtime moves by rows
	dw = g.transpose(g.reshape(dw, co, size(taps)*phases, ci), 0, 2, 1)
	dw = g.reordered(dw, phases*size(taps), size(win.kernel), func(i int64) int64 {
		at, phase := indices(i/phases, taps), indices(i%phases, win.stride)
		for k := range at {
			if at[k] = at[k]*win.stride[k] + phase[k]; at[k] >= win.kernel[k] {
				return -1
			}
		}
		return index(at, win.kernel)
	})
	return g.reshape(dw, shape...)
}

// joinPhases turns [Co, Ci, phases, taps] into [Co, Ci, kernel…] for kernels
// with many taps.
func (g *graph) joinPhases(dw string, win window, taps, shape []int64) string {
	d := len(taps)
	perm, whole := []int64{0}, slices.Clone(shape[:2])
	for k := range d {
		perm = append(perm, int64(1+d+k), int64(1+k))
		whole = append(whole, taps[k]*win.stride[k])
	}
	split := slices.Concat([]int64{shape[0] * shape[1]}, win.stride, taps)
	dw = g.reshape(g.transpose(g.reshape(dw, split...), perm...), whole...)
	return g.crop(dw, make([]int64, d+2), shape)
}

// weightByPatches serves windows that do not overlap: the patches are the rows
// of one matrix.
func (g *graph) weightByPatches(x, dy string, win window, shape []int64) string {
	s, q := g.shape(x), g.shape(dy)
	n, ci, d := s[0], s[1], len(win.kernel)
	split, length := []int64{n, ci}, []int64{n, ci}
	perm, taps := []int64{0}, []int64{1}
	for k := range d {
		length = append(length, q[2+k]*win.kernel[k])
		split = append(split, q[2+k], win.kernel[k])
		perm, taps = append(perm, int64(2+2*k)), append(taps, int64(3+2*k))
	}
	x = g.crop(x, make([]int64, d+2), length)
	x = g.transpose(g.reshape(x, split...), append(perm, taps...)...)
	x = g.reshape(x, n, size(q[2:]), ci*size(win.kernel))
	dw := g.matmul(g.reshape(dy, n, q[1], size(q[2:])), x)
	return g.reshape(g.sum(dw, 0), shape...)
}

// weightBySwap exchanges the roles of batch and channels: a convolution of x
// as [Ci, N, …] with dy as the kernel [Co, N, …].
func (g *graph) weightBySwap(x, dy string, win window, shape []int64) string {
	d := len(win.kernel)
	perm := append([]int64{1, 0}, count(d + 2)[2:]...)
	x, dy = g.transpose(x, perm...), g.transpose(dy, perm...)
	swap := plain(g.shape(dy)[2:], 1)
	swap.stride, swap.dilation = win.dilation, win.stride
	dw := g.conv(x, dy, "", swap) // [Ci, Co, kernel… or more, where the stride leaves a rest]
	dw = g.crop(dw, make([]int64, d+2), append([]int64{shape[1], shape[0]}, win.kernel...))
	return g.transpose(dw, perm...)
}

// weightByTaps multiplies dy with the shifted x of every tap of the kernel.
func (g *graph) weightByTaps(x, dy string, win window, shape []int64) string {
	dw := g.tapProducts(x, dy, win, shape)
	return g.reshape(g.transpose(dw, 0, 2, 1), shape...)
}

// tapProducts is the weight's gradient as [G·Co, taps, Ci]. Where the image is
// small the shifted x lie in one matrix for one product, else the products are
// joined: whichever is less to move.
func (g *graph) tapProducts(x, dy string, win window, shape []int64) string {
	s, q := g.shape(x), g.shape(dy)
	n, d := s[0], len(win.kernel)
	ci, co, voxels := shape[1], shape[0]/win.group, size(q[2:])
	dy = g.reshape(dy, n*win.group, co, voxels)
	joined := voxels > co
	var parts []string
	at := make([]int64, d)
	for range size(win.kernel) {
		tap := g.reshape(g.tap(x, at, win, q[2:]), n*win.group, ci, voxels)
		if joined {
			tap = g.matmul(dy, g.swapped(tap))
		}
		parts = append(parts, tap)
		next(at, win.kernel)
	}
	taps := int64(len(parts))
	var dw string
	if joined {
		dw = g.concat(2, parts...)
	} else {
		dw = g.matmul(dy, g.swapped(g.concat(1, parts...)))
	}
	dw = g.sum(g.reshape(dw, n, win.group*co*taps*ci), 0)
	return g.reshape(dw, win.group*co, taps, ci)
}

// tap returns the elements of x that tap `at` of the kernel meets.
func (g *graph) tap(x string, at []int64, win window, out []int64) string {
	var axes, from, to, step []int64
	for k, i := range at {
		start := i * win.dilation[k]
		if win.stride[k] == 1 && start == 0 && out[k] == g.shape(x)[2+k] {
			continue
		}
		axes, from = append(axes, int64(2+k)), append(from, start)
		to, step = append(to, start+(out[k]-1)*win.stride[k]+1), append(step, win.stride[k])
	}
	return g.slice(x, axes, from, to, step)
}

// next advances an index in row-major order.
func next(at, shape []int64) {
	for k := len(at) - 1; k >= 0; k-- {
		if at[k]++; at[k] < shape[k] {
			return
		}
		at[k] = 0
	}
}
