package augment

import "math"

// Gamma bends intensities by a power, within the channel's range [lo, hi]:
//
//	lo + (hi-lo)·((x-lo)/(hi-lo))^gamma
//
// A constant channel stays. As in nnU-Net, exponents below and above 1 are
// drawn equally often where the range holds both.
type Gamma struct {
	Chance      `yaml:",inline"`
	Gamma       Range `yaml:"gamma"`
	Invert      bool  `yaml:"invert"`       // bends the negative image, so that bright parts are what changes most
	RetainStats bool  `yaml:"retain_stats"` // brings mean and standard deviation back
}

func (t *Gamma) validate() error {
	return firstError(t.check(), t.Gamma.check("gamma", 0.1, 10), t.Gamma.checkEffect("gamma", 1))
}

func (t *Gamma) apply(r *run) error {
	return r.channels(t.Chance, func(_ int, v []float32, d *draws) error {
		return t.bend(r, v, d.around(t.Gamma))
	})
}

func (t *Gamma) bend(r *run, v []float32, gamma float64) error {
	before, err := r.statistics(v)
	if err != nil || !(before.hi > before.lo) {
		return err
	}
	from, scale := float64(before.lo), float64(before.hi)-float64(before.lo)
	if t.Invert { // seen from the other end
		from, scale = float64(before.hi), -scale
	}
	p := r.power(from, scale, gamma)
	curve := func(b []float32) { p.bend(b) }
	if !t.RetainStats {
		return r.voxels(v, func(b []float32, _, _ int) { curve(b) })
	}
	after, err := r.reduce(v, curve)
	if err != nil {
		return err
	}
	return r.restore(v, before, after)
}

// restore gives v, whose moments are after, the mean and deviation of before.
func (r *run) restore(v []float32, before, after moments) error {
	factor := 1.0
	if sd := after.sd(); sd > 0 {
		factor = before.sd() / sd
	}
	if math.IsInf(factor, 0) {
		factor = 1
	}
	shift := before.mean() - factor*after.mean()
	return r.linear(v, factor, shift)
}

// linear maps x to factor·x + shift.
func (r *run) linear(v []float32, factor, shift float64) error {
	f, s := float32(factor), float32(shift)
	return r.voxels(v, func(b []float32, _, _ int) {
		for i, x := range b {
			b[i] = x*f + s
		}
	})
}
