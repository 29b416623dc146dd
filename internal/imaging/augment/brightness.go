package augment

import "github.com/voxloop/voxloop/internal/fault"

// Brightness maps x to multiply·x + add.
type Brightness struct {
	Chance   `yaml:",inline"`
	Multiply Range `yaml:"multiply"` // [0, 0] (absent): 1
	Add      Range `yaml:"add"`      // intensities
}

func (t *Brightness) validate() error {
	neutral := t.Multiply == (Range{}) || t.Multiply == (Range{1, 1})
	if neutral && t.Add == (Range{}) {
		return fault.New(fault.Invalid, "multiply and add have no effect")
	}
	return firstError(t.check(), t.Multiply.check("multiply", 0, 1e6), t.Add.check("add", -maxIntensity, maxIntensity))
}

func (t *Brightness) apply(r *run) error {
	return r.channels(t.Chance, func(_ int, v []float32, d *draws) error {
		factor := d.in(t.Multiply)
		if t.Multiply == (Range{}) {
			factor = 1
		}
		return r.linear(v, factor, d.in(t.Add))
	})
}

// Contrast stretches intensities about the channel's mean: mean + factor·(x -
// mean). With keep_range the result is cut off at the channel's old extremes.
// As in nnU-Net, factors below and above 1 are drawn equally often where the
// range holds both.
type Contrast struct {
	Chance    `yaml:",inline"`
	Factor    Range `yaml:"factor"`
	KeepRange bool  `yaml:"keep_range"`
}

func (t *Contrast) validate() error {
	return firstError(t.check(), t.Factor.check("factor", 0, 1e6), t.Factor.checkEffect("factor", 1))
}

func (t *Contrast) apply(r *run) error {
	return r.channels(t.Chance, func(_ int, v []float32, d *draws) error {
		factor := d.around(t.Factor)
		m, err := r.statistics(v)
		if err != nil {
			return err
		}
		shift := m.mean() * (1 - factor)
		if !t.KeepRange {
			return r.linear(v, factor, shift)
		}
		return r.voxels(v, func(b []float32, _, _ int) {
			for i, x := range b {
				b[i] = min(max(float32(float64(x)*factor+shift), m.lo), m.hi)
			}
		})
	})
}
