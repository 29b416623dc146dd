package strategies

import (
	"math"
	"slices"
)

// mostEfforts bounds the recorded times that are kept; newer ones replace the
// oldest.
const mostEfforts = 2000

// EffortSample is what one annotation took.
type EffortSample struct {
	Predicted float64 // mm³ of predicted foreground
	Uncertain float64 // mm³ of uncertain voxels
	Seconds   float64
}

// efforts is a ring of samples, one per image.
type efforts struct {
	ring []EffortSample
	of   []string       // the images
	at   map[string]int // their places
	next int
}

// put notes what an image took, in place of what was known of it.
func (e *efforts) put(id string, s EffortSample) {
	at, known := e.at[id]
	switch {
	case known:
	case len(e.ring) < mostEfforts:
		at = len(e.ring)
		e.ring, e.of = append(e.ring, s), append(e.of, id)
	default:
		at = e.next
		e.next = (e.next + 1) % mostEfforts
		delete(e.at, e.of[at])
	}
	if e.at == nil {
		e.at = make(map[string]int)
	}
	e.ring[at], e.of[at], e.at[id] = s, id, at
}

func (e *efforts) list() []EffortSample { return slices.Clone(e.ring) }

// Effort predicts how many seconds an annotation takes:
//
//	ln(seconds) = a + b·ln(1 + predicted mL) + c·ln(1 + uncertain mL)
type Effort struct {
	A, B, C  float64
	Samples  int
	Spread   float64 // 1.4826 MAD of the residuals of ln(seconds)
	min, max float64 // seconds; predictions stay within half the least and twice the longest
}

// FitEffort fits the model by Huber's M-estimator (k = 1.345), with a slight
// pull of b and c towards 0, so that one interrupted annotation does not turn
// it. ok is false where there are fewer than least samples.
//
// Source: Huber, Annals of Mathematical Statistics 35 (1964), by iteratively
// reweighted least squares.
func FitEffort(samples []EffortSample, least int) (e Effort, ok bool) {
	if len(samples) < max(least, 4) {
		return Effort{}, false
	}
	e = Effort{Samples: len(samples), min: math.Inf(1)}
	weights := make([]float64, len(samples))
	residuals := make([]float64, len(samples))
	for i, s := range samples {
		weights[i] = 1
		e.min, e.max = min(e.min, s.Seconds), max(e.max, s.Seconds)
	}
	for range 50 {
		beta := weightedLine(samples, weights)
		change := math.Abs(beta[0]-e.A) + math.Abs(beta[1]-e.B) + math.Abs(beta[2]-e.C)
		e.A, e.B, e.C = beta[0], beta[1], beta[2]
		for i, s := range samples {
			residuals[i] = math.Abs(math.Log(s.Seconds) - e.log(s))
		}
		e.Spread = 1.4826 * median(slices.Clone(residuals))
		if change < 1e-9 || e.Spread < 1e-9 {
			break
		}
		for i, r := range residuals {
			weights[i] = 1
			if k := 1.345 * e.Spread; r > k {
				weights[i] = k / r
			}
		}
	}
	return e, true
}

func (s EffortSample) terms() [3]float64 {
	return [3]float64{1, math.Log1p(max(s.Predicted, 0) / 1000), math.Log1p(max(s.Uncertain, 0) / 1000)}
}

func (e Effort) log(s EffortSample) float64 {
	x := s.terms()
	return e.A*x[0] + e.B*x[1] + e.C*x[2]
}

// Seconds predicts the effort of an image from its volumes; Seconds of the
// sample is not looked at.
func (e Effort) Seconds(s EffortSample) float64 {
	return min(max(math.Exp(e.log(s)), e.min/2), e.max*2)
}

// weightedLine solves the normal equations of weighted least squares.
func weightedLine(samples []EffortSample, weights []float64) [3]float64 {
	var a [3][4]float64
	for i, s := range samples {
		x, y := s.terms(), math.Log(s.Seconds)
		for r := range 3 {
			for c := range 3 {
				a[r][c] += weights[i] * x[r] * x[c]
			}
			a[r][3] += weights[i] * x[r] * y
		}
	}
	ridge := 1e-3 * float64(len(samples))
	a[1][1] += ridge
	a[2][2] += ridge
	// The matrix is symmetric and positive definite: no pivots are needed.
	for p := range 3 {
		for r := range 3 {
			if r == p {
				continue
			}
			f := a[r][p] / a[p][p]
			for c := p; c < 4; c++ {
				a[r][c] -= f * a[p][c]
			}
		}
	}
	return [3]float64{a[0][3] / a[0][0], a[1][3] / a[1][1], a[2][3] / a[2][2]}
}
