package strategies

import (
	"math"
	"slices"
)

// fingerprintVoxels bounds the voxels that a fingerprint looks at.
const fingerprintVoxels = 1 << 17

// fingerprintQuantiles are taken of the intensities, beside the median.
var fingerprintQuantiles = [...]float64{0.005, 0.1, 0.25, 0.75, 0.9, 0.995}

// Places in a fingerprint: shares of the range first.
const (
	printMode    = len(fingerprintQuantiles) + 2 // share of the most frequent value
	printRange   = printMode + 1                 // ln of the range
	printOffset  = printMode + 2                 // median in units of the range
	printLengths = printMode + 3                 // ln of voxel size and extent along each axis
	printNumbers = printLengths + 6
)

// Fingerprint describes an image's intensities and geometry in a few numbers.
// With the range from the 0.5 % to the 99.5 % quantile (from minimum to maximum
// where these are equal) as the unit: the quantiles 0.5, 10, 25, 75, 90 and
// 99.5 % and the mean less the median, and the standard deviation; then the
// share of the most frequent value, the natural logarithm of the range, the
// median in units of the range, and the logarithms of voxel size and extent in
// mm. So the arbitrary scale of MR weighs as one number. size and mm are along
// the array axes. Of large images every k-th voxel is looked at.
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
	middle := float64(quantile(v, 0.5))
	unit := float64(quantile(v, 0.995)) - float64(quantile(v, 0.005))
	if unit <= 0 {
		unit = float64(v[len(v)-1]) - float64(v[0])
	}
	for _, q := range fingerprintQuantiles {
		fingerprint = append(fingerprint, float32((float64(quantile(v, q))-middle)/unit))
	}
	fingerprint = append(fingerprint, float32((mean-middle)/unit), float32(std/unit), float32(mode), float32(math.Log(unit)), float32(middle/unit))
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
