// Package uncertainty turns several predictions of one image into maps of how
// sure a model is, and maps into scores.
//
// The predictions ("passes") come from test-time augmentation, Monte-Carlo
// dropout or an ensemble. Arrays are voxels in any order that the caller keeps;
// where neighbourhoods count, sizes are [A, B, C] with the last axis fastest.
// Entropies are in nats.
package uncertainty

import (
	"context"
	"math"
	"sync/atomic"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/parallel"
)

// MaxPasses bounds the memory of the passes' label maps: one byte per voxel and
// pass.
const MaxPasses = 64

// Accumulator sums up passes. Memory: 4·(classes+2) bytes per voxel, and one
// more per pass. Different ranges of voxels may be added at the same time.
type Accumulator struct {
	classes, voxels int
	begun           int       // passes
	mean            []float32 // [classes][voxels] sums of probabilities
	entropy         []float32 // sum of each pass's entropy
	square          []float32 // sum of Σ p²
	labels          [][]uint8 // [passes][voxels] most probable class
}

// New returns an empty accumulator for probabilities of so many classes, the
// background included: at least 2, at most 256.
func New(classes, voxels int) (*Accumulator, error) {
	if classes < 2 || classes > 256 || voxels < 1 {
		return nil, fault.New(fault.Invalid, "uncertainty of %d classes over %d voxels; 2 to 256 classes and a voxel are needed", classes, voxels)
	}
	return &Accumulator{
		classes: classes, voxels: voxels, mean: make([]float32, classes*voxels),
		entropy: make([]float32, voxels), square: make([]float32, voxels),
	}, nil
}

// Begin opens the next pass and returns its number.
func (a *Accumulator) Begin() (int, error) {
	if a.begun == MaxPasses {
		return 0, fault.New(fault.Invalid, "at most %d passes can be compared", MaxPasses)
	}
	a.labels = append(a.labels, make([]uint8, a.voxels))
	a.begun++
	return a.begun - 1, nil
}

// tile is the number of voxels that are summed up at a time: their entropies
// stay in the processor's first cache.
const tile = 1024

// Add takes in the probabilities of one pass for the voxels from, from+1, …:
// p[c] holds those of class c. They must sum up to 1 per voxel.
func (a *Accumulator) Add(pass, from int, p [][]float32) {
	part := make([][]float32, len(p))
	var entropy [tile]float32
	for first := 0; first < len(p[0]); first += tile {
		last := min(first+tile, len(p[0]))
		h := entropy[:last-first]
		clear(h)
		for c := range p {
			part[c] = p[c][first:last]
			for i, x := range part[c] {
				h[i] += surprise(x)
			}
		}
		a.AddKnown(pass, from+first, part, h)
	}
}

// AddKnown is Add where the entropy of each voxel is known.
func (a *Accumulator) AddKnown(pass, from int, p [][]float32, entropy []float32) {
	for first := 0; first < len(entropy); first += tile {
		last := min(first+tile, len(entropy))
		h, square, labels := a.entropy[from+first:from+last], a.square[from+first:from+last], a.labels[pass][from+first:from+last]
		for i, x := range entropy[first:last] {
			h[i] += x
		}
		var most [tile]uint32 // bits of the largest: as numbers they are in the same order
		for c, v := range p {
			mean, v := a.mean[c*a.voxels+from+first:][:len(h)], v[first:last]
			for i, x := range v {
				mean[i] += x
				square[i] += x * x
				b, l := max(most[i], math.Float32bits(x)), labels[i]
				if b > most[i] { // compiled without a branch
					l = uint8(c)
				}
				most[i], labels[i] = b, l
			}
		}
	}
}

// surprise is -p·ln p, 0 at 0.
func surprise(p float32) float32 {
	if p <= 0 {
		return 0
	}
	x := float64(p)
	return float32(-x * math.Log(x))
}

// Maps are what the passes say, voxel by voxel.
type Maps struct {
	Passes int
	Finite bool        // every mean probability is a number; otherwise the image or the model is damaged
	Mean   [][]float32 // [classes][voxels] mean probability; one array, class after class
	Labels []uint8     // class with the largest mean probability, the lowest of equals
	// Entropy is that of the mean prediction, H(E[p]): total uncertainty.
	Entropy []float32
	// Information is the mutual information between prediction and model,
	// H(E[p]) - E[H(p)] (Houlsby et al., 2011: BALD); over passes of test-time
	// augmentation it is their Jensen–Shannon divergence.
	Information []float32
	// Variance is the mean over classes of the variance of p over the passes.
	Variance []float32
	// Margin is 1 minus the difference of the two largest mean probabilities.
	Margin []float32
	passes [][]uint8
}

// Finish turns the sums into maps. The accumulator is used up.
func (a *Accumulator) Finish(ctx context.Context) (*Maps, error) {
	if a.begun == 0 {
		return nil, fault.New(fault.Invalid, "no pass was made")
	}
	m := &Maps{
		Passes: a.begun, Mean: make([][]float32, a.classes), Labels: make([]uint8, a.voxels), Entropy: make([]float32, a.voxels),
		Information: a.entropy, Variance: a.square, Margin: make([]float32, a.voxels), passes: a.labels,
	}
	for c := range m.Mean {
		m.Mean[c] = a.mean[c*a.voxels : (c+1)*a.voxels]
	}
	var bad atomic.Bool
	err := parallel.For(ctx, a.voxels, func(_ context.Context, from, to int) error {
		for v := from; v < to; v++ {
			if !a.finish(m, v) {
				bad.Store(true)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	m.Finite = !bad.Load()
	a.mean, a.entropy, a.square, a.labels = nil, nil, nil, nil
	return m, nil
}

// finish computes the maps at one voxel; false when its mean is no number.
func (a *Accumulator) finish(m *Maps, v int) bool {
	k := 1 / float64(a.begun)
	var h, sq float64
	best, first, second := 0, -1.0, -1.0
	for c := range m.Mean {
		p := float64(m.Mean[c][v]) * k
		m.Mean[c][v] = float32(p)
		if p > 0 {
			h -= p * math.Log(p)
		}
		sq += p * p
		if p > first {
			best, first, second = c, p, first
		} else {
			second = max(second, p)
		}
	}
	m.Labels[v] = uint8(best)
	m.Entropy[v] = float32(h)
	m.Information[v] = float32(max(0, h-float64(a.entropy[v])*k))
	m.Variance[v] = float32(max(0, float64(a.square[v])*k-sq) / float64(a.classes))
	m.Margin[v] = float32(1 - (first - second))
	return !math.IsNaN(sq) && !math.IsInf(sq, 0)
}
