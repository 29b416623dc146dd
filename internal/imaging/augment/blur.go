package augment

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// Blur convolves with a Gaussian, axis by axis: weights exp(-i²/(2·sigma²)) at
// whole voxels up to 4·sigma, divided by their sum. Beyond the patch its end
// voxels count.
type Blur struct {
	Chance      `yaml:",inline"`
	Sigma       Range `yaml:"sigma"`
	PerAxis     bool  `yaml:"per_axis"`    // a sigma for every axis, else one for all
	Millimetres bool  `yaml:"millimetres"` // sigma in mm by the patch's spacing, else in voxels
}

// maxSigma is in voxels; beyond it nothing is left of a patch.
const maxSigma = 1000

func (t *Blur) validate() error { return firstError(t.check(), t.Sigma.checkSize("sigma", maxSigma)) }

func (t *Blur) apply(r *run) error {
	return r.channels(t.Chance, func(_ int, v []float32, d *draws) error {
		sigma := [3]float64{d.in(t.Sigma), d.in(t.Sigma), d.in(t.Sigma)}
		if !t.PerAxis {
			sigma[1], sigma[2] = sigma[0], sigma[0]
		}
		if t.Millimetres {
			for i, s := range r.p.spacing() {
				sigma[i] /= s
			}
		}
		return r.smooth(v, sigma)
	})
}

// smooth convolves v with a Gaussian of sigma voxels along each axis.
func (r *run) smooth(v []float32, sigma [3]float64) error {
	return r.alternate(v, func(dst, src []float32, axis int) (bool, error) {
		s := sigma[axis]
		if s > maxSigma {
			return false, fault.New(fault.Invalid, "a sigma of %g voxels exceeds %d", s, maxSigma)
		}
		taps := gaussian(s)
		if len(taps) == 1 || r.p.Size[axis] == 1 {
			return false, nil
		}
		return true, r.filterAxis(dst, src, axis, taps, false)
	})
}

// gaussian returns the taps of a Gaussian; a single one where the neighbours'
// weights vanish.
func gaussian(sigma float64) []tap {
	n := int(math.Ceil(4 * sigma))
	taps := make([]tap, 2*n+1)
	weights := make([]float64, len(taps))
	var sum float64
	for i := range weights {
		d := float64(i-n) / max(sigma, 1e-9)
		weights[i] = math.Exp(-d * d / 2)
		sum += weights[i]
	}
	for i, w := range weights {
		taps[i] = tap{i - n, float32(w / sum)}
	}
	return taps
}
