package transform

import (
	"context"
	"fmt"
	"math"

	"github.com/voxloop/voxloop/internal/imaging"
)

// splineMargin is how many voxels are added around an image before the cubic
// prefilter: what lies further away weighs at most 0.268^12 = 1.4e-7.
const splineMargin = 12

// spline holds the B-spline coefficients of one channel, with a margin.
type spline struct {
	size [3]int // of coef
	coef []float32
}

// cubic samples by the cubic B-spline that passes through all voxels. Where
// nothing is interpolated the voxels come back within float32 rounding.
//
// Source: Unser, Splines: a perfect fit for signal and image processing, IEEE
// Signal Processing Magazine 16(6), 1999; boundaries as SciPy's (see Outside).
func (m *Image) cubic(ctx context.Context, to Layout, outside Outside) (*Image, error) {
	inv, ok := m.Affine.Inverse()
	if !ok {
		return nil, fmt.Errorf("%w: the affine cannot be inverted", imaging.ErrFormat)
	}
	at := inv.Mul(to.Affine)
	return m.perChannel(to, func(dst, src []float32) error {
		s, err := newSpline(ctx, src, m.Size, outside)
		if err != nil {
			return err
		}
		return Parallel(ctx, to.Size[0], func(ctx context.Context, from, end int) error {
			for i := from; i < end; i++ {
				if err := ctx.Err(); err != nil {
					return err
				}
				s.plane(dst[i*to.Size[1]*to.Size[2]:], to.Size, at, i, m.Size, outside)
			}
			return nil
		})
	})
}

// newSpline adds the margin and filters along every axis.
func newSpline(ctx context.Context, src []float32, size [3]int, outside Outside) (*spline, error) {
	var s spline
	for d := range 3 {
		s.size[d] = size[d] + 2*splineMargin
	}
	s.coef = make([]float32, s.size[0]*s.size[1]*s.size[2])
	err := Parallel(ctx, s.size[0], func(_ context.Context, from, to int) error {
		for i := from; i < to; i++ {
			s.widen(src, size, outside, i)
		}
		return nil
	})
	for d := 0; d < 3 && err == nil; d++ {
		err = s.filter(ctx, d)
	}
	return &s, err
}

// widen writes plane i of the margin-padded image.
func (s *spline) widen(src []float32, size [3]int, outside Outside, i int) {
	a := outside.voxel(i-splineMargin, size[0])
	for j := range s.size[1] {
		b := outside.voxel(j-splineMargin, size[1])
		row := s.coef[(i*s.size[1]+j)*s.size[2]:][:s.size[2]]
		if a < 0 || b < 0 {
			continue
		}
		from := src[(a*size[1]+b)*size[2]:][:size[2]]
		for k := range row {
			if c := outside.voxel(k-splineMargin, size[2]); c >= 0 {
				row[k] = from[c]
			}
		}
	}
}

// filter turns samples along axis d into coefficients, in place.
func (s *spline) filter(ctx context.Context, d int) error {
	stride := [3]int{s.size[1] * s.size[2], s.size[2], 1}
	u, v := (d+1)%3, (d+2)%3
	if u > v {
		u, v = v, u
	}
	return Parallel(ctx, s.size[u], func(ctx context.Context, from, to int) error {
		line := make([]float64, s.size[d])
		for i := from; i < to; i++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			for j := range s.size[v] {
				at := s.coef[i*stride[u]+j*stride[v]:]
				for k := range line {
					line[k] = float64(at[k*stride[d]])
				}
				prefilter(line)
				for k, x := range line {
					at[k*stride[d]] = float32(x)
				}
			}
		}
		return nil
	})
}

// prefilter solves c[k-1]/6 + 4c[k]/6 + c[k+1]/6 = v[k] for c, in place, by a
// causal and an anticausal recursion of pole √3-2. How they start at the ends
// of v does not matter: the margin lies between them and the image.
func prefilter(v []float64) {
	pole := math.Sqrt(3) - 2
	n := len(v)
	v[0] *= 6
	for k := 1; k < n; k++ {
		v[k] = 6*v[k] + pole*v[k-1]
	}
	v[n-1] *= pole / (pole - 1)
	for k := n - 2; k >= 0; k-- {
		v[k] = pole * (v[k+1] - v[k])
	}
}

// taps returns the first of the four coefficients around coordinate c of an
// axis of n voxels, counted with the margin, and their weights. ok is false
// where a sample finds only zeros.
func taps(c float64, n int, outside Outside) (first int, w [4]float32, ok bool) {
	switch c = outside.fold(c, n); {
	case math.IsNaN(c): // of affines whose product overflows
		return 0, w, false
	case outside == Clamp:
		c = min(max(c, 0), float64(n-1))
	case c < -splineMargin+2 || c > float64(n+splineMargin-3):
		return 0, w, false
	}
	f := math.Floor(c)
	t := c - f
	u := 1 - t
	return int(f) - 1 + splineMargin, [4]float32{
		float32(u * u * u / 6),
		float32((4 - 6*t*t + 3*t*t*t) / 6),
		float32((4 - 6*u*u + 3*u*u*u) / 6),
		float32(t * t * t / 6),
	}, true
}

// plane samples array plane i of a lattice of the given size.
func (s *spline) plane(dst []float32, to [3]int, at imaging.Affine, i int, size [3]int, outside Outside) {
	for j := range to[1] {
		o := at.Apply([3]float64{float64(i), float64(j), 0})
		row := dst[j*to[2] : (j+1)*to[2]]
		for k := range row {
			f := float64(k)
			a, wa, ok0 := taps(o[0]+f*at[0][2], size[0], outside)
			b, wb, ok1 := taps(o[1]+f*at[1][2], size[1], outside)
			c, wc, ok2 := taps(o[2]+f*at[2][2], size[2], outside)
			if ok0 && ok1 && ok2 {
				row[k] = s.value(a, b, c, &wa, &wb, &wc)
			}
		}
	}
}

func (s *spline) value(a, b, c int, wa, wb, wc *[4]float32) float32 {
	var sum float32
	for p, w := range wa {
		var plane float32
		for q, u := range wb {
			r := s.coef[((a+p)*s.size[1]+b+q)*s.size[2]+c:][:4]
			plane += u * (wc[0]*r[0] + wc[1]*r[1] + wc[2]*r[2] + wc[3]*r[3])
		}
		sum += w * plane
	}
	return sum
}
