package transform_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
	"github.com/voxloop/voxloop/internal/testkit"
)

func imageOf(t *testing.T, g imaging.Grid, f func(p [3]float64) float64) *transform.Image {
	t.Helper()
	m, err := transform.NewImage(transform.Layout(g), 1)
	if err != nil {
		t.Fatal(err)
	}
	for n := range m.Data[0] {
		i, j, k := n/(g.Size[1]*g.Size[2]), n/g.Size[2]%g.Size[1], n%g.Size[2]
		m.Data[0][n] = float32(f(g.Affine.Apply([3]float64{float64(i), float64(j), float64(k)})))
	}
	return m
}

// TestWorldStays applies steps to a linear function of the world: wherever a
// voxel of the result lies inside the old image, it must hold the function's
// value at its own place. This ties voxels and affine together.
func TestWorldStays(t *testing.T) {
	linear := func(p [3]float64) float64 { return 3*p[0] - 2*p[1] + 5*p[2] + 1 }
	m := imageOf(t, imaging.Grid{Size: [3]int{11, 12, 13}, Affine: oriented(t, "PIR", [3]float64{1, 1.5, 2}, [3]float64{0.1, -0.2, 0.3}, 0.05)}, linear)
	for name, s := range map[string]transform.Step{
		"orient":           transform.Orient{Codes: "LSA"},
		"flip":             transform.Flip{Axes: [3]bool{true, false, true}},
		"quarter turns":    transform.Rotate90{Turns: -1, Axes: [2]int{2, 0}},
		"respace":          transform.Respace{Spacing: [3]float64{0.8, 2, 1.1}},
		"respace extent":   transform.Respace{Spacing: [3]float64{0.8, 2, 1.1}, Extent: true},
		"respace diagonal": transform.Respace{Spacing: [3]float64{1, 1, 1}, Diagonal: true},
		"resize":           transform.Resize{Size: [3]int{22, 6, 13}},
		"resize longest":   transform.Resize{Longest: 26},
		"affine":           transform.Affine{Rotate: [3]float64{0.1, 0.2, 0.3}, Shear: [6]float64{0.1}, Translate: [3]float64{1, 0, -1}, Scale: [3]float64{1.1, 0, 0.9}},
		"rotate":           transform.Rotate{Angle: [3]float64{0, 0.4, 0}, Grow: true},
		"zoom":             transform.Zoom{Factor: [3]float64{1.4, 0.8, 1}, Keep: true},
		"crop":             transform.CropBox{Start: [3]int{2, 3, 4}, Size: [3]int{5, 6, 7}},
		"center":           transform.CropCenter{Size: [3]int{4, 5, 6}},
		"border":           transform.PadBorder{Before: [3]int{1, 2, 3}},
		"fit":              transform.Fit{Size: [3]int{9, 20, 13}},
	} {
		out, undo, err := s.Apply(t.Context(), m)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n := holds(out, m.Layout, linear, 1e-3); n < min(out.Voxels(), m.Voxels())/4 {
			t.Errorf("%s: only %d of %d voxels agree with the world", name, n, out.Voxels())
		}
		back, err := undo.Undo(t.Context(), out, transform.Linear)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if imaging.Grid(back.Layout).Distance(imaging.Grid(m.Layout)) > 1e-9 {
			t.Errorf("%s: the undo leads to %v, want %v", name, back.Layout, m.Layout)
		}
		if _, err := undo.Undo(t.Context(), &transform.Image{Layout: transform.Layout{Size: [3]int{1, 2, 3}}}, transform.Linear); !errors.Is(err, imaging.ErrShape) {
			t.Errorf("%s: undo of a foreign image: %v", name, err)
		}
	}
}

// holds counts the voxels of m well inside old that agree with f; -1 when one
// does not.
func holds(m *transform.Image, old transform.Layout, f func([3]float64) float64, tolerance float64) int {
	inv, _ := old.Affine.Inverse()
	n := 0
	for v, got := range m.Data[0] {
		i, j, k := v/(m.Size[1]*m.Size[2]), v/m.Size[2]%m.Size[1], v%m.Size[2]
		p := m.Affine.Apply([3]float64{float64(i), float64(j), float64(k)})
		inside := true
		for d, x := range inv.Apply(p) {
			inside = inside && x >= 0.5 && x <= float64(old.Size[d])-1.5
		}
		if !inside {
			continue
		}
		if math.Abs(float64(got)-f(p)) > tolerance*(1+math.Abs(f(p))) {
			return -1
		}
		n++
	}
	return n
}

// TestMovesComeBack takes any sequence of steps that only move voxels back, to
// the last bit.
func TestMovesComeBack(t *testing.T) {
	all := codes()
	rapid.Check(t, func(rt *rapid.T) {
		g := imaging.Grid{Size: [3]int{3, 4, 5}, Affine: oriented(rt, rapid.SampledFrom(all).Draw(rt, "from"), [3]float64{1, 1.5, 2}, [3]float64{}, 0)}
		m, err := transform.ImageOf(t.Context(), noise(g, 1, 3), rapid.SampledFrom(orders).Draw(rt, "order"))
		if err != nil {
			rt.Fatal(err)
		}
		var c transform.Chain
		for range rapid.IntRange(1, 5).Draw(rt, "steps") {
			a := rapid.IntRange(0, 2).Draw(rt, "axis")
			c = append(c, rapid.SampledFrom([]transform.Step{
				transform.Orient{Codes: rapid.SampledFrom(all).Draw(rt, "codes")},
				transform.Flip{Axes: [3]bool{a == 0, a != 1, a == 2}},
				transform.Rotate90{Turns: rapid.IntRange(-5, 5).Draw(rt, "turns"), Axes: [2]int{a, (a + 1) % 3}},
				transform.PadBorder{Before: [3]int{a, 1, 0}, After: [3]int{0, 2, a}, Fill: transform.Fill{Mode: transform.PadReflect}},
			}).Draw(rt, "step"))
		}
		out, undo, err := c.Apply(t.Context(), m)
		if err != nil {
			rt.Fatal(err)
		}
		back, err := undo.Undo(t.Context(), out, transform.Nearest)
		if err != nil {
			rt.Fatal(err)
		}
		if !slices.Equal(back.Data[0], m.Data[0]) {
			rt.Fatal("voxels changed")
		}
	})
}

// TestOutside samples an axis of three voxels, 10 20 40, from -4 to 6.
func TestOutside(t *testing.T) {
	line := &transform.Image{
		Layout: transform.Layout{Size: [3]int{1, 1, 3}, Affine: imaging.Identity()}, Data: transform.Channels{{10, 20, 40}},
	}
	to := transform.Layout{Size: [3]int{1, 1, 21}, Affine: imaging.Identity()}
	to.Affine[2][2], to.Affine[2][3] = 0.5, -4
	turned := transform.Layout{Size: [3]int{21, 1, 1}, Affine: imaging.Affine{{0, 0, 1, 0}, {0, 1, 0, 0}, {0.5, 1e-9, 0, -4}, {0, 0, 0, 1}}}
	for outside, want := range map[transform.Outside][]float32{
		transform.Clamp:   {10, 10, 10, 10, 10, 10, 10, 10, 10, 15, 20, 30, 40, 40, 40, 40, 40, 40, 40, 40, 40},
		transform.Zero:    {0, 0, 0, 0, 0, 0, 0, 5, 10, 15, 20, 30, 40, 20, 0, 0, 0, 0, 0, 0, 0},
		transform.Mirror:  {10, 15, 20, 30, 40, 30, 20, 15, 10, 15, 20, 30, 40, 30, 20, 15, 10, 15, 20, 30, 40},
		transform.Reflect: {40, 40, 40, 30, 20, 15, 10, 10, 10, 15, 20, 30, 40, 40, 40, 30, 20, 15, 10, 10, 10},
	} {
		for _, l := range []transform.Layout{to, turned} {
			got, err := line.Resample(t.Context(), l, transform.Linear, outside)
			if err != nil {
				t.Fatal(err)
			}
			if d := testkit.MaxDiff(t, got.Data[0], want); d > 1e-4 {
				t.Errorf("outside %d: %v, want %v", outside, got.Data[0], want)
			}
			spline, err := line.Resample(t.Context(), l, transform.Cubic, outside)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(want); i += 2 { // at centres the spline passes through the voxels
				if math.Abs(float64(spline.Data[0][i]-want[i])) > 1e-3 {
					t.Errorf("outside %d, cubic: value %d is %g, want %g", outside, i, spline.Data[0][i], want[i])
				}
			}
		}
	}
}

// Affines whose product is beyond float64 lead nowhere, in every mode: there is
// no voxel, and no panic.
func TestCoordinatesBeyondNumbers(t *testing.T) {
	c := 1e-10 * math.Sqrt(0.5)
	turned := imaging.Grid{Size: [3]int{4, 4, 4}, Affine: imaging.Affine{{c, -c, 0, 0}, {c, c, 0, 0}, {0, 0, 1e-10, 0}, {0, 0, 0, 1}}}
	m := imageOf(t, turned, func([3]float64) float64 { return 1 })
	far := transform.Layout{Size: [3]int{3, 3, 3}, Affine: imaging.Affine{{1, 0, 0, 1e305}, {0, 1, 0, 1e305}, {0, 0, 1, 0}, {0, 0, 0, 1}}}
	for _, mode := range []transform.Mode{transform.Linear, transform.Nearest, transform.Cubic} {
		for _, outside := range []transform.Outside{transform.Clamp, transform.Zero, transform.Mirror, transform.Reflect} {
			got, err := m.Resample(t.Context(), far, mode, outside)
			if err != nil {
				t.Errorf("mode %d, outside %d: %v", mode, outside, err)
				continue
			}
			for _, x := range got.Data[0] {
				if x != 0 {
					t.Errorf("mode %d, outside %d: %v", mode, outside, got.Data[0])
					break
				}
			}
		}
	}
}

// TestClampedRowsAreNotCopied samples beyond the source so that first and last
// index span as many voxels as there are samples, in uneven steps.
func TestClampedRowsAreNotCopied(t *testing.T) {
	line := &transform.Image{
		Layout: transform.Layout{Size: [3]int{1, 1, 4}, Affine: imaging.Identity()}, Data: transform.Channels{{1, 2, 3, 4}},
	}
	to := line.Layout
	to.Affine[2][2] = 2
	got, err := line.Resample(t.Context(), to, transform.Linear, transform.Clamp)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Data[0], []float32{1, 3, 4, 4}) {
		t.Errorf("%v", got.Data[0])
	}
}

// TestStepsRefuse names bad parameters: none may panic or allocate.
func TestStepsRefuse(t *testing.T) {
	m := imageOf(t, imaging.Grid{Size: [3]int{3, 3, 3}, Affine: imaging.Identity()}, func(p [3]float64) float64 { return p[0] })
	huge := [3]int{1 << 20, 1 << 20, 1 << 20}
	matrix := imaging.Identity()
	flat := imaging.Affine{3: {0, 0, 0, 1}}
	for name, s := range map[string]transform.Step{
		"orientation":     transform.Orient{Codes: "RA"},
		"quarter turns":   transform.Rotate90{Turns: 1, Axes: [2]int{1, 1}},
		"turn axis":       transform.Rotate90{Turns: 1, Axes: [2]int{1, 3}},
		"spacing":         transform.Respace{Spacing: [3]float64{math.Inf(1), 1, 1}},
		"spacing, huge":   transform.Respace{Spacing: [3]float64{1e-9, 1e-9, 1e-9}},
		"two sizes":       transform.Resize{Size: [3]int{2, 2, 2}, Longest: 3},
		"resize, huge":    transform.Resize{Size: huge},
		"resize, area":    transform.Resize{Size: huge, Mode: transform.ResizeArea},
		"zoom":            transform.Zoom{Factor: [3]float64{0.1, 1, 1}},
		"zoom, NaN":       transform.Zoom{Factor: [3]float64{math.NaN(), 1, 1}},
		"affine twice":    transform.Affine{Matrix: &matrix, Scale: [3]float64{2, 1, 1}},
		"affine, flat":    transform.Affine{Matrix: &flat},
		"affine, NaN":     transform.Affine{Rotate: [3]float64{math.NaN(), 0, 0}},
		"affine, huge":    transform.Affine{Size: huge},
		"crop of nothing": transform.CropBox{Start: [3]int{0, 5, 0}, Size: [3]int{1, 1, 1}},
		"crop of zero":    transform.CropBox{},
		"border":          transform.PadBorder{After: [3]int{0, -1, 0}},
		"padding, huge":   transform.PadTo{Size: huge},
		"padding mode":    transform.PadTo{Size: [3]int{4, 4, 4}, Fill: transform.Fill{Mode: "wrap"}},
		"mask":            transform.CropForeground{Mask: transform.Channels{{1, 2}}},
	} {
		if _, _, err := s.Apply(t.Context(), m); err == nil {
			t.Errorf("%s: no error", name)
		} else if k := fault.KindOf(err); k != fault.Invalid && !errors.Is(err, imaging.ErrFormat) && !errors.Is(err, imaging.ErrLimit) && !errors.Is(err, imaging.ErrShape) {
			t.Errorf("%s: %v has no kind", name, err)
		}
	}
	short := &transform.Image{Layout: m.Layout, Data: transform.Channels{{1, 2, 3}}}
	for _, s := range []transform.Step{transform.Flip{}, transform.Resize{Size: [3]int{2, 2, 2}}, transform.PadTo{Size: [3]int{4, 4, 4}}, transform.CropForeground{}} {
		if _, _, err := s.Apply(t.Context(), short); !errors.Is(err, imaging.ErrShape) {
			t.Errorf("%T of a short image: %v", s, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, s := range []transform.Step{
		transform.Flip{Axes: [3]bool{true, false, false}},
		transform.Respace{Spacing: [3]float64{2, 2, 2}},
		transform.Respace{Spacing: [3]float64{2, 2, 2}, Mode: transform.Cubic},
		transform.Resize{Size: [3]int{2, 2, 2}, Mode: transform.ResizeArea},
		transform.PadTo{Size: [3]int{4, 4, 4}},
		transform.CropForeground{},
	} {
		if _, _, err := s.Apply(ctx, m); !errors.Is(err, context.Canceled) {
			t.Errorf("%T cancelled: %v", s, err)
		}
	}
}

// TestForegroundAbsent keeps the whole image.
func TestForegroundAbsent(t *testing.T) {
	m := imageOf(t, imaging.Grid{Size: [3]int{3, 4, 5}, Affine: imaging.Identity()}, func([3]float64) float64 { return 0 })
	out, undo, err := transform.CropForeground{Margin: [3]int{2, 2, 2}, Beyond: true}.Apply(t.Context(), m)
	if err != nil || out.Size != m.Size {
		t.Fatalf("%v, %v", out, err)
	}
	if back, err := undo.Undo(t.Context(), out, transform.Nearest); err != nil || back.Size != m.Size {
		t.Errorf("%v, %v", back, err)
	}
}

// TestRegions says where boxes lie: odd and even sizes, at the edges.
func TestRegions(t *testing.T) {
	size := [3]int{10, 11, 12}
	for _, c := range []struct {
		name       string
		r          transform.Region
		start, box [3]int
	}{
		{"center", transform.CropCenter{Size: [3]int{5, 4, 20}}, [3]int{3, 3, 0}, [3]int{5, 4, 12}},
		{"fit cuts as center does", transform.Fit{Size: [3]int{5, 4, 12}}, [3]int{3, 3, 0}, [3]int{5, 4, 12}},
		{"fit pads", transform.Fit{Size: [3]int{13, -1, 4}}, [3]int{-1, 0, 4}, [3]int{13, 11, 4}},
		{"fit pads at the end", transform.Fit{Size: [3]int{13, 4, 13}, AtEnd: true}, [3]int{0, 3, 0}, [3]int{13, 4, 13}},
		{"around, moved in", transform.CropAround([3]int{1, 5, 11}, [3]int{6, 3, 6}), [3]int{0, 4, 8}, [3]int{6, 3, 4}},
		{"divisible", transform.PadDivisible{By: [3]int{4, 0, 5}}, [3]int{-1, 0, -1}, [3]int{12, 11, 15}},
	} {
		start, box, err := c.r.Box(size)
		if err != nil || start != c.start || box != c.box {
			t.Errorf("%s: %v from %v, %v; want %v from %v", c.name, box, start, err, c.box, c.start)
		}
	}
}
