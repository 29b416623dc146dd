package strategies

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// noisy returns scores with noise: with g a standard Gumbel draw, the k largest
// of β·ln(s)+g are a draw of k without replacement with chances that grow as
// s^β (power), as exp(β·s) (softmax) or as rank^-β (softrank; rank 1 is the
// highest score, ties go to the lower place).
//
// Source: Kirsch, Farquhar, Atighehchian, Jesson, Branchaud-Charron and Gal,
// Stochastic Batch Acquisition: A Simple Baseline for Deep Active Learning
// (2021; TMLR 2023).
func noisy(kind Noise, scores []float64, g func(i int) float64, beta float64) []float64 {
	out := make([]float64, len(scores))
	switch kind {
	case Softrank:
		byScore := make([]int, len(scores))
		for i := range byScore {
			byScore[i] = i
		}
		slices.SortStableFunc(byScore, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
		for r, i := range byScore {
			out[i] = -beta*math.Log(float64(r+1)) + g(i)
		}
	case Softmax:
		for i, s := range scores {
			out[i] = beta*s + g(i)
		}
	default:
		for i, s := range scores {
			out[i] = powered(s, beta, g(i))
		}
	}
	return out
}

// powered is β·ln(s)+g, -Inf for a score of 0.
func powered(s, beta, g float64) float64 {
	if s <= 0 {
		return math.Inf(-1)
	}
	return beta*math.Log(s) + g
}

// chooseNoisy is KindPower.
func (s Spec) chooseNoisy(p *pool, n int) []choice {
	at, scores := p.scored(s.order())
	g := func(i int) float64 { return p.noise(p.members[at[i]], s.Seed, streamOverall) }
	values := noisy(s.Noise, scores, g, s.Beta)
	var out []choice
	for r, i := range largest(len(values), n, func(i int) float64 { return values[i] }) {
		c := p.choice(at[i], values[i], fmt.Sprintf("%s of %s with noise, β = %g", s.Noise, s.Measure, s.Beta))
		c.rank, c.of = r+1, len(values)
		c.parts = []Part{{string(s.Measure), scores[i]}, {"noise", g(i)}}
		out = append(out, c)
	}
	return out
}
