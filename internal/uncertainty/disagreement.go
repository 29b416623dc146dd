package uncertainty

import "math"

// Disagreement is 1 minus the mean Dice of all pairs of passes (PairwiseDice);
// 0 for a single pass.
func (m *Maps) Disagreement() float64 {
	pairs := m.PairwiseDice()
	if len(pairs) == 0 {
		return 0
	}
	sum := 0.0
	for _, d := range pairs {
		sum += d
	}
	return 1 - sum/float64(len(pairs))
}

// PairwiseDice returns the Dice coefficient of the label maps of every pair of
// passes, (0, 1), (0, 2), …: the mean over the foreground classes, 1 for a
// class that neither pass predicts.
func (m *Maps) PairwiseDice() []float64 {
	n := len(m.passes)
	counts := make([][]int, n)
	for i, l := range m.passes {
		counts[i] = make([]int, len(m.Mean))
		for _, c := range l {
			counts[i][c]++
		}
	}
	var out []float64
	both := make([]int, len(m.Mean))
	for i := range n {
		for j := i + 1; j < n; j++ {
			clear(both)
			for v, c := range m.passes[i] {
				if m.passes[j][v] == c {
					both[c]++
				}
			}
			sum := 0.0
			for c := 1; c < len(both); c++ {
				if s := counts[i][c] + counts[j][c]; s > 0 {
					sum += 2 * float64(both[c]) / float64(s)
				} else {
					sum++
				}
			}
			out = append(out, sum/float64(len(both)-1))
		}
	}
	return out
}

// Volumes returns the number of foreground voxels of every pass.
func (m *Maps) Volumes() []int {
	out := make([]int, len(m.passes))
	for i, l := range m.passes {
		for _, c := range l {
			if c > 0 {
				out[i]++
			}
		}
	}
	return out
}

// VolumeVariation is the coefficient of variation of the passes' foreground
// volumes: their population standard deviation over their mean; 0 without
// foreground.
func (m *Maps) VolumeVariation() float64 {
	var sum, square float64
	for _, v := range m.Volumes() {
		sum += float64(v)
		square += float64(v) * float64(v)
	}
	if sum == 0 {
		return 0
	}
	n := float64(len(m.passes))
	return math.Sqrt(max(0, square/n-sum/n*sum/n)) / (sum / n)
}

// ExpectedEntropy returns the mean over passes of the entropy of each, what
// remains of Entropy without Information.
func (m *Maps) ExpectedEntropy() []float32 {
	out := make([]float32, len(m.Entropy))
	for v, h := range m.Entropy {
		out[v] = h - m.Information[v]
	}
	return out
}

// VariationRatio returns the share of passes that do not vote for the class
// with the most votes.
func (m *Maps) VariationRatio() []float32 {
	out := make([]float32, len(m.Labels))
	votes := make([]int, len(m.Mean))
	for v := range out {
		clear(votes)
		most := 0
		for _, l := range m.passes {
			votes[l[v]]++
			most = max(most, votes[l[v]])
		}
		out[v] = 1 - float32(most)/float32(len(m.passes))
	}
	return out
}

// LeastConfidence returns 1 minus the largest mean probability.
func (m *Maps) LeastConfidence() []float32 {
	out := make([]float32, len(m.Labels))
	for v, c := range m.Labels {
		out[v] = 1 - m.Mean[c][v]
	}
	return out
}

// JensenShannon returns the mean over voxels of the Jensen–Shannon divergence
// of predictions given as [prediction][class][voxel]: the entropy of their mean
// minus the mean of their entropies.
func JensenShannon(p ...[][]float32) float64 {
	var sum float64
	voxels := len(p[0][0])
	k := 1 / float64(len(p))
	for v := range voxels {
		for c := range p[0] {
			var mean float64
			for _, q := range p {
				x := float64(q[c][v])
				mean += x * k
				if x > 0 {
					sum += x * math.Log(x) * k
				}
			}
			if mean > 0 {
				sum -= mean * math.Log(mean)
			}
		}
	}
	return sum / float64(voxels)
}
