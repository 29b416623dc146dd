package augment

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// Style sends intensities through a random monotone curve within the channel's
// range, as another scanner or protocol might: between evenly spaced knots the
// curve rises by steps exp(strength·n), n normal, made to end at the channel's
// maximum; monotone cubic interpolation joins them (Fritsch and Butland,
// SIAM J. Sci. Stat. Comput. 1984). With probability invert the curve falls instead, so
// that dark and bright change places. A constant channel stays.
type Style struct {
	Chance   `yaml:",inline"`
	Strength Range   `yaml:"strength"`
	Knots    int     `yaml:"knots"`  // 3 to 64
	Invert   float64 `yaml:"invert"` // probability
}

func (t *Style) validate() error {
	if t.Knots < 3 || t.Knots > 64 {
		return fault.New(fault.Invalid, "knots: %d is not within 3..64", t.Knots)
	}
	if !(t.Invert >= 0 && t.Invert <= 1) {
		return fault.New(fault.Invalid, "invert: %g is not within 0..1", t.Invert)
	}
	if t.Strength[1] == 0 && t.Invert > 0 {
		return firstError(t.check(), t.Strength.check("strength", 0, 5))
	}
	return firstError(t.check(), t.Strength.checkSize("strength", 5))
}

func (t *Style) apply(r *run) error {
	return r.channels(t.Chance, func(_ int, v []float32, d *draws) error {
		strength, invert := d.in(t.Strength), d.chance(t.Invert)
		c := newMonotone(d, t.Knots, strength)
		stat, err := r.statistics(v)
		if err != nil || !(stat.hi > stat.lo) {
			return err
		}
		lo, span := float64(stat.lo), float64(stat.hi)-float64(stat.lo)
		from, scale := lo, span
		if invert {
			from, scale = lo+span, -span
		}
		return r.voxels(v, func(b []float32, _, _ int) {
			for i, x := range b {
				b[i] = float32(from + scale*c.at((float64(x)-lo)/span))
			}
		})
	})
}

// monotone is an ascending curve from (0, 0) to (1, 1): in interval k, with u
// the way through it, y = a + u·(b + u·(c + u·d)).
type monotone [][4]float64

func newMonotone(d *draws, knots int, strength float64) monotone {
	n := knots - 1
	rise := make([]float64, n) // of each interval, which is also its mean slope
	var sum float64
	for i := range rise {
		rise[i] = math.Exp(strength * d.normal())
		sum += rise[i]
	}
	for i := range rise {
		rise[i] /= sum
	}
	slope := make([]float64, knots)
	slope[0], slope[n] = rise[0], rise[n-1]
	for i := 1; i < n; i++ { // the harmonic mean keeps the curve monotone
		slope[i] = 2 * rise[i-1] * rise[i] / (rise[i-1] + rise[i])
	}
	m := make(monotone, n)
	var y float64
	for i := range m {
		s0, s1 := slope[i], slope[i+1]
		m[i] = [4]float64{y, s0, 3*rise[i] - 2*s0 - s1, s0 + s1 - 2*rise[i]}
		y += rise[i]
	}
	return m
}

func (m monotone) at(q float64) float64 {
	s := q * float64(len(m))
	k := min(max(int(s), 0), len(m)-1)
	u := s - float64(k)
	p := &m[k]
	return p[0] + u*(p[1]+u*(p[2]+u*p[3]))
}
