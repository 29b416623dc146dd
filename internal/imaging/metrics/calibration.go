package metrics

import (
	"context"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/parallel"
)

// Calibration tells how far probabilities can be taken at their word.
type Calibration struct {
	Voxels int
	ECE    float64 // expected calibration error: mean |confidence − accuracy| over voxels, bin by bin
	MCE    float64 // largest |confidence − accuracy| of a bin that has voxels
	Brier  float64 // mean over voxels of Σ_c (p_c − [c is true])²; 0..2
	NLL    float64 // mean of −ln p of the true class; p is at least 1e-12
	Bins   []Bin
}

// Bin holds the voxels whose confidence lies in (k/K, (k+1)/K].
type Bin struct {
	Voxels     int
	Confidence float64 // sum of the largest probability
	Correct    int     // voxels whose most probable class is true
}

// leastProbability keeps the logarithm finite.
const leastProbability = 1e-12

// Probabilities may leave 0..1, and their sum 1, by what storing them in 8 or
// 16 bits does.
const (
	probabilityTolerance = 1e-3
	sumTolerance         = 0.02
)

// block is how many voxels are added up at a time. It does not depend on the
// number of cores, so neither does the rounding of a sum.
const block = 1 << 18

// Calibrate compares class probabilities, one array per class, with the true
// class of every voxel. The confidence is the largest probability; of equal ones
// the first class counts. Voxels whose truth is no class of the network are
// Invalid, as are numbers that are no probabilities: below 0 or above 1 by more
// than 0.001, or with a sum over the classes that misses 1 by more than 0.02.
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
	parts := make([]*Calibration, (len(truth)+block-1)/block)
	err := parallel.For(ctx, len(parts), func(ctx context.Context, from, to int) error {
		for b := from; b < to; b++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			first, end := b*block, min((b+1)*block, len(truth))
			c := &Calibration{Voxels: end - first, Bins: make([]Bin, bins)}
			for i := first; i < end; i++ {
				if err := c.add(probabilities, i, int(truth[i])); err != nil {
					return err
				}
			}
			c.Brier /= float64(c.Voxels)
			c.NLL /= float64(c.Voxels)
			parts[b] = c
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return Pool(parts), nil
}

// gaps derives ECE and MCE from the bins.
func (c *Calibration) gaps() {
	c.ECE, c.MCE = 0, 0
	for _, b := range c.Bins {
		if b.Voxels > 0 {
			gap := math.Abs(b.Confidence-float64(b.Correct)) / float64(b.Voxels)
			c.ECE += float64(b.Voxels) / float64(c.Voxels) * gap
			c.MCE = max(c.MCE, gap)
		}
	}
}

// Pool puts the voxels of several images together: nil for none. All have the
// same number of bins.
func Pool(list []*Calibration) *Calibration {
	if len(list) == 0 {
		return nil
	}
	out := &Calibration{Bins: make([]Bin, len(list[0].Bins))}
	for _, c := range list {
		out.Voxels += c.Voxels
		out.Brier += c.Brier * float64(c.Voxels)
		out.NLL += c.NLL * float64(c.Voxels)
		for i, b := range c.Bins {
			out.Bins[i].Voxels += b.Voxels
			out.Bins[i].Confidence += b.Confidence
			out.Bins[i].Correct += b.Correct
		}
	}
	out.Brier /= float64(out.Voxels)
	out.NLL /= float64(out.Voxels)
	out.gaps()
	return out
}

func (c *Calibration) add(probabilities [][]float32, voxel, truth int) error {
	if truth >= len(probabilities) {
		return fault.New(fault.Invalid, "the true class %d is none of the %d classes", truth, len(probabilities))
	}
	best, sum := 0, 0.0
	for k, p := range probabilities {
		d := float64(p[voxel])
		if !(d >= -probabilityTolerance && d <= 1+probabilityTolerance) {
			return fault.New(fault.Invalid, "voxel %d: the probability of class %d is %g, not within 0..1", voxel, k, d)
		}
		sum += d
		if k == truth {
			c.NLL -= math.Log(max(d, leastProbability))
			d--
		}
		c.Brier += d * d
		if p[voxel] > probabilities[best][voxel] {
			best = k
		}
	}
	if math.Abs(sum-1) > sumTolerance {
		return fault.New(fault.Invalid, "voxel %d: the probabilities of the classes add up to %.4g, not 1", voxel, sum)
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
