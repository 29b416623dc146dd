package strategies

import (
	"math"
	"slices"
)

// kCentre chooses up to k points greedily: always the one farthest from all
// centres and chosen points, ties to the lower place; without centres point
// first is the first. radii holds the largest distance of any point after each
// choice.
//
// Source: Gonzalez, Theoretical Computer Science 38 (1985); for active learning
// Sener and Savarese, ICLR 2018 (core-set).
func kCentre(of, centres [][]float32, k, first int) (chosen []int, radii []float64) {
	nearest := make([]float64, len(of)) // squared
	for i := range nearest {
		nearest[i] = math.Inf(1)
		for _, c := range centres {
			nearest[i] = min(nearest[i], squared(of[i], c))
		}
	}
	taken := make([]bool, len(of))
	for len(chosen) < min(k, len(of)) {
		best := -1
		if len(chosen) == 0 && len(centres) == 0 {
			best = first
		}
		for i := range of {
			if !taken[i] && (best < 0 || nearest[i] > nearest[best]) {
				best = i
			}
		}
		taken[best] = true
		chosen = append(chosen, best)
		var radius float64
		for i := range of {
			nearest[i] = min(nearest[i], squared(of[i], of[best]))
			radius = max(radius, nearest[i])
		}
		radii = append(radii, math.Sqrt(radius))
	}
	return chosen, radii
}

// squared is the squared Euclidean distance.
func squared(a, b []float32) float64 {
	var sum float64
	for d, v := range a {
		e := float64(v) - float64(b[d])
		sum += e * e
	}
	return sum
}

// typical returns the point nearest to the mean of all.
func typical(of [][]float32) int {
	mean := make([]float64, len(of[0]))
	for _, p := range of {
		for d, v := range p {
			mean[d] += float64(v) / float64(len(of))
		}
	}
	best, least := 0, math.Inf(1)
	for i, p := range of {
		var sum float64
		for d, v := range p {
			sum += (float64(v) - mean[d]) * (float64(v) - mean[d])
		}
		if sum < least {
			best, least = i, sum
		}
	}
	return best
}

// chooseDiverse is KindCoreset, and what chooses on a cold start.
func (s Spec) chooseDiverse(p *pool, n int) []choice {
	pts, ok := p.points(p.everyone(), n, s.Subset, s.Seed)
	if !ok {
		return s.chooseRandom(p, n, "at random: images have neither features nor fingerprints yet")
	}
	chosen, _ := kCentre(pts.of, pts.centres, n, typical(pts.of))
	var out []choice
	seen := slices.Clone(pts.centres)
	for r, i := range chosen {
		c := p.choice(pts.at[i], noScore, "differs most, by "+pts.what+", from what is labelled or chosen")
		if len(seen) == 0 {
			c.why = "the most typical image by " + pts.what
		} else {
			near := math.Inf(1)
			for _, o := range seen {
				near = min(near, squared(pts.of[i], o))
			}
			c.score = math.Sqrt(near)
			c.parts = []Part{{"distance", c.score}}
		}
		c.rank, c.of = r+1, len(pts.at)
		seen = append(seen, pts.of[i])
		out = append(out, c)
	}
	return out
}

// chooseRandom chooses any members with the same chance.
func (s Spec) chooseRandom(p *pool, n int, why string) []choice {
	var out []choice
	for _, i := range largest(len(p.members), n, func(i int) float64 { return p.noise(p.members[i], s.Seed, streamSample) }) {
		out = append(out, p.choice(i, noScore, why))
	}
	return out
}
