package transform

import (
	"math"
	"testing"
)

// The fused entropy is the definition's, from equal scores to certain ones.
func TestSoftmaxEntropy(t *testing.T) {
	for _, classes := range []int{2, 3, 7, 105} {
		const n = 3001
		x, want := make([][]float32, classes), make([][]float32, classes)
		for c := range x {
			x[c] = make([]float32, n)
			for i := range n {
				spread := math.Pow(10, float64(i)/n*5-3) // scores from 0.001 to 100 apart
				x[c][i] = float32(spread * math.Sin(float64(c*c*7+i)))
			}
			want[c] = append([]float32{}, x[c]...)
		}
		h := make([]float32, n)
		SoftmaxEntropy(x, h)
		for i := range n {
			top, sum, entropy := math.Inf(-1), 0.0, 0.0
			for c := range want {
				top = math.Max(top, float64(want[c][i]))
			}
			for c := range want {
				sum += math.Exp(float64(want[c][i]) - top)
			}
			for c := range want {
				p := math.Exp(float64(want[c][i])-top) / sum
				if p > 0 {
					entropy -= p * math.Log(p)
				}
				if math.Abs(p-float64(x[c][i])) > 1e-6 {
					t.Fatalf("%d classes, voxel %d: p = %g, want %g", classes, i, x[c][i], p)
				}
			}
			if math.Abs(entropy-float64(h[i])) > 1e-6 {
				t.Fatalf("%d classes, voxel %d: entropy %g, want %g", classes, i, h[i], entropy)
			}
		}
	}
	nan := float32(math.NaN())
	h := make([]float32, 3)
	SoftmaxEntropy([][]float32{{nan, 1, 300}, {0, nan, -300}}, h)
	if h[0] == h[0] || h[1] == h[1] || h[2] > 1e-30 {
		t.Errorf("entropies %v, want NaN, NaN, 0", h)
	}
}

func BenchmarkSoftmaxEntropy(b *testing.B) {
	const n = 1 << 16
	x := make([][]float32, 3)
	for c := range x {
		x[c] = make([]float32, n)
		for i := range n {
			x[c][i] = float32(math.Sin(float64(c*c*7 + i)))
		}
	}
	h := make([]float32, n)
	b.SetBytes(n)
	for b.Loop() {
		SoftmaxEntropy(x, h)
	}
}
