package transform

import (
	"context"
	"math"
)

// Channels are the voxel arrays that one intensity step works on. Statistics
// are taken over all of them together, and all are changed in place.
type Channels [][]float32

// Linear maps from[0]..from[1] to to[0]..to[1] in a straight line; with clip,
// values beyond are cut off at to. When both ends of from are equal the result
// is x - from[0] + to[0].
//
// Source: MONAI ScaleIntensityRange.
func (c Channels) Linear(ctx context.Context, from, to [2]float64, clip bool) error {
	return c.each(ctx, linear(from, to, clip))
}

// linear is Linear of one stretch of values.
func linear(from, to [2]float64, clip bool) func(v []float32) {
	scale := 1.0
	if from[1] != from[0] {
		scale = (to[1] - to[0]) / (from[1] - from[0])
	}
	a, s, b := float32(from[0]), float32(scale), float32(to[0])
	if !clip {
		return func(v []float32) {
			for i, x := range v {
				v[i] = (x-a)*s + b
			}
		}
	}
	lo, hi := float32(min(to[0], to[1])), float32(max(to[0], to[1]))
	return func(v []float32) {
		for i, x := range v {
			v[i] = min(max((x-a)*s+b, lo), hi)
		}
	}
}

// Clip cuts values off below lo and above hi.
func (c Channels) Clip(ctx context.Context, lo, hi float64) error {
	l, h := float32(lo), float32(hi)
	return c.each(ctx, func(v []float32) {
		for i, x := range v {
			v[i] = min(max(x, l), h)
		}
	})
}

// MinMax maps the smallest value to to[0] and the largest to to[1]. A constant
// image becomes x·to[0].
//
// Source: MONAI ScaleIntensity.
func (c Channels) MinMax(ctx context.Context, to [2]float64) error {
	lo, hi, err := c.Range(ctx)
	if err != nil {
		return err
	}
	if lo == hi {
		s := float32(to[0])
		return c.each(ctx, func(v []float32) {
			for i := range v {
				v[i] *= s
			}
		})
	}
	return c.Linear(ctx, [2]float64{float64(lo), float64(hi)}, to, false)
}

// ZScore subtracts the mean and divides by the population standard deviation;
// a deviation of 0 counts as 1. With nonzero, only voxels other than 0 count,
// and zeros stay 0.
//
// Source: MONAI NormalizeIntensity.
func (c Channels) ZScore(ctx context.Context, nonzero bool) error {
	mean, std, err := c.moments(ctx, nonzero)
	if err != nil {
		return err
	}
	if std == 0 {
		std = 1
	}
	m, inv := mean, 1/std
	return c.each(ctx, func(v []float32) {
		for i, x := range v {
			if nonzero && x == 0 {
				continue
			}
			v[i] = float32((float64(x) - m) * inv)
		}
	})
}

// Percentile maps the percent[0]-th and percent[1]-th percentiles of the
// values, interpolated linearly between sorted values, to to[0] and to[1].
//
// Source: MONAI ScaleIntensityRangePercentiles.
func (c Channels) Percentile(ctx context.Context, percent, to [2]float64, clip bool) error {
	q, err := c.Percentiles(ctx, percent[:])
	if err != nil {
		return err
	}
	return c.Linear(ctx, [2]float64{q[0], q[1]}, to, clip)
}

// Range returns the smallest and the largest value; NaN counts as neither.
func (c Channels) Range(ctx context.Context) (lo, hi float32, err error) {
	type ends struct{ lo, hi float32 }
	parts, err := partials(ctx, c, func(v []float32) ends {
		e := ends{float32(math.Inf(1)), float32(math.Inf(-1))}
		for _, x := range v {
			if x < e.lo {
				e.lo = x
			}
			if x > e.hi {
				e.hi = x
			}
		}
		return e
	})
	lo, hi = float32(math.Inf(1)), float32(math.Inf(-1))
	for _, e := range parts {
		lo, hi = min(lo, e.lo), max(hi, e.hi)
	}
	return lo, hi, err
}

// moments returns the mean and the population standard deviation, in float64
// and in two passes.
func (c Channels) moments(ctx context.Context, nonzero bool) (mean, std float64, err error) {
	type sum struct {
		v float64
		n int
	}
	total := func(f func(x float64) float64) (sum, error) {
		parts, err := partials(ctx, c, func(v []float32) (s sum) {
			for _, x := range v {
				if nonzero && x == 0 {
					continue
				}
				s.v += f(float64(x))
				s.n++
			}
			return s
		})
		var s sum
		for _, p := range parts {
			s.v, s.n = s.v+p.v, s.n+p.n
		}
		return s, err
	}
	first, err := total(func(x float64) float64 { return x })
	if err != nil || first.n == 0 {
		return 0, 0, err
	}
	mean = first.v / float64(first.n)
	second, err := total(func(x float64) float64 { return (x - mean) * (x - mean) })
	return mean, math.Sqrt(second.v / float64(first.n)), err
}

// block is the number of values that one partial result covers. It does not
// depend on the number of cores, so neither does the rounding of a sum.
const block = 1 << 16

// each runs fn over all values in blocks, in parallel.
func (c Channels) each(ctx context.Context, fn func(v []float32)) error {
	_, err := partials(ctx, c, func(v []float32) struct{} { fn(v); return struct{}{} })
	return err
}

// partials calls fn for every block and returns the results in order.
func partials[T any](ctx context.Context, c Channels, fn func(v []float32) T) ([]T, error) {
	var blocks [][]float32
	for _, v := range c {
		for len(v) > block {
			blocks = append(blocks, v[:block])
			v = v[block:]
		}
		blocks = append(blocks, v)
	}
	out := make([]T, len(blocks))
	err := Parallel(ctx, len(blocks), func(ctx context.Context, from, to int) error {
		for i := from; i < to; i++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			out[i] = fn(blocks[i])
		}
		return nil
	})
	return out, err
}
