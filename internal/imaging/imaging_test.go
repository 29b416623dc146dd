package imaging

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func oblique(size [3]int) Grid {
	a := Affine{{-0.8, 0.1, 0.2, 30}, {0.1, 1.1, -0.3, -20}, {0.05, 0.2, 2.4, 7}, {0, 0, 0, 1}}
	return Grid{Size: size, Affine: a}
}

func TestInverseUndoesApply(t *testing.T) {
	g := oblique([3]int{3, 4, 5})
	inv, ok := g.Affine.Inverse()
	if !ok {
		t.Fatal("not invertible")
	}
	p := [3]float64{1.5, -2, 11}
	q := inv.Apply(g.Affine.Apply(p))
	for i := range p {
		if math.Abs(p[i]-q[i]) > 1e-12 {
			t.Errorf("axis %d: %g, want %g", i, q[i], p[i])
		}
	}
	if _, ok := (Affine{}).Inverse(); ok {
		t.Error("a zero matrix was inverted")
	}
}

func TestOrientation(t *testing.T) {
	for _, tt := range []struct {
		a    Affine
		want string
	}{
		{Identity(), "RAS"},
		{Affine{{-1, 0, 0, 0}, {0, -1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}, "LPS"},
		{Affine{{0, 0, 2, 0}, {-3, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 0, 1}}, "PSR"},
		{oblique([3]int{1, 1, 1}).Affine, "LAS"},
	} {
		if got := (Grid{Affine: tt.a}).Orientation(); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.a, got, tt.want)
		}
	}
}

func TestOrientKeepsEveryVoxelInPlace(t *testing.T) {
	all := []string{"RAS", "LPS", "SAR", "PIL", "ILA", "RSP"}
	rapid.Check(t, func(t *rapid.T) {
		size := [3]int{rapid.IntRange(1, 9).Draw(t, "x"), rapid.IntRange(1, 9).Draw(t, "y"), rapid.IntRange(1, 9).Draw(t, "z")}
		g := oblique(size)
		codes := rapid.SampledFrom(all).Draw(t, "codes")
		o, m, err := g.Orient(codes)
		if err != nil {
			t.Fatal(err)
		}
		if o.Orientation() != codes {
			t.Fatalf("oriented to %s, want %s", o.Orientation(), codes)
		}
		var p, s [3]float64
		for i := range p {
			n := rapid.IntRange(0, o.Size[i]-1).Draw(t, "voxel")
			p[i], s[m.Source[i]] = float64(n), float64(n)
			if m.Flip[i] {
				s[m.Source[i]] = float64(g.Size[m.Source[i]] - 1 - n)
			}
		}
		a, b := o.Affine.Apply(p), g.Affine.Apply(s)
		for i := range a {
			if math.Abs(a[i]-b[i]) > 1e-9 {
				t.Fatalf("voxel %v of the oriented grid lies at %v, its source at %v", p, a, b)
			}
		}
	})
}

func TestOrientRefusesBadCodes(t *testing.T) {
	for _, c := range []string{"", "RA", "RAL", "XYZ", "RRA", "RASS", "ras"} {
		if _, _, err := oblique([3]int{2, 2, 2}).Orient(c); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", c, err)
		}
	}
}

func TestDistance(t *testing.T) {
	g := oblique([3]int{10, 20, 30})
	if d := g.Distance(g); d > 1e-12 {
		t.Errorf("a grid is %g away from itself", d)
	}
	moved := g
	moved.Affine[0][3] += 0.8 // one voxel along x is mostly 0.8 mm of R
	if d := g.Distance(moved); math.Abs(d-0.98) > 0.05 {
		t.Errorf("moved grid is %g voxels away", d)
	}
	scaled := g
	scaled.Affine[2][2] *= 1.01 // 29 slices × 1 %
	if d := g.Distance(scaled); d < 0.25 || d > 0.35 {
		t.Errorf("stretched grid is %g voxels away", d)
	}
	other := g
	other.Size[0]++
	if !math.IsInf(g.Distance(other), 1) {
		t.Error("grids of different size have a finite distance")
	}
}

func TestValidateNamesTheProblem(t *testing.T) {
	nan := oblique([3]int{2, 2, 2})
	nan.Affine[1][2] = math.NaN()
	flat := oblique([3]int{2, 2, 2})
	flat.Affine[0], flat.Affine[1] = [4]float64{}, [4]float64{}
	for _, tt := range []struct {
		g    Grid
		kind error
		want string
	}{
		{oblique([3]int{0, 2, 2}), ErrFormat, "0×2×2"},
		{oblique([3]int{math.MaxInt64, 2, 2}), ErrLimit, "overflow"},
		{oblique([3]int{1 << 31, 1 << 31, 1 << 31}), ErrLimit, "overflow"},
		{nan, ErrFormat, "row 1, column 2"},
		{flat, ErrFormat, "inverted"},
		{scaled(1e-200, 1e100, 1e100), ErrFormat, "a voxel is 0 mm long along axis 0"},
		{scaled(1e-100, 1e200, 1e-100), ErrFormat, "a voxel is +Inf mm long along axis 1"},
		{scaled(0, 1, 1), ErrFormat, "a voxel is 0 mm long along axis 0"},
	} {
		err := tt.g.Validate()
		if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v", tt.g.Size, err)
		}
	}
}

func scaled(x, y, z float64) Grid {
	return Grid{Size: [3]int{2, 2, 2}, Affine: Affine{{x, 0, 0, 0}, {0, y, 0, 0}, {0, 0, z, 0}, {0, 0, 0, 1}}}
}

func TestEveryTypeStoresAndScales(t *testing.T) {
	g := Grid{Size: [3]int{2, 1, 1}, Affine: Identity()}
	for dt := Uint8; dt <= Float64; dt++ {
		v := NewVolume(g, 2, dt)
		if v.Data.Type() != dt || v.Data.Len() != 4 {
			t.Errorf("%s: type %s, %d voxels", dt, v.Data.Type(), v.Data.Len())
		}
		if p, ok := ParseDataType(dt.String()); !ok || p != dt {
			t.Errorf("%s does not parse back", dt)
		}
		if err := v.Validate(); err != nil {
			t.Error(err)
		}
	}
	v := NewVolume(g, 2, Int16)
	copy(v.Data.(Samples[int16]), []int16{-3, 4, 100, 200})
	v.Slope, v.Intercept = 0.5, 10
	got := make([]float32, 2)
	v.Float32s(got, 1, 0)
	if got[0] != 60 || got[1] != 110 || v.At(0, 0, 0, 0) != 8.5 {
		t.Errorf("scaled values %v, %g", got, v.At(0, 0, 0, 0))
	}
}

func TestLabelMapOf(t *testing.T) {
	g := Grid{Size: [3]int{2, 2, 1}, Affine: Identity()}
	f := NewVolume(g, 1, Float32)
	copy(f.Data.(Samples[float32]), []float32{0, 2, 65535, 7})
	l, err := LabelMapOf(f)
	if err != nil || l.Data[2] != 65535 || l.Data[1] != 2 {
		t.Fatalf("%v, %v", l, err)
	}
	for _, bad := range []float32{0.5, -1, 65536, float32(math.NaN()), float32(math.Inf(1))} {
		f.Data.(Samples[float32])[3] = bad
		if _, err := LabelMapOf(f); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "(1, 1, 0)") {
			t.Errorf("%g: %v", bad, err)
		}
	}
	if _, err := LabelMapOf(NewVolume(g, 2, Uint8)); !errors.Is(err, ErrFormat) {
		t.Errorf("two channels: %v", err)
	}
}

func TestLabelMapVolumeRefusesOverflow(t *testing.T) {
	l := NewLabelMap(Grid{Size: [3]int{1, 1, 2}, Affine: Identity()})
	l.Data[1] = 300
	for dt := Uint8; dt <= Float64; dt++ {
		v, err := l.Volume(dt)
		if dt == Uint8 || dt == Int8 {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("%s: %v", dt, err)
			}
			continue
		}
		if err != nil || v.At(0, 0, 1, 0) != 300 {
			t.Errorf("%s: %v", dt, err)
		}
	}
}
