package harmonize

import (
	"context"
)

// nyulLearner keeps the landmarks of every image.
type nyulLearner struct {
	o      FitOptions
	images [][]float64
}

var _ learner = (*nyulLearner)(nil)

func (l *nyulLearner) first(ctx context.Context, i int, s Sample, _ []float32) (err error) {
	l.images[i], err = landmarks(ctx, s, l.o.Percentiles, l.o.Foreground)
	return err
}

func (l *nyulLearner) again() bool                                 { return false }
func (l *nyulLearner) second(_ context.Context, _ []float32) error { return nil }

func (l *nyulLearner) finish(m *Model) error {
	m.Nyul = &NyulParams{Percentiles: l.o.Percentiles, Landmarks: standard(present(l.images), l.o.Scale)}
	return nil
}

// present leaves out the images that could not be used.
func present(images [][]float64) [][]float64 {
	var out [][]float64
	for _, v := range images {
		if v != nil {
			out = append(out, v)
		}
	}
	return out
}

// histogramLearner keeps the quantiles of every image.
type histogramLearner struct{ images [][]float64 }

var _ learner = (*histogramLearner)(nil)

func (l *histogramLearner) first(ctx context.Context, i int, _ Sample, v []float32) (err error) {
	l.images[i], err = quantilesOf(ctx, v)
	return err
}

func (l *histogramLearner) again() bool                                 { return false }
func (l *histogramLearner) second(_ context.Context, _ []float32) error { return nil }

func (l *histogramLearner) finish(m *Model) error {
	images := present(l.images)
	mean := make([]float64, referenceSteps+1)
	for _, q := range images {
		for k, x := range q {
			mean[k] += x / float64(len(images))
		}
	}
	m.Histogram = &HistogramParams{Quantiles: mean}
	return nil
}
