package strategies

import (
	"math"
	"slices"
)

// fingerprintVoxels bounds the voxels that a fingerprint looks at.
const fingerprintVoxels = 1 << 17

// fingerprintQuantiles are taken of the intensities.
var fingerprintQuantiles = [...]float64{0.005, 0.1, 0.25, 0.5, 0.75, 0.9, 0.995}

// Fingerprint describes an image's intensities and geometry in a few numbers:
// the quantiles 0.5, 10, 25, 50, 75, 90 and 99.5 %, mean and standard
// deviation, the share of the most frequent value, and the natural logarithms
// of the voxel size and of the extent in mm. size and mm are along the array
// axes. Of large images every k-th voxel is looked at.
//
// corrupt says why the image is unfit for labelling: no voxels, values that
// are not finite, or one value nearly everywhere. The fingerprint is nil then.
func Fingerprint(voxels []float32, size [3]int, mm [3]float64) (fingerprint []float32, corrupt string) {
	if len(voxels) == 0 || size[0]*size[1]*size[2] != len(voxels) {
		return nil, "the image has no voxels"
	}
	for d := range mm {
		if !(mm[d] > 0) || math.IsInf(mm[d], 0) {
			return nil, "the voxel size is not positive"
		}
	}
	// An odd step does not run along one plane of an even-sized array.
	step := (len(voxels) + fingerprintVoxels - 1) / fingerprintVoxels
	step |= 1
	v := make([]float32, 0, len(voxels)/step+1)
	for i := 0; i < len(voxels); i += step {
		v = append(v, voxels[i])
	}
	if !finite(v) {
		return nil, "the image has voxels that are not finite"
	}
	slices.Sort(v)
	mode := largestRun(v)
	if mode > 0.9999 {
		return nil, "the image has one value everywhere"
	}
	mean, std := moments(v)
	for _, q := range fingerprintQuantiles {
		fingerprint = append(fingerprint, quantile(v, q))
	}
	fingerprint = append(fingerprint, float32(mean), float32(std), float32(mode))
	for d := range mm {
		fingerprint = append(fingerprint, float32(math.Log(mm[d])), float32(math.Log(mm[d]*float64(size[d]))))
	}
	if !finite(fingerprint) {
		return nil, "the image's intensities are out of range"
	}
	return fingerprint, ""
}

// largestRun is the share of the most frequent value of sorted values.
func largestRun(sorted []float32) float64 {
	best, run := 0, 0
	for i := range sorted {
		if i > 0 && sorted[i] != sorted[i-1] {
			run = 0
		}
		run++
		best = max(best, run)
	}
	return float64(best) / float64(len(sorted))
}

func moments(v []float32) (mean, std float64) {
	for _, x := range v {
		mean += float64(x)
	}
	mean /= float64(len(v))
	for _, x := range v {
		std += (float64(x) - mean) * (float64(x) - mean)
	}
	return mean, math.Sqrt(std / float64(len(v)))
}

// quantile interpolates between sorted values.
func quantile(sorted []float32, q float64) float32 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	w := at - float64(i)
	return float32((1-w)*float64(sorted[i]) + w*float64(sorted[i+1]))
}

// project brings features to at most dims numbers by a random projection with
// entries ±1/√dims, which keeps distances in expectation. The signs are the
// same for all images.
//
// Source: Achlioptas, J. Computer and System Sciences 66 (2003).
func project(features []float32, dims int) []float32 {
	if len(features) == 0 || !finite(features) {
		return nil
	}
	if dims < 1 || len(features) <= dims {
		return slices.Clone(features)
	}
	sum := make([]float64, dims)
	state := uint64(0x9e3779b97f4a7c15)
	var bits uint64
	left := 0
	for _, x := range features {
		for d := range sum {
			if left == 0 {
				state += 0x9e3779b97f4a7c15
				bits, left = mix(state), 64
			}
			if bits&1 == 1 {
				sum[d] += float64(x)
			} else {
				sum[d] -= float64(x)
			}
			bits >>= 1
			left--
		}
	}
	out := make([]float32, dims)
	for d := range out {
		out[d] = float32(sum[d] / math.Sqrt(float64(dims)))
	}
	return out
}
