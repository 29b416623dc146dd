package strategies

import (
	"fmt"
	"math"
)

// kMeansRounds bounds the iterations of k-means.
const kMeansRounds = 25

// plusPlus chooses up to k seeds. The first is the point with the largest norm
// (ties to the lower place) or, when uniform is set, point ⌊u₀·n⌋; each further
// one is drawn by u_t with chances in proportion to the squared distance to the
// nearest seed. It stops when all points coincide with seeds.
//
// Source: Arthur and Vassilvitskii, SODA 2007; for active learning with the
// norm first: BADGE, Ash et al., ICLR 2020.
func plusPlus(of [][]float32, k int, uniform bool, u []float64) []int {
	if len(of) == 0 || k < 1 {
		return nil
	}
	first := 0
	if uniform {
		first = min(int(u[0]*float64(len(of))), len(of)-1)
	} else {
		origin := make([]float32, len(of[0]))
		for i, most := 0, -1.0; i < len(of); i++ {
			if n := squared(of[i], origin); n > most {
				first, most = i, n
			}
		}
	}
	chosen := []int{first}
	nearest := make([]float64, len(of))
	for i := range nearest {
		nearest[i] = math.Inf(1)
	}
	for len(chosen) < min(k, len(of)) {
		var sum float64
		last := of[chosen[len(chosen)-1]]
		for i := range of {
			nearest[i] = min(nearest[i], squared(of[i], last))
			sum += nearest[i]
		}
		if sum == 0 {
			break
		}
		at, run := -1, 0.0
		for i, d := range nearest {
			run += d
			if d > 0 {
				at = i
			}
			if run > u[len(chosen)]*sum {
				at = i
				break
			}
		}
		chosen = append(chosen, at)
	}
	return chosen
}

// cluster is one of k-means'.
type cluster struct {
	at      int // the point nearest to the centre
	members int
	weight  float64
}

// kMeans groups points around weighted means, from the given seeds on, and
// returns the clusters that are not empty, the heaviest first.
//
// Source: Lloyd, IEEE Trans. Information Theory 28 (1982), with weights.
func kMeans(of [][]float32, weights []float64, seeds []int) []cluster {
	centres := make([][]float64, len(seeds))
	for c, i := range seeds {
		centres[c] = widened(of[i])
	}
	in := make([]int, len(of)) // point → cluster
	for i := range in {
		in[i] = -1
	}
	for range kMeansRounds {
		moved := assign(of, centres, in)
		if !moved {
			break
		}
		recentre(of, weights, centres, in)
	}
	out := make([]cluster, len(centres))
	nearest := make([]float64, len(centres))
	for c := range out {
		out[c].at, nearest[c] = -1, math.Inf(1)
	}
	for i, c := range in {
		out[c].members++
		out[c].weight += weights[i]
		if d := distance(of[i], centres[c]); d < nearest[c] {
			out[c].at, nearest[c] = i, d
		}
	}
	byWeight := largest(len(out), len(out), func(c int) float64 {
		if out[c].at < 0 {
			return math.NaN()
		}
		return out[c].weight
	})
	sorted := make([]cluster, len(byWeight))
	for r, c := range byWeight {
		sorted[r] = out[c]
	}
	return sorted
}

func widened(p []float32) []float64 {
	out := make([]float64, len(p))
	for d, v := range p {
		out[d] = float64(v)
	}
	return out
}

func distance(p []float32, centre []float64) float64 {
	var sum float64
	for d, v := range p {
		e := float64(v) - centre[d]
		sum += e * e
	}
	return sum
}

// assign puts each point into its nearest cluster and tells whether any moved.
func assign(of [][]float32, centres [][]float64, in []int) (moved bool) {
	for i, p := range of {
		best, least := 0, math.Inf(1)
		for c := range centres {
			if d := distance(p, centres[c]); d < least {
				best, least = c, d
			}
		}
		moved = moved || in[i] != best
		in[i] = best
	}
	return moved
}

// recentre moves centres to the weighted means of their points. One without
// weight stays.
func recentre(of [][]float32, weights []float64, centres [][]float64, in []int) {
	sums := make([][]float64, len(centres))
	total := make([]float64, len(centres))
	for c := range sums {
		sums[c] = make([]float64, len(centres[c]))
	}
	for i, p := range of {
		c := in[i]
		total[c] += weights[i]
		for d, v := range p {
			sums[c][d] += weights[i] * float64(v)
		}
	}
	for c := range centres {
		if total[c] > 0 {
			for d := range centres[c] {
				centres[c][d] = sums[c][d] / total[c]
			}
		}
	}
}

// chooseKMeans is KindKMeans: of the 10·n least sure images, clustered by
// features with their scores as weights, the one nearest to each centre.
//
// Source: Zhdanov, Diverse mini-batch active learning (2019).
func (s Spec) chooseKMeans(p *pool, n int) []choice {
	at, scores := p.scored(s.order())
	keep := largest(len(at), min(10*n, s.Subset), func(i int) float64 { return scores[i] })
	among := make([]int, len(keep))
	rank := make(map[int]int, len(keep))
	for r, i := range keep {
		among[r] = at[i]
		rank[at[i]] = r
	}
	pts, ok := p.points(among, n, s.Subset, s.Seed)
	if !ok {
		return s.best(p, n, "the least sure: images have neither features nor fingerprints yet")
	}
	weights := make([]float64, len(pts.at)) // in units of the largest score
	unit := scores[keep[0]]
	uniforms := make([]float64, n)
	for i, m := range pts.at {
		if weights[i] = 1; unit > 0 {
			weights[i] = max(scores[keep[rank[m]]]/unit, 0)
		}
	}
	for i := range uniforms {
		uniforms[i] = uniform(mix(s.Seed ^ mix(p.number^mix(uint64(i)))))
	}
	var out []choice
	for r, c := range kMeans(pts.of, weights, plusPlus(pts.of, n, true, uniforms)) {
		m := pts.at[c.at]
		weight := c.weight * max(unit, 0)
		ch := p.choice(m, weight, fmt.Sprintf("stands for %d unsure images that are alike by %s", c.members, pts.what))
		ch.rank, ch.of = r+1, len(pts.at)
		ch.parts = []Part{{string(s.Measure), scores[keep[rank[m]]]}, {"cluster_weight", weight}, {"cluster_images", float64(c.members)}}
		out = append(out, ch)
	}
	return out
}
