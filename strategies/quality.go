package strategies

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// LabelQuality compares a label with a model's probabilities: the sum over
// voxels and classes of |p - label|, and its mean. A label far from what a good
// model predicts may be wrong. p holds [classes][voxels], label each voxel's
// class; class 0 is left out unless background is set.
//
// Source: MONAI's label_quality_score.
func LabelQuality(p [][]float32, label []uint8, background bool) (mean, sum float64, err error) {
	first := 1
	if background {
		first = 0
	}
	n := 0
	for c := first; c < len(p); c++ {
		if len(p[c]) != len(label) {
			return 0, 0, fault.New(fault.Internal, "probabilities of %d voxels for a label of %d", len(p[c]), len(label))
		}
		for i, v := range p[c] {
			want := 0.0
			if int(label[i]) == c {
				want = 1
			}
			sum += math.Abs(float64(v) - want)
		}
		n += len(label)
	}
	if n == 0 {
		return 0, 0, fault.New(fault.Invalid, "a label without voxels or classes cannot be judged")
	}
	return sum / float64(n), sum, nil
}
