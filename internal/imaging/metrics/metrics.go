// Package metrics compares a predicted label map with the truth: overlap,
// the rates of the confusion matrix, surface distances, lesions found and
// missed, volumes, and the calibration of probabilities.
//
// Arrays are x fastest, index = x + nx*(y + ny*z). Distances are millimetres
// when the spacing is, volumes cubic millimetres. An undefined value is NaN.
// Where a class is empty in the prediction, in the truth or in both, the fields
// have different habits: see Empty.
package metrics

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// Empty is a convention for classes without voxels.
//
//	                          MONAI          MONAIKeep      NNUNet
//	Dice, IoU
//	  both empty              NaN            1              NaN
//	  truth empty             NaN            0              0
//	  prediction empty        0              0              0
//	HD, ASD, ASSD
//	  both empty              NaN            NaN            NaN
//	  one empty               +Inf           +Inf           NaN
//	percentile of HD
//	  any empty               NaN            NaN            NaN
//	NSD
//	  both empty              NaN            NaN            NaN
//	  one empty               0              0              0
//
// MONAI is MONAI's default (ignore_empty=True), MONAIKeep is ignore_empty=False.
// NNUNet is nnU-Net's evaluation: nothing is said about a class that is in
// neither map, and a distance to nothing has no value. All other rates are the
// same in each: NaN where the denominator is 0.
type Empty int

// The conventions.
const (
	MONAI Empty = iota
	MONAIKeep
	NNUNet
)

var emptyNames = []string{"monai", "monai-keep", "nnunet"}

func (e Empty) String() string {
	if e < 0 || int(e) >= len(emptyNames) {
		return "unknown"
	}
	return emptyNames[e]
}

// ParseEmpty reads the name of a convention (Invalid for an unknown one).
func ParseEmpty(name string) (Empty, error) {
	for i, n := range emptyNames {
		if n == name {
			return Empty(i), nil
		}
	}
	return 0, fault.New(fault.Invalid, "the convention for empty classes %q is none of monai, monai-keep, nnunet", name)
}

// overlap applies the convention to a ratio num/den of a class.
func (e Empty) overlap(num, den float64, truthEmpty bool) float64 {
	switch {
	case e == MONAI && truthEmpty:
		return math.NaN()
	case den != 0:
		return num / den
	case e == MONAIKeep:
		return 1
	}
	return math.NaN()
}
