package transform_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

var orders = [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}

// codes are all 48 orientations.
func codes() (all []string) {
	letters := [3][2]byte{{'L', 'R'}, {'P', 'A'}, {'I', 'S'}}
	for _, o := range orders {
		for signs := range 8 {
			var b [3]byte
			for i, w := range o {
				b[i] = letters[w][signs>>i&1]
			}
			all = append(all, string(b[:]))
		}
	}
	return all
}

// oriented is an affine of the given orientation and spacing, turned by angles
// and sheared.
func oriented(t interface{ Fatal(...any) }, code string, spacing, angle [3]float64, shear float64) imaging.Affine {
	base := imaging.Grid{Size: [3]int{2, 2, 2}, Affine: imaging.Identity()}
	g, _, err := base.Orient(code)
	if err != nil {
		t.Fatal(err)
	}
	a := g.Affine
	for d, s := range spacing {
		u, v := (d+1)%3, (d+2)%3
		turn := imaging.Identity()
		sin, cos := math.Sincos(angle[d])
		turn[u][u], turn[u][v], turn[v][u], turn[v][v] = cos, -sin, sin, cos
		scale := imaging.Identity()
		scale[d][d] = s
		a = turn.Mul(a).Mul(scale)
	}
	tilt := imaging.Identity()
	tilt[0][2] = shear
	return a.Mul(tilt)
}

// noise is a volume of random int16 voxels with a scaling.
func noise(g imaging.Grid, channels int, seed uint64) *imaging.Volume {
	v := imaging.NewVolume(g, channels, imaging.Int16)
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range v.Data.(imaging.Samples[int16]) {
		v.Data.(imaging.Samples[int16])[i] = int16(rng.IntN(2000) - 1000)
	}
	v.Slope, v.Intercept = 0.5, 10
	return v
}

// single runs a recipe as the chain of single steps.
func single(ctx context.Context, v *imaging.Volume, r transform.Recipe) (*transform.Image, transform.Undo, error) {
	order := r.Order
	if order == [3]int{} {
		order = xyz
	}
	m, err := transform.ImageOf(ctx, v, order)
	if err != nil {
		return nil, nil, err
	}
	var c transform.Chain
	if r.Orientation != "" { // codes name grid axes; the array has them in another order
		b := make([]byte, 3)
		for i, a := range order {
			b[i] = r.Orientation[a]
		}
		c = append(c, transform.Orient{Codes: string(b)})
	}
	c = append(c, r.Respace)
	if r.Crop != nil {
		c = append(c, r.Crop.(transform.Step))
	}
	m, undo, err := c.Apply(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range r.Normalize {
		for _, ch := range m.Data {
			if err := n.Apply(ctx, transform.Channels{ch}); err != nil {
				return nil, nil, err
			}
		}
	}
	if r.Pad == nil {
		return m, undo, nil
	}
	m, unpad, err := r.Pad.(transform.Step).Apply(ctx, m)
	return m, both{undo, unpad}, err
}

type both [2]transform.Undo

func (b both) Undo(ctx context.Context, m *transform.Image, mode transform.Mode) (*transform.Image, error) {
	m, err := b[1].Undo(ctx, m, mode)
	if err != nil {
		return nil, err
	}
	return b[0].Undo(ctx, m, mode)
}

// testPass compares the fused pass with the single steps, there and back.
func testPass(ctx context.Context, t interface {
	Fatal(...any)
	Fatalf(string, ...any)
}, v *imaging.Volume, r transform.Recipe, tolerance float64,
) {
	want, undo, err := single(ctx, v, r)
	if err != nil {
		t.Fatal(err)
	}
	p, err := transform.NewPass(v.Grid, r)
	if err != nil {
		t.Fatal(err)
	}
	got := &transform.Image{Layout: p.Layout()}
	if got.Size != want.Size || imaging.Grid(got.Layout).Distance(imaging.Grid(want.Layout)) > 1e-6 {
		t.Fatalf("lattice %v, want %v", got.Layout, want.Layout)
	}
	for c := range v.Channels {
		dst := slices.Repeat([]float32{float32(math.NaN())}, p.Layout().Voxels())
		if err := p.Run(ctx, transform.FromVolume(v, c), dst); err != nil {
			t.Fatal(err)
		}
		near(t, "fused", dst, want.Data[c], tolerance)
		got.Data = append(got.Data, want.Data[c])
	}
	a, err := undo.Undo(ctx, want, transform.Linear)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Undo().Undo(ctx, got, transform.Linear)
	if err != nil {
		t.Fatal(err)
	}
	if imaging.Grid(a.Layout).Distance(imaging.Grid(b.Layout)) > 1e-6 {
		t.Fatalf("the undo leads to %v, want %v", b.Layout, a.Layout)
	}
	for c := range a.Data {
		near(t, "undone", b.Data[c], a.Data[c], tolerance)
	}
}

func near(t interface{ Fatalf(string, ...any) }, what string, got, want []float32, tolerance float64) {
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i, x := range got {
		if !(math.Abs(float64(x-want[i])) <= tolerance) {
			t.Fatalf("%s: value %d is %g, want %g", what, i, x, want[i])
		}
	}
}

// TestPassEqualsSingleSteps draws geometry, oblique and sheared, and recipes.
func TestPassEqualsSingleSteps(t *testing.T) {
	all := codes()
	rapid.Check(t, func(rt *rapid.T) {
		float := func(lo, hi float64, label string) float64 { return rapid.Float64Range(lo, hi).Draw(rt, label) }
		triple := func(lo, hi float64, label string) (p [3]float64) {
			for d := range p {
				p[d] = float(lo, hi, label)
			}
			return p
		}
		whole := func(lo, hi int, label string) (p [3]int) {
			for d := range p {
				p[d] = rapid.IntRange(lo, hi).Draw(rt, label)
			}
			return p
		}
		var angle [3]float64
		var shear float64
		if rapid.Bool().Draw(rt, "oblique") {
			angle, shear = triple(-0.6, 0.6, "angle"), float(-0.2, 0.2, "shear")
		}
		g := imaging.Grid{
			Size:   whole(1, 9, "size"),
			Affine: oriented(rt, rapid.SampledFrom(all).Draw(rt, "orientation"), triple(0.5, 2, "voxel"), angle, shear),
		}
		r := transform.Recipe{
			Order:       rapid.SampledFrom(orders).Draw(rt, "order"),
			Orientation: rapid.SampledFrom(all).Draw(rt, "codes"),
			Respace: transform.Respace{
				Spacing: triple(0.4, 2.5, "spacing"),
				Outside: transform.Outside(rapid.IntRange(0, 3).Draw(rt, "outside")),
				Corners: rapid.Bool().Draw(rt, "corners"),
			},
		}
		if rapid.Bool().Draw(rt, "crop") {
			r.Crop = transform.CropCenter{Size: whole(-1, 6, "roi")}
		}
		for range rapid.IntRange(0, 3).Draw(rt, "steps") {
			r.Normalize = append(r.Normalize, rapid.SampledFrom([]transform.Intensity{
				transform.LinearStep([2]float64{-200, 300}, [2]float64{0, 1}, true),
				transform.LinearStep([2]float64{0, 1}, [2]float64{1, 3}, false),
				transform.Whole(func(ctx context.Context, c transform.Channels) error { return c.MinMax(ctx, [2]float64{-1, 1}) }),
			}).Draw(rt, "step"))
		}
		fill := transform.Fill{
			Mode:  rapid.SampledFrom([]transform.PadMode{"", transform.PadReplicate, transform.PadReflect, transform.PadCircular}).Draw(rt, "fill"),
			Value: -7,
		}
		r.Pad = rapid.SampledFrom([]transform.Padding{
			nil,
			transform.PadTo{Size: whole(0, 14, "to"), Fill: fill, AtEnd: rapid.Bool().Draw(rt, "end")},
			transform.PadDivisible{By: whole(0, 5, "by"), Fill: fill},
			transform.PadBorder{Before: whole(0, 4, "before"), After: whole(0, 4, "after"), Fill: fill},
		}).Draw(rt, "pad")
		testPass(t.Context(), rt, noise(g, 2, 5), r, 0.05) // voxels reach 500; coordinates within 1e-5 of a tie snap
	})
}

// TestPassAllOrientations goes from each of the 48 orientations to RAS and LPI,
// without interpolation: to the last bit.
func TestPassAllOrientations(t *testing.T) {
	all := codes()
	if len(all) != 48 || len(slices.Compact(slices.Sorted(slices.Values(all)))) != 48 {
		t.Fatalf("%d orientations", len(all))
	}
	for _, from := range all {
		for _, to := range []string{"RAS", "LPI"} {
			g := imaging.Grid{Size: [3]int{3, 4, 5}, Affine: oriented(t, from, [3]float64{1, 2, 3}, [3]float64{}, 0)}
			if g.Orientation() != from {
				t.Fatalf("the grid is %s, want %s", g.Orientation(), from)
			}
			r := transform.Recipe{
				Orientation: to, Crop: transform.CropBox{Start: [3]int{1, 0, 1}, Size: [3]int{2, 3, 2}},
				Normalize: []transform.Intensity{transform.LinearStep([2]float64{-500, 500}, [2]float64{0, 1}, false)},
				Pad:       transform.PadTo{Size: [3]int{4, 4, 4}},
			}
			testPass(t.Context(), t, noise(g, 1, 9), r, 0)
		}
	}
}

// TestPassRefuses names what a pass cannot do.
func TestPassRefuses(t *testing.T) {
	g := imaging.Grid{Size: [3]int{4, 4, 4}, Affine: imaging.Identity()}
	for name, r := range map[string]transform.Recipe{
		"cubic":             {Respace: transform.Respace{Mode: transform.Cubic}},
		"orientation":       {Orientation: "RAX"},
		"spacing":           {Respace: transform.Respace{Spacing: [3]float64{math.NaN(), 1, 1}}},
		"crop beyond":       {Crop: transform.Fit{Size: [3]int{9, 9, 9}}},
		"crop of nothing":   {Crop: transform.CropBox{Start: [3]int{9, 0, 0}, Size: [3]int{2, 2, 2}}},
		"padding that cuts": {Pad: transform.Fit{Size: [3]int{2, 9, 9}}},
		"padding mode":      {Pad: transform.PadTo{Size: [3]int{9, 9, 9}, Fill: transform.Fill{Mode: "wrap"}}},
		"border":            {Pad: transform.PadBorder{Before: [3]int{-1, 0, 0}}},
		"tensor too large":  {Pad: transform.PadTo{Size: [3]int{1 << 40, 1 << 40, 1 << 40}}},
	} {
		if _, err := transform.NewPass(g, r); fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.TooLarge {
			t.Errorf("%s: %v (kind %v)", name, err, fault.KindOf(err))
		}
	}
	p, err := transform.NewPass(g, transform.Recipe{})
	if err != nil {
		t.Fatal(err)
	}
	src := transform.FromTensor(make([]float32, 64))
	if err := p.Run(t.Context(), src, make([]float32, 3)); !errors.Is(err, imaging.ErrShape) {
		t.Errorf("short tensor: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx, src, make([]float32, 64)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
