package augment

import (
	"math"
	"testing"
)

// Spline weights sum to 1 and reproduce a straight line through the control
// points, of which all needed ones exist.
func TestSplineWeights(t *testing.T) {
	for _, spacing := range []float64{2, 3.7, 10, 64} {
		for _, size := range []int{1, 2, 31, 64, 65} {
			s := newSplineAxis(size, spacing)
			for i := range size {
				var sum, line float64
				for k, w := range s.weight[i] {
					sum += w
					line += w * float64(s.first[i]+k-1) * spacing
				}
				if math.Abs(sum-1) > 1e-12 || math.Abs(line-float64(i)) > 1e-9 {
					t.Fatalf("spacing %g, voxel %d of %d: sum %g, line %g", spacing, i, size, sum, line)
				}
				if s.first[i]+4 > s.points {
					t.Fatalf("spacing %g, voxel %d of %d: no control point %d", spacing, i, size, s.first[i]+3)
				}
			}
		}
	}
}

// What a rejected candidate takes next is its own: neighbours get other words.
func TestRejectionsAreApart(t *testing.T) {
	s := testStream(Key{Seed: 1}, 0, forVoxels)
	const tail = 0x7fffff00 // layer 0, farthest position
	seen := map[float32]bool{}
	for i := range uint64(64) {
		x := s.reject(i, tail)
		if seen[x] || x < zigR {
			t.Fatalf("index %d: %g again, or not in the tail", i, x)
		}
		seen[x] = true
	}
}
