package onnx

import "math"

// Diff says how far two results of a network are apart.
type Diff struct {
	MaxAbs      float64 // largest |a - b|; +Inf where one is not a number or they have different lengths
	MaxRel      float64 // MaxAbs / max(1, max|b|)
	LabelsEqual float64 // share of voxels whose largest channel is the same, 0 to 1
}

// Compare compares results a and b of one network run, both [C, voxels…] with
// the given number of channels C; b is the reference. Of several equally
// large channels the first counts. With one channel a label is its sign.
func Compare(a, b []float32, channels int) Diff {
	if len(a) != len(b) || channels < 1 || len(a)%channels != 0 {
		return Diff{MaxAbs: math.Inf(1), MaxRel: math.Inf(1)}
	}
	d, top := Diff{LabelsEqual: 1}, 1.0
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		diff := math.Abs(x - y)
		if a[i] == b[i] || (math.IsNaN(x) && math.IsNaN(y)) {
			diff = 0 // equal infinities, too
		}
		if math.IsNaN(diff) {
			diff = math.Inf(1)
		}
		d.MaxAbs = max(d.MaxAbs, diff)
		if !math.IsNaN(y) && !math.IsInf(y, 0) {
			top = max(top, math.Abs(y))
		}
	}
	d.MaxRel = d.MaxAbs / top
	if voxels := len(a) / channels; voxels > 0 {
		equal := 0
		for v := range voxels {
			if label(a, v, voxels, channels) == label(b, v, voxels, channels) {
				equal++
			}
		}
		d.LabelsEqual = float64(equal) / float64(voxels)
	}
	return d
}

// label returns the first channel with the largest value at a voxel; with one
// channel 1 where the value is positive.
func label(x []float32, voxel, voxels, channels int) int {
	if channels == 1 {
		if x[voxel] > 0 {
			return 1
		}
		return 0
	}
	best := 0
	for c := 1; c < channels; c++ {
		if x[c*voxels+voxel] > x[best*voxels+voxel] {
			best = c
		}
	}
	return best
}
