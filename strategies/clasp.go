package strategies

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// stratified chooses up to k images, a share of them class by class.
//
// classes holds, for each class, the images where it is predicted, in rising
// places, with their values; overall the value of every image. ks = ⌊k·share +
// ½⌋ are chosen in rounds over the classes: for each the unchosen image with
// the largest value; a class without one is passed over. Then the unchosen
// images with the largest overall values fill up to k. Ties go to the lower
// place. classOf tells for which class each was chosen, -1 for the rest.
//
// The idea is that of ClaSP PE, class-stratified scheduled power predictive
// entropy: large classes do not drown small ones (Lüth, Traub et al., Finally
// Outshining the Random Baseline, 2026). Its values are β·ln(score)+g.
func stratified(classes [][]ranked, overall []float64, k int, share float64) (chosen, classOf []int) {
	ks := min(int(math.Floor(float64(k)*share+0.5)), k)
	taken := make(map[int]bool, k)
	take := func(i, c int) {
		taken[i] = true
		chosen, classOf = append(chosen, i), append(classOf, c)
	}
	lists := make([][]int, len(classes)) // the best of each class
	for c, all := range classes {
		lists[c] = largest(len(all), ks, func(i int) float64 { return all[i].value })
	}
	for more := true; more && len(chosen) < ks; {
		more = false
		for c, all := range classes {
			for len(lists[c]) > 0 && taken[all[lists[c][0]].at] {
				lists[c] = lists[c][1:]
			}
			if len(lists[c]) > 0 && len(chosen) < ks {
				take(all[lists[c][0]].at, c)
				more = true
			}
		}
	}
	for _, i := range largest(len(overall), k, func(i int) float64 { return overall[i] }) {
		if len(chosen) < k && !taken[i] {
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
	at, scores := p.scored(s.order())
	beta := s.betaAt(p.model.round)
	overall := make([]float64, len(at))
	byClass := make(map[int][]ranked)
	for i, m := range at {
		overall[i] = powered(scores[i], beta, p.noise(p.members[m], s.Seed, streamOverall))
		for _, c := range p.members[m].look.classes {
			g := p.noise(p.members[m], s.Seed, uint64(c.Class)) //nolint:gosec // any number will do
			byClass[c.Class] = append(byClass[c.Class], ranked{i, powered(c.Score, beta, g)})
		}
	}
	names := slices.Sorted(maps.Keys(byClass))
	classes := make([][]ranked, len(names))
	for c, name := range names {
		classes[c] = byClass[name]
	}
	chosen, classOf := stratified(classes, overall, n, s.Stratified)
	out := make([]choice, len(chosen))
	for r, i := range chosen {
		out[r] = p.choice(at[i], overall[i], fmt.Sprintf("entropy with noise, β = %g in round %d", beta, p.model.round))
		part := Part{string(Entropy), scores[i]}
		if c := classOf[r]; c >= 0 {
			k, _ := slices.BinarySearchFunc(classes[c], i, func(v ranked, i int) int { return v.at - i })
			out[r].score, out[r].class = classes[c][k].value, names[c]
			out[r].why = fmt.Sprintf("least sure of class %d, with noise, β = %g in round %d", names[c], beta, p.model.round)
			for _, v := range p.members[at[i]].look.classes {
				if v.Class == names[c] {
					part = Part{"class_score", v.Score}
				}
			}
		}
		out[r].rank, out[r].of = r+1, len(at)
		out[r].parts = []Part{part, {"noisy_score", out[r].score}, {"beta", beta}}
	}
	return out
}
