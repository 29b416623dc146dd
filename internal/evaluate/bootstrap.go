package evaluate

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
)

// maxResamples bounds the work of the bootstrap.
const maxResamples = 100_000

// Statistics sums up one number over a cohort.
type Statistics struct {
	N         int `json:"n"`         // cases with a finite value
	Undefined int `json:"undefined"` // cases without a value
	Infinite  int `json:"infinite"`  // cases with an infinite distance; in no statistic

	// Of the finite values; absent without any. Low and High are the 95 %
	// percentile-bootstrap interval of the mean over cases.
	Mean   *float64 `json:"mean,omitempty"`
	Low    *float64 `json:"ci95_low,omitempty"`
	High   *float64 `json:"ci95_high,omitempty"`
	Std    *float64 `json:"std,omitempty"` // of the sample (n-1); absent below two cases
	Median *float64 `json:"median,omitempty"`
	Min    *float64 `json:"min,omitempty"`
	Max    *float64 `json:"max,omitempty"`
}

// bootstrap draws cases with replacement. The same seed, stream and number of
// cases give the same draws.
type bootstrap struct {
	resamples int
	seed      uint64
}

func (o Options) bootstrap() bootstrap { return bootstrap{o.Resamples, o.Seed} }

// describe sums up values. Errors: the context's.
func (b bootstrap) describe(ctx context.Context, values []float64, stream uint64) (Statistics, error) {
	mean, n, infinite := meanOf(values)
	s := Statistics{N: n, Infinite: infinite, Undefined: len(values) - n - infinite}
	if n == 0 {
		return s, nil
	}
	v := slices.DeleteFunc(slices.Clone(values), func(f float64) bool { return !finite(f) })
	low, high, err := b.interval(ctx, v, stream)
	if err != nil {
		return s, err
	}
	s.Mean, s.Low, s.High = &mean, &low, &high
	if n > 1 {
		var square float64
		for _, f := range v {
			square += (f - mean) * (f - mean)
		}
		std := math.Sqrt(square / float64(n-1))
		s.Std = &std
	}
	slices.Sort(v)
	median := quantile(v, 0.5)
	s.Median, s.Min, s.Max = &median, &v[0], &v[n-1]
	return s, nil
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// meanOf returns the mean of the finite values and how many there are, and how
// many are infinite.
func meanOf(values []float64) (mean float64, n, infinite int) {
	for _, f := range values {
		switch {
		case finite(f):
			mean += f
			n++
		case math.IsInf(f, 0):
			infinite++
		}
	}
	if n > 0 {
		mean /= float64(n)
	}
	return mean, n, infinite
}

// interval returns the 2.5th and 97.5th percentile of the mean over cases drawn
// with replacement.
//
// Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.
func (b bootstrap) interval(ctx context.Context, v []float64, stream uint64) (low, high float64, err error) {
	r := rand.New(rand.NewPCG(b.seed, stream)) //nolint:gosec // statistics, not secrets
	means := make([]float64, b.resamples)
	for i := range means {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		var sum float64
		for range v {
			sum += v[r.IntN(len(v))]
		}
		means[i] = sum / float64(len(v))
	}
	slices.Sort(means)
	return quantile(means, 0.025), quantile(means, 0.975), nil
}

// quantile reads sorted values; the place between two is taken linearly.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
