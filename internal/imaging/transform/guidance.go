package transform

import "math"

// ClickSignal draws clicks into dst, a row-major array of the given size: each
// clicked voxel is 1 (clicks on one voxel do not add up), smoothed by a
// Gaussian of sigma voxels and scaled so that the smallest value is 0 and the
// largest 1. A click with a negative index is dropped, one beyond the end is
// moved to the edge. Without clicks dst is all 0. sigma 0 leaves single voxels.
//
// Source: MONAI AddGuidanceSignalDeepEditd (kernel of erf integrals cut off at
// 4 sigma, zeros beyond the edge).
func ClickSignal(dst []float32, size [3]int, clicks [][3]int, sigma float64) {
	clear(dst)
	drawn := false
	for _, c := range clicks {
		if c[0] < 0 || c[1] < 0 || c[2] < 0 {
			continue
		}
		for d := range c {
			c[d] = min(c[d], size[d]-1)
		}
		dst[(c[0]*size[1]+c[1])*size[2]+c[2]] = 1
		drawn = true
	}
	if !drawn || sigma <= 0 {
		return
	}
	kernel := gaussianKernel(sigma)
	buf := make([]float32, max(size[0], size[1], size[2]))
	stride := [3]int{size[1] * size[2], size[2], 1}
	for d := range 3 {
		u, v := (d+1)%3, (d+2)%3
		for a := range size[u] {
			for b := range size[v] {
				convolve(dst[a*stride[u]+b*stride[v]:], stride[d], buf[:size[d]], kernel)
			}
		}
	}
	lo, hi := float32(math.Inf(1)), float32(math.Inf(-1))
	for _, x := range dst {
		lo, hi = min(lo, x), max(hi, x)
	}
	if hi == lo {
		return
	}
	for i := range dst {
		dst[i] = (dst[i] - lo) / (hi - lo)
	}
}

// gaussianKernel integrates a Gaussian over every voxel, up to 4 sigma.
func gaussianKernel(sigma float64) []float32 {
	tail := int(math.Max(sigma*4, 0.5) + 0.5)
	k := make([]float32, 2*tail+1)
	t := 1 / (math.Sqrt2 * sigma)
	for i := range k {
		x := float64(i - tail)
		k[i] = float32(max(0, 0.5*(math.Erf(t*(x+0.5))-math.Erf(t*(x-0.5)))))
	}
	return k
}

// convolve filters the line v[0], v[stride], … of len(buf) values in place,
// zeros beyond its ends.
func convolve(v []float32, stride int, buf, kernel []float32) {
	empty := true
	for i := range buf {
		buf[i] = v[i*stride]
		empty = empty && buf[i] == 0
	}
	if empty {
		return
	}
	tail := len(kernel) / 2
	for i := range buf {
		var s float32
		for k := max(0, i-tail); k <= min(len(buf)-1, i+tail); k++ {
			s += buf[k] * kernel[k-i+tail]
		}
		v[i*stride] = s
	}
}
