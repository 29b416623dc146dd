// Package uncertainty turns several predictions of one image into maps of how
// sure a model is, and maps into scores.
//
// The predictions ("passes") come from test-time augmentation, Monte-Carlo
// dropout or an ensemble. Arrays are voxels in any order that the caller keeps;
// where neighbourhoods count, sizes are [A, B, C] with the last axis fastest.
// Entropies are in nats.
package uncertainty

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// MaxPasses bounds the memory of the passes' label maps: one byte per voxel and
// pass.
const MaxPasses = 64

// Accumulator sums up passes. Memory: 4·(classes+2) + MaxPasses-bounded 1 byte
// per pass and voxel. Different ranges of voxels may be added at the same time.
type Accumulator struct {
	classes, voxels int
	begun           int         // passes
	mean            [][]float32 // [classes][voxels] sums of probabilities
	entropy         []float32   // sum of each pass's entropy
	square          []float32   // sum of Σ p²
	labels          [][]uint8   // [passes][voxels] most probable class
}

// New returns an empty accumulator for probabilities of so many classes, the
// background included: at least 2, at most 256.
func New(classes, voxels int) (*Accumulator, error) {
	if classes < 2 || classes > 256 || voxels < 1 {
		return nil, fault.New(fault.Invalid, "uncertainty of %d classes over %d voxels; 2 to 256 classes and a voxel are needed", classes, voxels)
	}
	a := &Accumulator{
		classes: classes, voxels: voxels, mean: make([][]float32, classes),
		entropy: make([]float32, voxels), square: make([]float32, voxels),
	}
	for c := range a.mean {
		a.mean[c] = make([]float32, voxels)
	}
	return a, nil
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

// Add takes in the probabilities of one pass for voxels at, at+1, …: p[c] holds
// those of class c. They must sum up to 1 per voxel. at gives the place of
// voxel i of p in the result, for passes that see the image mirrored.
func (a *Accumulator) Add(pass int, p [][]float32, at func(i int) int) {
	labels := a.labels[pass]
	for i := range p[0] {
		v := at(i)
		var h, sq float64
		best, top := 0, float32(-1)
		for c := range p {
			x := p[c][i]
			a.mean[c][v] += x
			h += surprise(x)
			sq += float64(x) * float64(x)
			if x > top {
				best, top = c, x
			}
		}
		a.entropy[v] += float32(h)
		a.square[v] += float32(sq)
		labels[v] = uint8(best)
	}
}

// surprise is -p·ln p, 0 at 0.
func surprise(p float32) float64 {
	if p <= 0 {
		return 0
	}
	x := float64(p)
	return -x * math.Log(x)
}

// Maps are what the passes say, voxel by voxel.
type Maps struct {
	Passes int
	Mean   [][]float32 // [classes][voxels] mean probability
	Labels []uint8     // class with the largest mean probability
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
func (a *Accumulator) Finish() (*Maps, error) {
	if a.begun == 0 {
		return nil, fault.New(fault.Invalid, "no pass was made")
	}
	m := &Maps{
		Passes: a.begun, Mean: a.mean, Labels: make([]uint8, a.voxels), Entropy: make([]float32, a.voxels),
		Information: a.entropy, Variance: a.square, Margin: make([]float32, a.voxels), passes: a.labels,
	}
	k := 1 / float64(a.begun)
	for v := range a.voxels {
		var h, sq float64
		best, first, second := 0, -1.0, -1.0
		for c := range a.mean {
			p := float64(a.mean[c][v]) * k
			a.mean[c][v] = float32(p)
			h += surprise(float32(p))
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
	}
	a.mean, a.entropy, a.square, a.labels = nil, nil, nil, nil
	return m, nil
}

// Disagreement is 1 minus the mean Dice of all pairs of passes, averaged over
// the foreground classes that any pass predicted; 0 when none did.
func (m *Maps) Disagreement() float64 {
	n := len(m.passes)
	counts := make([][]int, n)
	for i, l := range m.passes {
		counts[i] = make([]int, len(m.Mean))
		for _, c := range l {
			counts[i][c]++
		}
	}
	total := make([]float64, len(m.Mean))
	both := make([]int, len(m.Mean))
	for i := range n {
		for j := range i {
			clear(both)
			for v, c := range m.passes[i] {
				if m.passes[j][v] == c {
					both[c]++
				}
			}
			for c := range both {
				if s := counts[i][c] + counts[j][c]; s > 0 {
					total[c] += 2 * float64(both[c]) / float64(s)
				} else {
					total[c]++ // both say that it is not there
				}
			}
		}
	}
	var sum float64
	classes := 0
	for c := 1; c < len(total); c++ {
		seen := false
		for i := range counts {
			seen = seen || counts[i][c] > 0
		}
		if seen {
			sum += 1 - total[c]/float64(n*(n-1)/2)
			classes++
		}
	}
	if classes == 0 || n < 2 {
		return 0
	}
	return sum / float64(classes)
}
