package metrics

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
)

// TestDistances compares every norm with the definition on random sets, also
// empty and full ones, in boxes of odd shapes and spacings.
func TestDistances(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct {
		size    [3]int
		spacing [3]float64
		density float64
	}{
		{[3]int{9, 7, 8}, [3]float64{1, 1, 1}, 0.05},
		{[3]int{70, 5, 6}, [3]float64{0.795, 0.795, 5}, 0.02},
		{[3]int{6, 12, 9}, [3]float64{3, 0.5, 1.25}, 0.3},
		{[3]int{1, 1, 20}, [3]float64{1, 2, 0.7}, 0.2},
		{[3]int{8, 8, 8}, [3]float64{1, 1.5, 2}, 0.004},
		{[3]int{5, 5, 5}, [3]float64{1, 1, 1}, 0},
		{[3]int{66, 3, 3}, [3]float64{1, 1, 1}, 1},
	} {
		at, to := randomMask(r, tt.size, 0.4), randomMask(r, tt.size, tt.density)
		for _, n := range []Norm{Euclidean, Chessboard, Taxicab} {
			got, err := distances(t.Context(), at, to, n, tt.spacing)
			if err != nil {
				t.Fatal(err)
			}
			i := 0
			at.each(0, tt.size[1], func(x, y, z int) {
				want := nearest(to, [3]int{x, y, z}, n, tt.spacing)
				if d := math.Abs(float64(got[i]) - want); d > 1e-6*want {
					t.Fatalf("norm %d, size %v: (%d, %d, %d) is %v from the set, want %v", n, tt.size, x, y, z, got[i], want)
				}
				i++
			})
			if i != len(got) || i != at.count() {
				t.Errorf("%d distances for %d voxels", len(got), at.count())
			}
		}
	}
}

func randomMask(r *rand.Rand, size [3]int, density float64) *mask {
	m := newMask(size)
	for z := range size[2] {
		for y := range size[1] {
			for x := range size[0] {
				if r.Float64() < density {
					m.row(y, z)[x>>6] |= 1 << (x & 63)
				}
			}
		}
	}
	return m
}

// nearest is the definition.
func nearest(m *mask, p [3]int, n Norm, spacing [3]float64) float64 {
	best := math.Inf(1)
	m.each(0, m.size[1], func(x, y, z int) {
		var d [3]float64
		for a, q := range [3]int{x, y, z} {
			d[a] = math.Abs(float64(q-p[a])) * spacing[a]
		}
		switch n {
		case Euclidean:
			best = min(best, math.Sqrt(d[0]*d[0]+d[1]*d[1]+d[2]*d[2]))
		case Chessboard:
			best = min(best, max(d[0], d[1], d[2]))
		case Taxicab:
			best = min(best, d[0]+d[1]+d[2])
		}
	})
	return best
}

func TestSurfaceIsErosion(t *testing.T) {
	m := randomMask(rand.New(rand.NewPCG(3, 4)), [3]int{130, 6, 5}, 0.8)
	s, err := m.surface(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	in := func(x, y, z int) bool {
		return x >= 0 && y >= 0 && z >= 0 && x < 130 && y < 6 && z < 5 && m.has(x, y, z)
	}
	inner := 0
	for z := range 5 {
		for y := range 6 {
			for x := range 130 {
				deep := in(x-1, y, z) && in(x+1, y, z) && in(x, y-1, z) && in(x, y+1, z) && in(x, y, z-1) && in(x, y, z+1)
				if want := in(x, y, z) && !deep; s.has(x, y, z) != want {
					t.Fatalf("(%d, %d, %d) is surface: %v, want %v", x, y, z, !want, want)
				}
				if deep && in(x, y, z) {
					inner++
				}
			}
		}
	}
	if inner == 0 {
		t.Error("the mask has no inner voxel")
	}
}

// TestAreas checks the surface through a cube: planes have the area of the
// cube's face, complements have equal areas, and a ball's surface converges.
func TestAreas(t *testing.T) {
	spacing := [3]float64{0.8, 1.2, 3}
	a := areas(spacing)
	for code := range a {
		if a[code] != a[255-code] {
			t.Errorf("codes %d and %d: %v, %v", code, 255-code, a[code], a[255-code])
		}
	}
	for code, want := range map[int]float64{0: 0, 0x55: 1.2 * 3, 0x33: 0.8 * 3, 0x0f: 0.8 * 1.2} {
		if math.Abs(a[code]-want) > 1e-12 {
			t.Errorf("code %#x has area %v, want %v", code, a[code], want)
		}
	}
	m := newMask([3]int{41, 41, 41})
	for i := range 41 * 41 * 41 {
		x, y, z := i%41, i/41%41, i/1681
		if (x-20)*(x-20)+(y-20)*(y-20)+(z-20)*(z-20) <= 18*18 {
			m.row(y, z)[x>>6] |= 1 << x
		}
	}
	unit := areas([3]float64{1, 1, 1})
	var sum float64
	c, err := m.cells(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range c.code {
		sum += unit[code]
	}
	if ball := 4 * math.Pi * 18.25 * 18.25; math.Abs(sum/ball-1) > 0.1 {
		t.Errorf("a ball's surface has area %.0f, want about %.0f", sum, ball)
	}
}

func TestDistancesStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := randomMask(rand.New(rand.NewPCG(5, 6)), [3]int{8, 8, 8}, 0.5)
	if _, err := distances(ctx, m, m, Euclidean, [3]float64{1, 1, 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestOverlapConventions(t *testing.T) {
	both, noTruth, noPred := Counts{TN: 9}, Counts{TN: 5, FP: 4}, Counts{TN: 5, FN: 4}
	nan := math.NaN()
	for _, tt := range []struct {
		e                     Empty
		both, noTruth, noPred float64
	}{{MONAI, nan, nan, 0}, {MONAIKeep, 1, 0, 0}, {NNUNet, nan, 0, 0}} {
		for i, c := range []struct {
			n    Counts
			want float64
		}{{both, tt.both}, {noTruth, tt.noTruth}, {noPred, tt.noPred}} {
			if got := c.n.Dice(tt.e); got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
				t.Errorf("%s, case %d: Dice %v, want %v", tt.e, i, got, c.want)
			}
			if got := c.n.IoU(tt.e); got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
				t.Errorf("%s, case %d: IoU %v, want %v", tt.e, i, got, c.want)
			}
		}
	}
}

func TestNSDToleranceIsInclusive(t *testing.T) {
	g := imaging.Grid{Size: [3]int{7, 7, 7}, Affine: imaging.Affine{{0.8, 0, 0, 0}, {0, 1.2, 0, 0}, {0, 0, 3, 0}, {0, 0, 0, 1}}}
	pred, truth := imaging.NewLabelMap(g), imaging.NewLabelMap(g)
	pred.Data[3+7*(3+7*3)], truth.Data[5+7*(4+7*3)] = 1, 1 // 1.6 and 1.2 mm apart: 2 mm
	c, err := Compare(t.Context(), pred, truth)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Surfaces(t.Context(), 1, SurfaceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := s.NSD(2), s.NSD(1.99); a != 1 || b != 0 {
		t.Errorf("NSD within 2 mm %v, within 1.99 mm %v; want 1, 0", a, b)
	}
}
