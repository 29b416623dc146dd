package harmonize

import (
	"context"
	"math"

	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// minStd is the smallest deviation that is divided by, nnU-Net's.
const minStd = 1e-8

// ZScoreParams are a mean and a population standard deviation.
type ZScoreParams struct {
	Mean float64 `json:"mean"`
	Std  float64 `json:"std"`
}

// SiteParams are the numbers of one site.
type SiteParams struct {
	Site   string  `json:"site"`
	Images int     `json:"images"`
	Mean   float64 `json:"mean"`
	Std    float64 `json:"std"`
}

// PercentileParams map the values of two percentiles to a range.
type PercentileParams struct {
	Percent [2]float64 `json:"percent"`
	Values  [2]float64 `json:"values"`
	To      [2]float64 `json:"to"`
	Clip    bool       `json:"clip"` // cut off at To
}

// CTParams are nnU-Net's foreground_intensity_properties_per_channel, under
// its names. Minimum, maximum and median are for people.
type CTParams struct {
	Lower  float64 `json:"percentile_00_5"`
	Upper  float64 `json:"percentile_99_5"`
	Mean   float64 `json:"mean"`
	Std    float64 `json:"std"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Median float64 `json:"median"`
}

// ctPercent are the percentiles of CTParams: lower, upper, median, ends.
var ctPercent = []float64{0.5, 99.5, 50, 0, 100}

func ctParams(q []float64, m moments) CTParams {
	return CTParams{Lower: q[0], Upper: q[1], Median: q[2], Min: q[3], Max: q[4], Mean: m.mean, Std: m.std()}
}

// Apply cuts values off at Lower and Upper, subtracts Mean and divides by Std
// (at least 1e-8), in place. NaN and infinite values are fault.Invalid.
//
// Source: nnU-Net v2 CTNormalization.
func (p CTParams) Apply(ctx context.Context, values []float32) error {
	if err := checkFinite(ctx, values); err != nil {
		return err
	}
	return p.apply(ctx, values)
}

func (p CTParams) apply(ctx context.Context, values []float32) error {
	lo, hi := float32(p.Lower), float32(p.Upper)
	mean, std := p.Mean, max(p.Std, minStd)
	return each(ctx, values, func(v []float32, _ int) {
		for i, x := range v {
			v[i] = clampFloat32((float64(min(max(x, lo), hi)) - mean) / std)
		}
	})
}

func (p ZScoreParams) apply(ctx context.Context, values []float32) error {
	std := max(p.Std, minStd)
	return each(ctx, values, func(v []float32, _ int) {
		for i, x := range v {
			v[i] = clampFloat32((float64(x) - p.Mean) / std)
		}
	})
}

func (p PercentileParams) apply(ctx context.Context, values []float32) error {
	return transform.Channels{values}.Linear(ctx, p.Values, p.To, p.Clip)
}

// Standardize is the z-score of an image by itself: the mean and the
// population standard deviation (at least 1e-8) of the voxels that mask marks
// are subtracted and divided by. Voxels outside of the mask keep their value.
// A nil mask marks all. A mask that marks none changes nothing. NaN and
// infinite values are fault.Invalid.
//
// Source: nnU-Net v2 ZScoreNormalization.
func Standardize(ctx context.Context, values []float32, mask []bool) error {
	if err := checkFinite(ctx, values); err != nil {
		return err
	}
	m, err := momentsOf(ctx, values, mask)
	if err != nil {
		return err
	}
	std := max(m.std(), minStd)
	return each(ctx, values, func(v []float32, from int) {
		for i, x := range v {
			if mask == nil || mask[from+i] {
				v[i] = clampFloat32((float64(x) - m.mean) / std)
			}
		}
	})
}

// StandardizeBy is Standardize with the mean and the deviation of the voxels
// that f means, and every voxel changed. An image without such voxels is
// fault.Invalid.
func StandardizeBy(ctx context.Context, values []float32, f Foreground) error {
	if err := checkFinite(ctx, values); err != nil {
		return err
	}
	m, err := caseMoments(ctx, values, f)
	if err != nil {
		return err
	}
	return ZScoreParams{m.mean, m.std()}.apply(ctx, values)
}

func caseMoments(ctx context.Context, values []float32, f Foreground) (moments, error) {
	v, err := f.present(ctx, Sample{Values: values})
	if err != nil {
		return moments{}, err
	}
	return momentsOf(ctx, v, nil)
}

// blend returns the stored number moved to the case's by the weight.
func blend(stored, own, weight float64) float64 { return (1-weight)*stored + weight*own }

// blendStd blends variances.
func blendStd(stored, own, weight float64) float64 {
	return math.Sqrt(blend(stored*stored, own*own, weight))
}
