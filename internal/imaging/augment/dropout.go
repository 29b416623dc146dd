package augment

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// Dropout replaces whole channels by a constant, as when a modality was not
// acquired, so that a network learns to work without it. Each channel is
// dropped with the probability; where all would be, one, drawn evenly, stays.
// It has no effect on patches of one channel.
type Dropout struct {
	Probability float64 `yaml:"probability"` // of each channel
	Fill        float64 `yaml:"fill"`        // intensity; the value that the model's manifest gives for a missing input
}

func (t *Dropout) validate() error {
	if v := math.Abs(t.Fill); !(v <= maxIntensity) {
		return fault.New(fault.Invalid, "fill: %g is not within ±%g", t.Fill, maxIntensity)
	}
	return checkProbability(t.Probability)
}

func (t *Dropout) apply(r *run) error {
	d := r.draws(-1)
	keep := d.below(r.p.Channels)
	dropped := make([]bool, r.p.Channels)
	all := true
	for c := range dropped {
		dropped[c] = d.chance(t.Probability)
		all = all && dropped[c]
	}
	if all {
		dropped[keep] = false
	}
	for c, drop := range dropped {
		if !drop {
			continue
		}
		if err := r.voxels(r.p.Channel(c), func(b []float32, _, _ int) { fill(b, float32(t.Fill)) }); err != nil {
			return err
		}
	}
	return nil
}
