package infer

import "math"

// windows are the places of a window on an array. Starts may be negative, and
// windows may reach beyond the array's end: both are padding.
type windows struct {
	array  [3]int
	size   [3]int
	starts [3][]int // per axis
}

// newWindows lays windows over an array as MONAI's sliding window does: an
// array smaller than the window is padded on both sides, the smaller half in
// front; steps are int(size·(1-overlap)), at least 1; the last window is moved
// back inside.
func newWindows(array, size [3]int, overlap [3]float64) windows {
	w := windows{array: array, size: size}
	for d := range 3 {
		padded := max(array[d], size[d])
		front := (padded - array[d]) / 2
		step := max(1, int(float64(size[d])*(1-overlap[d])))
		for s := 0; ; s += step {
			if s+size[d] >= padded {
				w.starts[d] = append(w.starts[d], padded-size[d]-front)
				break
			}
			w.starts[d] = append(w.starts[d], s-front)
		}
	}
	return w
}

// count returns the number of windows.
func (w windows) count() int { return len(w.starts[0]) * len(w.starts[1]) * len(w.starts[2]) }

// at returns the start of window i; the last axis varies fastest.
func (w windows) at(i int) [3]int {
	n1, n2 := len(w.starts[1]), len(w.starts[2])
	return [3]int{w.starts[0][i/(n1*n2)], w.starts[1][i/n2%n1], w.starts[2][i%n2]}
}

// importance returns the weights of a window's voxels in blending: all 1 (nil)
// for a plain mean, or a Gaussian around the centre with a deviation of
// sigmaScale·size. Weights are at least the larger of the smallest one and
// 0.001.
//
// Source: MONAI compute_importance_map.
func importance(blend string, size [3]int, sigmaScale [3]float64) []float32 {
	if blend == blendConstant {
		return nil
	}
	var axis [3][]float64
	for d := range 3 {
		axis[d] = make([]float64, size[d])
		sigma := float64(size[d]) * sigmaScale[d]
		for i := range axis[d] {
			x := float64(i) - float64(size[d]-1)/2
			axis[d][i] = math.Exp(-x * x / (2 * sigma * sigma))
		}
	}
	out := make([]float32, 0, size[0]*size[1]*size[2])
	low := float32(math.Inf(1))
	for _, a := range axis[0] {
		for _, b := range axis[1] {
			for _, c := range axis[2] {
				v := float32(a * b * c)
				low = min(low, v)
				out = append(out, v)
			}
		}
	}
	low = max(low, 1e-3)
	for i, v := range out {
		out[i] = max(v, low)
	}
	return out
}
