package strategies

import (
	"fmt"
	"math"
)

// stratified chooses up to k of n images, a share of them class by class.
//
// ks = ⌊k·share + ½⌋ are chosen in rounds over the classes 1 … classes-1: for
// each the unchosen image with the largest β·ln(s)+g, where s is the image's
// score of that class (NaN where the class is not predicted: never chosen); a
// class without such an image is passed over. Then the unchosen images with the
// largest β·ln(overall)+g0 fill up to k. Ties go to the lower place. β = 0
// takes the scores themselves, without noise. classOf tells for which class
// each was chosen, -1 for the rest.
//
// The idea is that of ClaSP PE, class-stratified scheduled power predictive
// entropy: large classes do not drown small ones (Lüth, Traub et al., Finally
// Outshining the Random Baseline, 2026).
func stratified(n, classes, k int, share, beta float64, class, noise func(i, c int) float64, overall, noise0 func(i int) float64) (chosen, classOf []int) {
	value := func(s, g float64) float64 {
		if beta == 0 || math.IsNaN(s) {
			return s
		}
		return powered(s, beta, g)
	}
	ks := min(int(math.Floor(float64(k)*share+0.5)), k)
	taken := make(map[int]bool, k)
	take := func(i, c int) {
		taken[i] = true
		chosen, classOf = append(chosen, i), append(classOf, c)
	}
	if ks > 0 {
		lists := make([][]int, classes)
		for c := 1; c < classes; c++ {
			lists[c] = largest(n, ks, func(i int) float64 { return value(class(i, c), noise(i, c)) })
		}
		for more := true; more && len(chosen) < ks; {
			more = false
			for c := 1; c < classes && len(chosen) < ks; c++ {
				for len(lists[c]) > 0 && taken[lists[c][0]] {
					lists[c] = lists[c][1:]
				}
				if len(lists[c]) > 0 {
					take(lists[c][0], c)
					more = true
				}
			}
		}
	}
	for _, i := range largest(n, k, func(i int) float64 { return value(overall(i), noise0(i)) }) {
		if len(chosen) == k {
			break
		}
		if !taken[i] {
			take(i, -1)
		}
	}
	return chosen, classOf
}

// betaAt is β in a round: it rises by a factor per training, so noise fades.
func (s Spec) betaAt(round int) float64 {
	return min(s.Beta*math.Pow(s.Growth, float64(max(round, 0))), s.BetaMost)
}

// chooseClasp is KindClasp.
func (s Spec) chooseClasp(p *pool, n int) []choice {
	at, overall := p.scored(s.order())
	classes := 1
	byClass := make([]map[int]float64, len(at))
	for i, m := range at {
		byClass[i] = make(map[int]float64, len(p.members[m].look.classes))
		for _, c := range p.members[m].look.classes {
			byClass[i][c.Class] = c.Score
			classes = max(classes, c.Class+1)
		}
	}
	beta := s.betaAt(p.model.round)
	class := func(i, c int) float64 {
		if v, ok := byClass[i][c]; ok {
			return v
		}
		return math.NaN()
	}
	g := func(i, c int) float64 { return p.noise(p.members[at[i]], s.Seed, uint64(c)) } //nolint:gosec // classes are small
	g0 := func(i int) float64 { return p.noise(p.members[at[i]], s.Seed, streamOverall) }
	chosen, classOf := stratified(len(at), classes, n, s.Stratified, beta, class, g, func(i int) float64 { return overall[i] }, g0)
	out := make([]choice, len(chosen))
	for r, i := range chosen {
		score, noise, why := overall[i], g0(i), fmt.Sprintf("entropy with noise, β = %g in round %d", beta, p.model.round)
		if c := classOf[r]; c > 0 {
			score, noise = class(i, c), g(i, c)
			why = fmt.Sprintf("least sure of class %d, with noise, β = %g in round %d", c, beta, p.model.round)
		}
		out[r] = p.choice(at[i], powered(score, beta, noise), why)
		out[r].rank, out[r].of, out[r].class = r+1, len(at), max(classOf[r], 0)
		out[r].parts = []Part{{"class_score", score}, {"noise", noise}, {"beta", beta}}
		if classOf[r] < 0 {
			out[r].parts[0].Name = string(Entropy)
		}
	}
	return out
}
