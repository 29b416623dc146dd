package morph

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/parallel"
)

// Intensity describes an image's values under one label. NaN voxels are left
// out; without any other all values are NaN.
type Intensity struct {
	Label       uint16
	Voxels      int // that are not NaN
	Mean, Sum   float64
	Std         float64 // of the population
	Min, Max    float64
	Median      float64
	Percentiles []float64 // as asked for
}

// Intensities returns the statistics of one channel under every label that
// occurs, 0 included, in rising order. Sums are float64; percentiles (0..100)
// are interpolated linearly between sorted values. Image and label map must have
// one size (imaging.ErrShape).
func Intensities(ctx context.Context, l *imaging.LabelMap, v *imaging.Volume, channel int, percent ...float64) ([]Intensity, error) {
	if l.Size != v.Size || channel < 0 || channel >= v.Channels {
		return nil, fault.Wrap(fault.Invalid, imaging.ErrShape, "the image does not fit the label map")
	}
	for _, p := range percent {
		if !(p >= 0 && p <= 100) {
			return nil, fault.New(fault.Invalid, "percentile %g is not within 0..100", p)
		}
	}
	values := make(map[uint16][]float32)
	buf := make([]float32, l.Size[0])
	for at := 0; at < len(l.Data); at += len(buf) {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("intensity statistics: %w", err)
		}
		v.Float32s(buf, channel, at)
		split(l.Data[at:at+len(buf)], buf, values)
	}
	labels := slices.Sorted(maps.Keys(values))
	out := make([]Intensity, len(labels))
	err := parallel.For(ctx, len(labels), func(_ context.Context, from, to int) error {
		for i := from; i < to; i++ {
			out[i] = describe(values[labels[i]], percent)
			out[i].Label = labels[i]
		}
		return nil
	})
	return out, err
}

// split appends the values of a row to their labels, run by run.
func split(row []uint16, v []float32, to map[uint16][]float32) {
	for k := 0; k < len(row); {
		l, from := row[k], k
		for k++; k < len(row) && row[k] == l; {
			k++
		}
		to[l] = append(to[l], v[from:k]...)
	}
}

func describe(v []float32, percent []float64) Intensity {
	v = slices.DeleteFunc(v, func(f float32) bool { return f != f })
	nan := math.NaN()
	s := Intensity{Voxels: len(v), Percentiles: make([]float64, len(percent))}
	if len(v) == 0 {
		s.Mean, s.Sum, s.Std, s.Min, s.Max, s.Median = nan, nan, nan, nan, nan, nan
		for i := range percent {
			s.Percentiles[i] = nan
		}
		return s
	}
	for _, f := range v {
		s.Sum += float64(f)
	}
	s.Mean = s.Sum / float64(len(v))
	var square float64
	for _, f := range v {
		d := float64(f) - s.Mean
		square += d * d
	}
	s.Std = math.Sqrt(square / float64(len(v)))
	slices.Sort(v)
	s.Min, s.Max = float64(v[0]), float64(v[len(v)-1])
	s.Median = percentile(v, 50)
	for i, p := range percent {
		s.Percentiles[i] = percentile(v, p)
	}
	return s
}

// percentile reads sorted values; the place between two is taken linearly.
func percentile(sorted []float32, p float64) float64 {
	at := p / 100 * float64(len(sorted)-1)
	i := min(int(at), len(sorted)-1)
	lo, hi := float64(sorted[i]), float64(sorted[min(i+1, len(sorted)-1)])
	part := at - float64(i)
	if lo == hi || part == 0 { // equal infinities have no difference, and no part of an infinite one is 0
		return lo
	}
	return lo + part*(hi-lo)
}
