package transform

import (
	"context"
	"fmt"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Gamma changes contrast by a power: with range = max - min of the values,
//
//	y = ((x - min) / (range + 1e-7))^Exponent · range + min
//
// Source: MONAI AdjustContrast.
type Gamma struct {
	Exponent float64 // above 0; below 1 brightens
	Invert   bool    // work on -x, and turn the sign back: dark and bright change places
	Keep     bool    // bring mean and standard deviation back to what they were
}

// Gamma applies g to all values together.
func (c Channels) Gamma(ctx context.Context, g Gamma) error {
	if !(g.Exponent > 0) || math.IsInf(g.Exponent, 0) {
		return fault.New(fault.Invalid, "gamma %g is not a number above 0", g.Exponent)
	}
	sign := 1.0
	if g.Invert {
		sign = -1
	}
	var mean, std float64
	if g.Keep {
		var err error
		if mean, std, err = c.moments(ctx, false); err != nil {
			return err
		}
		mean *= sign
	}
	lo32, hi32, err := c.Range(ctx)
	if err != nil {
		return err
	}
	lo, hi := sign*float64(lo32), sign*float64(hi32)
	if g.Invert {
		lo, hi = hi, lo
	}
	span := hi - lo
	if err := c.each(ctx, func(v []float32) {
		for i, x := range v {
			v[i] = float32(math.Pow((sign*float64(x)-lo)/(span+1e-7), g.Exponent)*span + lo)
		}
	}); err != nil {
		return err
	}
	a, b := sign, 0.0
	if g.Keep {
		m, s, err := c.moments(ctx, false)
		if err != nil {
			return err
		}
		f := std / (s + 1e-8)
		a, b = sign*f, sign*(mean-m*f)
	}
	if a == 1 && b == 0 {
		return nil
	}
	return c.each(ctx, func(v []float32) {
		for i, x := range v {
			v[i] = float32(float64(x)*a + b)
		}
	})
}

// Shift adds offset to all values.
func (c Channels) Shift(ctx context.Context, offset float64) error {
	o := float32(offset)
	return c.each(ctx, func(v []float32) {
		for i := range v {
			v[i] += o
		}
	})
}

// StdShift adds factor times the population standard deviation of the values.
// With nonzero, only values other than 0 count and change.
//
// Source: MONAI StdShiftIntensity.
func (c Channels) StdShift(ctx context.Context, factor float64, nonzero bool) error {
	_, std, err := c.moments(ctx, nonzero)
	if err != nil {
		return err
	}
	o := float32(factor * std)
	return c.each(ctx, func(v []float32) {
		for i, x := range v {
			if !nonzero || x != 0 {
				v[i] = x + o
			}
		}
	})
}

// Scale multiplies all values by 1 + factor.
//
// Source: MONAI ScaleIntensity with a factor.
func (c Channels) Scale(ctx context.Context, factor float64) error {
	f := float32(1 + factor)
	return c.each(ctx, func(v []float32) {
		for i := range v {
			v[i] *= f
		}
	})
}

// Threshold keeps the values above limit (with above false: those below it)
// and replaces the others, those equal to limit among them, by value.
//
// Source: MONAI ThresholdIntensity.
func (c Channels) Threshold(ctx context.Context, limit float64, above bool, value float64) error {
	t, r := float32(limit), float32(value)
	return c.each(ctx, func(v []float32) {
		for i, x := range v {
			if above && x > t || !above && x < t {
				continue
			}
			v[i] = r
		}
	})
}

// ClipPercentiles cuts values off at two percentiles of all of them.
//
// Source: MONAI ClipIntensityPercentiles.
func (c Channels) ClipPercentiles(ctx context.Context, percent [2]float64) error {
	q, err := c.Percentiles(ctx, percent[:])
	if err != nil {
		return err
	}
	return c.Clip(ctx, q[0], q[1])
}

// PercentileRelative is Percentile with the output range cut at the percents
// too: the percent[i]-th percentile goes to to[0] + (to[1]-to[0])·percent[i]/100,
// so values beyond the percentiles have room. clip cuts off at these ends.
//
// Source: MONAI ScaleIntensityRangePercentiles with relative.
func (c Channels) PercentileRelative(ctx context.Context, percent, to [2]float64, clip bool) error {
	span := to[1] - to[0]
	return c.Percentile(ctx, percent, [2]float64{to[0] + span*percent[0]/100, to[0] + span*percent[1]/100}, clip)
}

// Add adds other, channels of the same lengths, for example noise.
//
// Source: MONAI RandGaussianNoise, which adds a drawn array.
func (c Channels) Add(ctx context.Context, other Channels) error {
	return other.zip(ctx, c, func(o, v []float32) {
		for i, x := range o {
			v[i] += x
		}
	})
}

// zip calls fn for matching blocks of c and other, in parallel.
func (c Channels) zip(ctx context.Context, other Channels, fn func(v, o []float32)) error {
	if len(c) != len(other) {
		return fmt.Errorf("%w: %d and %d channels", imaging.ErrShape, len(c), len(other))
	}
	for i := range c {
		if len(c[i]) != len(other[i]) {
			return fmt.Errorf("%w: channel %d holds %d and %d values", imaging.ErrShape, i, len(c[i]), len(other[i]))
		}
		err := Parallel(ctx, (len(c[i])+block-1)/block, func(ctx context.Context, from, to int) error {
			for b := from; b < to; b++ {
				if err := ctx.Err(); err != nil {
					return err
				}
				end := min((b+1)*block, len(c[i]))
				fn(c[i][b*block:end], other[i][b*block:end])
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
