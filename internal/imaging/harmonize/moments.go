package harmonize

import (
	"context"
	"math"
)

// moments are the number, the mean and the sum of squared deviations of a set
// of values.
type moments struct {
	n        int
	mean, m2 float64
}

// merge returns the moments of both sets together.
//
// Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm
// for computing sample variances", 1979.
func (a moments) merge(b moments) moments {
	if a.n == 0 {
		return b
	}
	if b.n == 0 {
		return a
	}
	n, d := a.n+b.n, b.mean-a.mean
	share := float64(b.n) / float64(n)
	return moments{n, a.mean + d*share, a.m2 + b.m2 + d*d*float64(a.n)*share}
}

// std returns the population standard deviation.
func (a moments) std() float64 {
	if a.n == 0 {
		return 0
	}
	return math.Sqrt(a.m2 / float64(a.n))
}

// momentsOf looks at all values, or at those where mask is true. mask is nil
// or as long as v.
func momentsOf(ctx context.Context, v []float32, mask []bool) (moments, error) {
	parts, err := partials(ctx, v, func(v []float32, from int) moments {
		if mask == nil {
			return blockMoments(v)
		}
		return maskedMoments(v, mask[from:from+len(v)])
	})
	var all moments
	for _, p := range parts {
		all = all.merge(p)
	}
	return all, err
}

func blockMoments(v []float32) moments {
	var sum, m2 float64
	for _, x := range v {
		sum += float64(x)
	}
	mean := sum / float64(len(v))
	for _, x := range v {
		d := float64(x) - mean
		m2 += d * d
	}
	return moments{len(v), mean, m2}
}

func maskedMoments(v []float32, mask []bool) moments {
	m := moments{}
	var sum float64
	for i, x := range v {
		if mask[i] {
			sum += float64(x)
			m.n++
		}
	}
	if m.n == 0 {
		return m
	}
	m.mean = sum / float64(m.n)
	for i, x := range v {
		if mask[i] {
			d := float64(x) - m.mean
			m.m2 += d * d
		}
	}
	return m
}
