package strategies

import (
	"cmp"
	"math"
	"slices"
)

// shares turns values into ranks in [0, 1]: 1 for the highest, 0 for the
// lowest, the mean of their places for equal ones, ½ where all are equal.
func shares(values []float64) []float64 {
	n := len(values)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	out := make([]float64, n)
	for i := 0; i < n; {
		j := i
		for j < n && values[order[j]] == values[order[i]] {
			j++
		}
		for k := i; k < j; k++ {
			out[order[k]] = 0.5
			if n > 1 {
				out[order[k]] = float64(i+j-1) / 2 / float64(n-1)
			}
		}
		i = j
	}
	return out
}

// chooseWeighted is KindWeighted: the largest Σ w·rank share over the
// components, chosen one after the other: the distance to what is labelled or
// chosen is ranked anew after each. Images that lack one of the measures are
// not chosen.
func (s Spec) chooseWeighted(p *pool, n int) []choice {
	var total, diversity float64
	for _, w := range s.Weights {
		total += w.Weight
	}
	at := s.complete(p)
	sum := make([]float64, len(at)) // of the measures' shares
	parts := make([][]Part, len(at))
	for _, w := range s.Weights {
		if w.Of == componentDiversity {
			diversity += w.Weight / total
			continue
		}
		values := make([]float64, len(at))
		for i, m := range at {
			values[i], _ = p.members[m].look.score(Measure(w.Of))
		}
		for i, r := range shares(values) {
			sum[i] += w.Weight / total * r
			parts[i] = append(parts[i], Part{w.Of, values[i]}, Part{w.Of + "_rank_share", r})
		}
	}
	if diversity == 0 {
		return s.summed(p, n, at, sum, parts)
	}
	keep := largest(len(at), s.Subset, func(i int) float64 { return sum[i] })
	var kept []int
	for _, i := range keep {
		kept = append(kept, at[i])
	}
	pts, ok := p.points(kept, n, s.Subset, s.Seed)
	if !ok {
		return s.summed(p, n, at, sum, parts)
	}
	place := make(map[int]int, len(keep))
	for _, i := range keep {
		place[at[i]] = i
	}
	nearest := farFrom(pts)
	var out []choice
	taken := make([]bool, len(pts.at))
	for len(out) < min(n, len(pts.at)) {
		best, most := -1, math.Inf(-1)
		ranks := shares(nearest)
		for k, m := range pts.at {
			if v := sum[place[m]] + diversity*ranks[k]; !taken[k] && v > most {
				best, most = k, v
			}
		}
		taken[best] = true
		c := p.choice(pts.at[best], most, "largest weighted sum of ranks")
		c.rank, c.of = len(out)+1, len(at)
		c.parts = append(slices.Clone(parts[place[pts.at[best]]]),
			Part{"distance", math.Sqrt(nearest[best])}, Part{"diversity_rank_share", ranks[best]})
		out = append(out, c)
		for k := range nearest {
			nearest[k] = min(nearest[k], squared(pts.of[k], pts.of[best]))
		}
	}
	return out
}

// farFrom returns each point's squared distance to the nearest centre, without
// centres to the typical point.
func farFrom(pts points) []float64 {
	centres := pts.centres
	if len(centres) == 0 {
		centres = [][]float32{pts.of[typical(pts.of)]}
	}
	nearest := make([]float64, len(pts.of))
	for k := range nearest {
		nearest[k] = math.Inf(1)
		for _, c := range centres {
			nearest[k] = min(nearest[k], squared(pts.of[k], c))
		}
	}
	return nearest
}

func (s Spec) summed(p *pool, n int, at []int, sum []float64, parts [][]Part) []choice {
	var out []choice
	for r, i := range largest(len(at), n, func(i int) float64 { return sum[i] }) {
		c := p.choice(at[i], sum[i], "largest weighted sum of ranks")
		c.rank, c.of, c.parts = r+1, len(at), parts[i]
		out = append(out, c)
	}
	return out
}

// complete returns the members that have all measures of a weighted sum.
func (s Spec) complete(p *pool) []int {
	var at []int
	for i, m := range p.members {
		all := true
		for _, w := range s.Weights {
			if w.Of == componentDiversity || w.Weight == 0 {
				continue
			}
			_, ok := m.look.score(Measure(w.Of))
			all = all && ok
		}
		if all {
			at = append(at, i)
		}
	}
	return at
}
