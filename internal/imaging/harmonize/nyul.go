package harmonize

import (
	"context"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// NyulParams are the landmarks of a set: the percentiles that are taken of an
// image's foreground, and where they are mapped to.
//
// Source: Nyúl, Udupa, Zhang, "New variants of a method of MRI scale
// standardization", IEEE Trans. Med. Imaging 19 (2000).
type NyulParams struct {
	Percentiles []float64 `json:"percentiles"` // 0..100, rising
	Landmarks   []float64 `json:"landmarks"`   // the standard scale's, rising
}

// maxLandmarks bounds lists of percentiles.
const maxLandmarks = 101

func checkPercentiles(p []float64) error {
	if len(p) < 2 || len(p) > maxLandmarks {
		return fault.New(fault.Invalid, "%d percentiles: from 2 to %d are needed", len(p), maxLandmarks)
	}
	for i, x := range p {
		if !(x >= 0 && x <= 100) || i > 0 && !(p[i-1] < x) {
			return fault.New(fault.Invalid, "percentile %g: they must rise within 0..100", x)
		}
	}
	return nil
}

// landmarks returns the percentiles of an image's foreground. An image whose
// first and last one are equal cannot be scaled (fault.Invalid).
func landmarks(ctx context.Context, s Sample, percent []float64, f Foreground) ([]float64, error) {
	v, err := f.present(ctx, s)
	if err != nil {
		return nil, err
	}
	l, err := percentiles(ctx, v, percent)
	if err != nil {
		return nil, err
	}
	if last := len(l) - 1; l[0] == l[last] {
		return nil, fault.New(fault.Invalid, "the image has no contrast: its foreground is %g at percentile %g and at %g", l[0], percent[0], percent[last])
	}
	return l, nil
}

// standard returns the mean of all images' landmarks, each image's first and
// last one brought to scale[0] and scale[1].
func standard(images [][]float64, scale [2]float64) []float64 {
	out := make([]float64, len(images[0]))
	for _, l := range images {
		first, last := l[0], l[len(l)-1]
		for i, x := range l {
			out[i] += (x - first) / (last - first) * (scale[1] - scale[0])
		}
	}
	for i := range out {
		out[i] = scale[0] + out[i]/float64(len(images))
	}
	out[len(out)-1] = scale[1] // not a rounding beside it
	return out
}

// curve is a rising line through points, xs strictly rising. Beyond the ends
// it goes on with the slope of its first and last piece.
type curve struct{ xs, ys []float64 }

// newCurve leads through the points (x[i], y[i]), both not falling, x[0] below
// the last one. Points with one x (percentiles that coincide in an image of
// few distinct values) become one, at the middle of their y.
func newCurve(x, y []float64) curve {
	var c curve
	for i := 0; i < len(x); {
		j := i
		for j+1 < len(x) && x[j+1] == x[i] {
			j++
		}
		c.xs, c.ys = append(c.xs, x[i]), append(c.ys, y[i]+(y[j]-y[i])/2)
		i = j + 1
	}
	return c
}

func (c curve) at(x float64) float64 {
	i := 1
	for i < len(c.xs)-1 && x >= c.xs[i] {
		i++
	}
	return c.ys[i-1] + (x-c.xs[i-1])*((c.ys[i]-c.ys[i-1])/(c.xs[i]-c.xs[i-1]))
}

func (n *NyulParams) apply(ctx context.Context, values []float32, f Foreground) error {
	l, err := landmarks(ctx, Sample{Values: values}, n.Percentiles, f)
	if err != nil {
		return err
	}
	c := newCurve(l, n.Landmarks)
	return each(ctx, values, func(v []float32, _ int) {
		for i, x := range v {
			v[i] = clampFloat32(c.at(float64(x)))
		}
	})
}

// clampFloat32 keeps a line that is drawn far beyond its points finite.
func clampFloat32(x float64) float32 {
	return float32(min(max(x, -math.MaxFloat32), math.MaxFloat32))
}
