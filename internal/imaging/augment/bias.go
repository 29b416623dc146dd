package augment

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// BiasField multiplies, above the channel's minimum m, by a smooth field, as
// coils of MR scanners do:
//
//	m + (x - m)·exp(P),  P = Σ c_ijk·x^i·y^j·z^k,  1 ≤ i+j+k ≤ order
//
// with coordinates in [-1, 1] over the patch and coefficients drawn uniformly
// from both signs, then scaled so that |P| is strength at its largest voxel:
// the field lies within [exp(-strength), exp(strength)] and touches one end.
// Source: polynomial bias model of Van Leemput and others, IEEE TMI 1999.
type BiasField struct {
	Chance   `yaml:",inline"`
	Strength Range `yaml:"strength"`
	Order    int   `yaml:"order"` // 1 to 5
}

const maxOrder = 5

func (t *BiasField) validate() error {
	if t.Order < 1 || t.Order > maxOrder {
		return fault.New(fault.Invalid, "order: %d is not within 1..%d", t.Order, maxOrder)
	}
	return firstError(t.check(), t.Strength.checkSize("strength", 10))
}

func (t *BiasField) apply(r *run) error {
	return r.channels(t.Chance, func(_ int, v []float32, d *draws) error {
		strength := d.in(t.Strength)
		p := newPolynomial(d, t.Order)
		stat, err := r.statistics(v)
		if err != nil {
			return err
		}
		largest, err := r.largest(&p)
		if err != nil || largest == 0 {
			return err
		}
		scale, lo := strength/largest*math.Log2E, float64(stat.lo)
		size := r.p.Size
		return r.each(size[0]*size[1], 1, func(from, to int) {
			for o := from; o < to; o++ {
				h := p.row(unit(o/size[1], size[0]), unit(o%size[1], size[1]))
				row := v[o*size[2]:][:size[2]]
				for z, x := range row {
					row[z] = float32(lo + (float64(x)-lo)*exp2(scale*h.at(unit(z, size[2]))))
				}
			}
		})
	})
}

// unit returns the coordinate of voxel i in [-1, 1]; 0 where there is one.
func unit(i, n int) float64 {
	if n == 1 {
		return 0
	}
	return 2*float64(i)/float64(n-1) - 1
}

// polynomial has coefficients by powers of x, y, z.
type polynomial struct {
	order int
	c     [maxOrder + 1][maxOrder + 1][maxOrder + 1]float64
}

func newPolynomial(d *draws, order int) polynomial {
	p := polynomial{order: order}
	for i := 0; i <= order; i++ {
		for j := 0; i+j <= order; j++ {
			for k := 0; i+j+k <= order; k++ {
				if i+j+k > 0 {
					p.c[i][j][k] = d.uniform(-1, 1)
				}
			}
		}
	}
	return p
}

// rowPolynomial is a polynomial in z.
type rowPolynomial [maxOrder + 1]float64

// row returns the polynomial in z at (x, y).
func (p *polynomial) row(x, y float64) rowPolynomial {
	var h rowPolynomial
	for i, px := 0, 1.0; i <= p.order; i, px = i+1, px*x {
		for j, py := 0, px; i+j <= p.order; j, py = j+1, py*y {
			for k := 0; i+j+k <= p.order; k++ {
				h[k] += p.c[i][j][k] * py
			}
		}
	}
	return h
}

func (h *rowPolynomial) at(z float64) float64 {
	return h[0] + z*(h[1]+z*(h[2]+z*(h[3]+z*(h[4]+z*h[5]))))
}

// largest returns the largest magnitude of p over the patch's voxels.
func (r *run) largest(p *polynomial) (float64, error) {
	size := r.p.Size
	planes := make([]float64, size[0])
	err := r.each(size[0], 1, func(from, to int) {
		for x := from; x < to; x++ {
			for y := range size[1] {
				h := p.row(unit(x, size[0]), unit(y, size[1]))
				for z := range size[2] {
					planes[x] = max(planes[x], math.Abs(h.at(unit(z, size[2]))))
				}
			}
		}
	})
	var all float64
	for _, m := range planes {
		all = max(all, m)
	}
	return all, err
}
