package metrics

import (
	"context"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Calibration tells how far probabilities can be taken at their word.
type Calibration struct {
	ECE   float64 // expected calibration error: mean |confidence − accuracy| over voxels, bin by bin
	MCE   float64 // largest |confidence − accuracy| of a bin that has voxels
	Brier float64 // mean over voxels of Σ_c (p_c − [c is true])²; 0..2
	NLL   float64 // mean of −ln p of the true class; p is at least 1e-12
	Bins  []Bin
}

// Bin holds the voxels whose confidence lies in (k/K, (k+1)/K].
type Bin struct {
	Voxels     int
	Confidence float64 // sum of the largest probability
	Correct    int     // voxels whose most probable class is true
}

// leastProbability keeps the logarithm finite.
const leastProbability = 1e-12

// block is how many voxels are looked at between two looks at the context.
const block = 1 << 16

// Calibrate compares class probabilities, one array per class, with the true
// class of every voxel. The confidence is the largest probability; of equal ones
// the first class counts. Voxels whose truth is no class of the network are
// Invalid, as are NaN probabilities.
//
// Source: Naeini et al., AAAI 2015 (ECE, MCE); Brier, Monthly Weather Review 78
// (1950), in its form over all classes.
func Calibrate(ctx context.Context, probabilities [][]float32, truth []uint16, bins int) (*Calibration, error) {
	if bins < 1 || len(probabilities) < 2 || len(truth) == 0 {
		return nil, fault.New(fault.Invalid, "calibration needs voxels, two classes and a bin; got %d, %d, %d", len(truth), len(probabilities), bins)
	}
	for _, p := range probabilities {
		if len(p) != len(truth) {
			return nil, fault.Wrap(fault.Invalid, imaging.ErrShape, "%d probabilities for %d voxels", len(p), len(truth))
		}
	}
	c := &Calibration{Bins: make([]Bin, bins)}
	for i := range truth {
		if i%block == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := c.add(probabilities, i, int(truth[i])); err != nil {
			return nil, err
		}
	}
	n := float64(len(truth))
	c.Brier /= n
	c.NLL /= n
	for _, b := range c.Bins {
		if b.Voxels > 0 {
			gap := math.Abs(b.Confidence-float64(b.Correct)) / float64(b.Voxels)
			c.ECE += float64(b.Voxels) / n * gap
			c.MCE = max(c.MCE, gap)
		}
	}
	return c, nil
}

func (c *Calibration) add(probabilities [][]float32, voxel, truth int) error {
	if truth >= len(probabilities) {
		return fault.New(fault.Invalid, "the true class %d is none of the %d classes", truth, len(probabilities))
	}
	best := 0
	for k, p := range probabilities {
		d := float64(p[voxel])
		if d != d {
			return fault.New(fault.Invalid, "the probability of class %d is NaN", k)
		}
		if k == truth {
			c.NLL -= math.Log(max(d, leastProbability))
			d--
		}
		c.Brier += d * d
		if p[voxel] > probabilities[best][voxel] {
			best = k
		}
	}
	confidence := float64(probabilities[best][voxel])
	k := int(math.Ceil(confidence*float64(len(c.Bins)))) - 1
	b := &c.Bins[min(max(k, 0), len(c.Bins)-1)]
	b.Voxels++
	b.Confidence += confidence
	if best == truth {
		b.Correct++
	}
	return nil
}
