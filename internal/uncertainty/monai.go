package uncertainty

import (
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
)

// Measures of MONAI and of MONAI Label, for comparison with scores from there.
// Predictions are [pass][class][voxel]; nothing is changed in place.

// EpistemicEntropy is MONAI Label's entropy of the mean over passes, in which
// probabilities of 0 or below count as 5e-5, voxel by voxel and its mean. Its
// scorer leaves the first class out (background false), so that the background's
// term is missing.
//
// Source: MONAI Label 0.8 EpistemicScoring.entropy_volume.
func EpistemicEntropy(p [][][]float32, background bool) (m []float32, score float64) {
	first := 1
	if background {
		first = 0
	}
	m = make([]float32, len(p[0][0]))
	for v := range m {
		var h float64
		for c := first; c < len(p[0]); c++ {
			var mean float64
			for _, q := range p {
				mean += floored(q[c][v], 5e-5) / float64(len(p))
			}
			h -= mean * math.Log(mean)
		}
		m[v] = float32(h)
	}
	return m, mean(m, nil)
}

// EpistemicVariance is MONAI Label's: the population variance over passes,
// summed over classes, values of 0 or below counting as 5e-4.
//
// Source: MONAI Label 0.8 EpistemicScoring.variance_volume.
func EpistemicVariance(p [][][]float32) (m []float32, score float64) {
	m = make([]float32, len(p[0][0]))
	values := make([]float64, len(p))
	for v := range m {
		var sum float64
		for c := range p[0] {
			for i, q := range p {
				values[i] = floored(q[c][v], 5e-4)
			}
			sum += variance(values)
		}
		m[v] = float32(sum)
	}
	return m, mean(m, nil)
}

// PooledVariance is MONAI's compute_variance: the population variance over
// passes and classes together, so that it is large also where all passes agree.
// Values of 0 or below count as threshold. score is the map's mean, or its sum.
//
// Source: MONAI 1.5 metrics.active_learning_metrics.compute_variance.
func PooledVariance(p [][][]float32, background bool, threshold float64, reduction string) (m []float32, score float64, err error) {
	first := 1
	if background {
		first = 0
	}
	m = make([]float32, len(p[0][0]))
	for v := range m {
		var values []float64
		for _, q := range p {
			for c := first; c < len(q); c++ {
				values = append(values, floored(q[c][v], threshold))
			}
		}
		m[v] = float32(variance(values))
	}
	score, err = reduced(m, reduction)
	return m, score, err
}

// LabelQuality is MONAI's label_quality_score: the absolute difference of
// prediction and label, [class][voxel], over all classes.
//
// Source: MONAI 1.5 metrics.active_learning_metrics.label_quality_score.
func LabelQuality(prediction, label [][]float32, background bool, reduction string) (float64, error) {
	if !background {
		prediction, label = prediction[1:], label[1:]
	}
	a, b := slices.Concat(prediction...), slices.Concat(label...)
	if len(a) != len(b) {
		return 0, fault.New(fault.Invalid, "a prediction of %d values and a label of %d", len(a), len(b))
	}
	for i := range a {
		a[i] = float32(math.Abs(float64(a[i]) - float64(b[i])))
	}
	return reduced(a, reduction)
}

func floored(p float32, least float64) float64 {
	if p <= 0 {
		return least
	}
	return float64(p)
}

func reduced(m []float32, how string) (float64, error) {
	switch how {
	case "mean":
		return mean(m, nil), nil
	case "sum":
		return mean(m, nil) * float64(len(m)), nil
	}
	return 0, fault.New(fault.Invalid, "the reduction %q is neither mean nor sum", how)
}

// variance is the population variance.
func variance(v []float64) float64 {
	var mean, sum float64
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		sum += (x - mean) * (x - mean)
	}
	return sum / float64(len(v))
}
