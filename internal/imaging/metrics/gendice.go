package metrics

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// Weight says how a class counts in the generalised Dice, by its true volume.
type Weight int

// The weights 1/v², 1/v and 1. A class without true voxels has the largest
// weight of the others (0 when there are none).
const (
	Square Weight = iota
	Simple
	Uniform
)

var weightNames = []string{"square", "simple", "uniform"}

func (w Weight) String() string {
	if w < 0 || int(w) >= len(weightNames) {
		return "unknown"
	}
	return weightNames[w]
}

// ParseWeight reads the name of a weight (Invalid for an unknown one).
func ParseWeight(name string) (Weight, error) {
	for i, n := range weightNames {
		if n == name {
			return Weight(i), nil
		}
	}
	return 0, fault.New(fault.Invalid, "the weight of classes %q is none of square, simple, uniform", name)
}

func (w Weight) of(volume float64) float64 {
	switch w {
	case Square:
		return 1 / (volume * volume)
	case Simple:
		return 1 / volume
	case Uniform:
	}
	return 1
}

func weights(classes []Counts, w Weight) []float64 {
	out := make([]float64, len(classes))
	var largest float64
	for i, n := range classes {
		out[i] = w.of(float64(n.TP + n.FN))
		if !math.IsInf(out[i], 1) {
			largest = max(largest, out[i])
		}
	}
	for i := range out {
		if math.IsInf(out[i], 1) {
			out[i] = largest
		}
	}
	return out
}

// GeneralisedDice returns 2Σ w·|A∩B| / Σ w·(|A|+|B|) over the classes. Where
// the denominator is 0 it is 1 without predicted voxels and 0 otherwise.
//
// Source: Crum et al., IEEE TMI 25 (2006); Sudre et al. (2017); MONAI
// compute_generalized_dice with sum_over_classes.
func GeneralisedDice(classes []Counts, w Weight) float64 {
	var num, den float64
	predicted := 0
	for i, weight := range weights(classes, w) {
		n := classes[i]
		num += 2 * weight * float64(n.TP)
		den += weight * float64(2*n.TP+n.FP+n.FN)
		predicted += n.TP + n.FP
	}
	return generalised(num, den, predicted)
}

// GeneralisedDiceEach returns the same for each class by itself; the weight
// matters only where it is 0.
func GeneralisedDiceEach(classes []Counts, w Weight) []float64 {
	out := make([]float64, len(classes))
	for i, weight := range weights(classes, w) {
		n := classes[i]
		out[i] = generalised(2*weight*float64(n.TP), weight*float64(2*n.TP+n.FP+n.FN), n.TP+n.FP)
	}
	return out
}

func generalised(num, den float64, predicted int) float64 {
	switch {
	case den != 0:
		return num / den
	case predicted == 0:
		return 1
	}
	return 0
}
