package native

import (
	"math"

	"github.com/voxloop/voxloop/internal/onnx"
)

// HalvedHeads are weights for n outputs of falling resolution (deep
// supervision): max(0.5^i, 0.0625) for output i, what MONAI calls exp.
func HalvedHeads(n int) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = max(math.Pow(0.5, float64(i)), 0.0625)
	}
	return w
}

// NormalisedHeads are nnU-Net's weights for n outputs of falling resolution:
// 0.5^i, nothing for the coarsest, divided by their sum.
func NormalisedHeads(n int) []float64 {
	if n == 1 {
		return []float64{1}
	}
	w, sum := make([]float64, n), 0.0
	for i := range n - 1 {
		w[i] = math.Pow(0.5, float64(i))
		sum += w[i]
	}
	for i := range w {
		w[i] /= sum
	}
	return w
}

func usable(weights []float64) bool {
	sum := 0.0
	for _, w := range weights {
		if !(w >= 0) {
			return false
		}
		sum += w
	}
	return sum > 0 && !math.IsInf(sum, 1)
}

// supervised is the weighted sum of a loss over outputs at their own sizes. An
// output of weight 0 has no part in it.
func (g *graph) supervised(l Loss, ignore int, labels string, heads []string, weights []float64) string {
	var total string
	for i, logits := range heads {
		if g.err != nil {
			return ""
		}
		if weights[i] == 0 {
			continue
		}
		t := &target{g: g, logits: logits, labels: g.labelsAt(labels, g.shape(logits)[2:]), ignore: ignore}
		part := g.scale(g.reshape(l.value(t), 1), weights[i])
		if total == "" {
			total = part
		} else {
			total = g.add(total, part)
		}
	}
	return total
}

// labelsAt takes the nearest label for every voxel of a coarser grid: index
// floor((i + ½)·in/out).
func (g *graph) labelsAt(labels string, spatial []int64) string {
	for k, out := range spatial {
		in := g.shape(labels)[2+k]
		if in == out {
			continue
		}
		at := make([]int64, out)
		for i := range at {
			at[i] = min((2*int64(i)+1)*in/(2*out), in-1)
		}
		labels = g.op("Gather", []string{labels, g.ints(at...)}, onnx.IntAttr("axis", int64(2+k)))
	}
	return labels
}
