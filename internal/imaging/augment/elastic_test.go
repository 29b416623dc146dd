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

// TestDisplacementsAreSplines compares the displacements of all voxels with the
// sum over the 64 control points around each.
func TestDisplacementsAreSplines(t *testing.T) {
	for _, c := range []struct {
		size    [3]int
		spacing float64
	}{
		{[3]int{9, 11, 40}, 5}, {[3]int{1, 7, 65}, 3.7}, {[3]int{5, 1, 1}, 2}, {[3]int{3, 4, 1200}, 700}, {[3]int{4, 4, 33}, 64},
	} {
		f := &deformation{}
		n := 3
		for i := range f.spline {
			f.spline[i] = newSplineAxis(c.size[i], c.spacing)
			n *= f.spline[i].points
		}
		for i := range n {
			f.control = append(f.control, math.Sin(float64(i*i%97))*0.4*c.spacing)
		}
		b := &rowBuffer{planeX: -1}
		b.resize(c.size[2])
		for x := range c.size[0] {
			for y := range c.size[1] {
				b.straight([3]int64{}, [3]int64{})
				b.bend(f, x, y)
				for z := range c.size[2] {
					want := f.direct([3]int{x, y, z})
					got := [3]int64{b.x[z], b.y[z], b.z[z]}
					for k := range got {
						if d := math.Abs(float64(got[k])/fixedOne - want[k]); d > 1e-8 {
							t.Fatalf("size %v, spacing %g: voxel %d %d %d moves %g along axis %d, want %g",
								c.size, c.spacing, x, y, z, float64(got[k])/fixedOne, k, want[k])
						}
					}
				}
			}
		}
	}
}

// direct is the displacement of a voxel by the definition.
func (f *deformation) direct(at [3]int) (d [3]float64) {
	for a, wx := range f.spline[0].weight[at[0]] {
		for b, wy := range f.spline[1].weight[at[1]] {
			for c, wz := range f.spline[2].weight[at[2]] {
				i := ((f.spline[0].first[at[0]]+a)*f.spline[1].points+f.spline[1].first[at[1]]+b)*f.spline[2].points + f.spline[2].first[at[2]] + c
				for k := range d {
					d[k] += wx * wy * wz * f.control[3*i+k]
				}
			}
		}
	}
	return d
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
