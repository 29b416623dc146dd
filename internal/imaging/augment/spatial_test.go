package augment_test

import (
	"math"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging/augment"
)

// coordinates is a patch whose three channels are the voxel's x, y and z, and
// whose label is one of them.
func coordinates(size [3]int, axis int) *augment.Patch {
	p := augment.NewPatch(3, size, true)
	i := 0
	for x := range size[0] {
		for y := range size[1] {
			for z := range size[2] {
				at := [3]int{x, y, z}
				for c, k := range at {
					p.Channel(c)[i] = float32(k)
				}
				p.Labels[i] = uint16(at[axis])
				i++
			}
		}
	}
	return p
}

func apply(t testing.TB, p *augment.Patch, step uint64, steps ...augment.Step) {
	t.Helper()
	if err := augmenter(t, 2, steps...).Apply(t.Context(), augment.Key{Seed: 7, Case: "c", Step: step}, p); err != nil {
		t.Fatal(err)
	}
}

// each visits the voxels of a patch.
func each(p *augment.Patch, fn func(i int, at [3]int)) {
	i := 0
	for x := range p.Size[0] {
		for y := range p.Size[1] {
			for z := range p.Size[2] {
				fn(i, [3]int{x, y, z})
				i++
			}
		}
	}
}

// source returns where voxel i of a patch of coordinates came from.
func source(p *augment.Patch, i int) [3]float64 {
	return [3]float64{float64(p.Channel(0)[i]), float64(p.Channel(1)[i]), float64(p.Channel(2)[i])}
}

func TestFlipIsExact(t *testing.T) {
	size := [3]int{4, 5, 6}
	for axis := range 3 {
		f := &augment.Flip{}
		*[]*float64{&f.X, &f.Y, &f.Z}[axis] = 1
		p := coordinates(size, axis)
		apply(t, p, 0, augment.Step{Flip: f})
		each(p, func(i int, at [3]int) {
			want := at
			want[axis] = size[axis] - 1 - at[axis]
			if source(p, i) != [3]float64{float64(want[0]), float64(want[1]), float64(want[2])} {
				t.Fatalf("axis %d: voxel %v shows %v, want %v", axis, at, source(p, i), want)
			}
			if int(p.Labels[i]) != want[axis] {
				t.Fatalf("axis %d: voxel %v has the label of %d, want %d", axis, at, p.Labels[i], want[axis])
			}
		})
	}
}

// turned is the source of a voxel after quarter turns of axis a towards b:
// numpy.rot90 takes element (p, q) from (q, n-1-p).
func turned(at, size [3]int, a, b, turns int) [3]float64 {
	for range turns {
		at[a], at[b] = at[b], size[a]-1-at[a]
		size[a], size[b] = size[b], size[a]
	}
	return [3]float64{float64(at[0]), float64(at[1]), float64(at[2])}
}

// Rot90 gives each of the three turns of each plane, exactly, and only half
// turns where a plane is not square; labels follow.
func TestRot90IsExact(t *testing.T) {
	planes := map[string][2]int{"xy": {0, 1}, "yz": {1, 2}, "zx": {2, 0}}
	for name, axes := range planes {
		for _, size := range [][3]int{{5, 5, 5}, {4, 5, 6}} {
			var seen [4]int
			for step := range uint64(40) {
				p := coordinates(size, axes[0])
				apply(t, p, step, augment.Step{Rot90: &augment.Rot90{Probability: 1, Planes: []string{name}}})
				for turns := 1; turns <= 3; turns++ {
					ok := true
					each(p, func(i int, at [3]int) {
						want := turned(at, size, axes[0], axes[1], turns)
						ok = ok && source(p, i) == want && float64(p.Labels[i]) == want[axes[0]]
					})
					if ok {
						seen[turns]++
					}
				}
			}
			total := seen[1] + seen[2] + seen[3]
			square := size[0] == size[1]
			if total != 40 || (square && (seen[1] == 0 || seen[2] == 0 || seen[3] == 0)) || (!square && seen[2] != 40) {
				t.Errorf("plane %s, size %v: turns %v", name, size, seen)
			}
		}
	}
}

// A rotation by 90 degrees is the quarter turn, exactly.
func TestRotation90EqualsQuarterTurn(t *testing.T) {
	size := [3]int{7, 7, 7}
	quarter := augment.Range{90, 90}
	tests := []struct {
		name   string
		rotate augment.Rotate
		a, b   int
	}{
		{"x", augment.Rotate{Probability: 1, X: quarter}, 1, 2},
		{"y", augment.Rotate{Probability: 1, Y: quarter}, 2, 0},
		{"z", augment.Rotate{Probability: 1, Z: quarter}, 0, 1},
	}
	for _, tt := range tests {
		p := coordinates(size, tt.a)
		apply(t, p, 0, augment.Step{Spatial: &augment.Spatial{Rotate: &tt.rotate}})
		each(p, func(i int, at [3]int) {
			want := turned(at, size, tt.a, tt.b, 1)
			if source(p, i) != want || float64(p.Labels[i]) != want[tt.a] {
				t.Fatalf("about %s: voxel %v shows %v and label %d, want %v", tt.name, at, source(p, i), p.Labels[i], want)
			}
		})
	}
}

// Every part of the affine map against its formula: linear images are
// interpolated exactly, so a patch of coordinates shows the map itself.
func TestAffineAgainstFormula(t *testing.T) {
	size := [3]int{9, 11, 13}
	c := [3]float64{4, 5, 6}
	half := augment.Range{0.5, 0.5}
	sin, cos := math.Sincos(math.Pi / 6)
	tests := []struct {
		name    string
		spacing [3]float64
		s       augment.Spatial
		want    func(d [3]float64) [3]float64 // place from the centre → source from the centre
	}{
		{"scale 2", [3]float64{}, augment.Spatial{Scale: &augment.Scale{Probability: 1, Factor: augment.Range{2, 2}}}, func(d [3]float64) [3]float64 {
			return [3]float64{d[0] / 2, d[1] / 2, d[2] / 2}
		}},
		{"shift", [3]float64{}, augment.Spatial{Translate: &augment.Translate{Probability: 1, Voxels: augment.Range{1.25, 1.25}}}, func(d [3]float64) [3]float64 {
			return [3]float64{d[0] - 1.25, d[1] - 1.25, d[2] - 1.25}
		}},
		{"shear", [3]float64{}, augment.Spatial{Shear: &augment.Shear{Probability: 1, Factor: half}}, func(d [3]float64) [3]float64 {
			y := d[1] - d[2]/2
			return [3]float64{d[0] - y/2 - d[2]/2, y, d[2]}
		}},
		{"turn in mm", [3]float64{1, 2, 1}, augment.Spatial{Rotate: &augment.Rotate{Probability: 1, Z: augment.Range{30, 30}}}, func(d [3]float64) [3]float64 {
			x, y := d[0], 2*d[1]
			return [3]float64{cos*x + sin*y, (cos*y - sin*x) / 2, d[2]}
		}},
	}
	for _, tt := range tests {
		p := coordinates(size, 0)
		p.Spacing = tt.spacing
		apply(t, p, 0, augment.Step{Spatial: &tt.s})
		checked := 0
		each(p, func(i int, at [3]int) {
			d := [3]float64{float64(at[0]) - c[0], float64(at[1]) - c[1], float64(at[2]) - c[2]}
			want := tt.want(d)
			inside := true
			for k := range want {
				want[k] += c[k]
				inside = inside && want[k] >= 0 && want[k] <= float64(size[k]-1)
			}
			if !inside {
				return
			}
			checked++
			for k, s := range source(p, i) {
				if math.Abs(s-want[k]) > 1e-5 {
					t.Fatalf("%s: voxel %v shows %v, want %v", tt.name, at, source(p, i), want)
				}
			}
		})
		if checked < 300 {
			t.Errorf("%s: only %d voxels were inside", tt.name, checked)
		}
	}
}

// Labels show the same place as the image, to half a voxel, whatever the map;
// a landmark is found where the image says it is.
func TestLabelsFollowTheImage(t *testing.T) {
	size := [3]int{24, 20, 28}
	for axis := range 3 {
		for step := range uint64(8) {
			src := coordinates(size, axis)
			for i := range src.Labels {
				src.Labels[i]++ // padding is 0
			}
			const gone = -1e9
			a, err := augment.New(augment.Recipe{PadValue: gone, Transforms: everything().Transforms[:3]}, augment.Options{})
			if err != nil {
				t.Fatal(err)
			}
			p := augment.NewPatch(3, [3]int{20, 20, 20}, true)
			if err := a.Sample(t.Context(), augment.Key{Step: step}, src, [3]int{2, 0, 4}, p); err != nil {
				t.Fatal(err)
			}
			inside := 0
			each(p, func(i int, at [3]int) {
				s := source(p, i)
				if min(s[0], s[1], s[2]) < 0 {
					return // the padding takes part
				}
				inside++
				if d := math.Abs(float64(p.Labels[i]) - 1 - s[axis]); d > 0.5+1e-4 {
					t.Fatalf("step %d: voxel %v shows %v and label %d on axis %d", step, at, s, p.Labels[i]-1, axis)
				}
			})
			if inside < 2000 {
				t.Errorf("step %d: only %d voxels show the source", step, inside)
			}
		}
	}
}

// Displacements stay within the magnitude, have about the stated size, and do
// not fold space.
func TestElasticDisplacement(t *testing.T) {
	size := [3]int{40, 36, 44}
	const magnitude, spacing = 4.0, 10.0
	var square float64
	n := 0
	for step := range uint64(6) {
		p := coordinates(size, 0)
		apply(t, p, step, augment.Step{Spatial: &augment.Spatial{
			Elastic: &augment.Elastic{Probability: 1, Spacing: spacing, Magnitude: augment.Range{magnitude, magnitude}},
		}})
		stride := [3]int{size[1] * size[2], size[2], 1}
		each(p, func(i int, at [3]int) {
			for k := range at { // beyond 5 voxels from the border, nothing is padded
				if at[k] < 5 || at[k] >= size[k]-5 {
					return
				}
			}
			s := source(p, i)
			for k := range s {
				d := s[k] - float64(at[k])
				if math.Abs(d) > magnitude {
					t.Fatalf("voxel %v is displaced by %.2f", at, d)
				}
				square += d * d
				n++
				if next := source(p, i+stride[k]); next[k] <= s[k] {
					t.Fatalf("space folds at %v: %.3f, then %.3f", at, s[k], next[k])
				}
			}
		})
	}
	if rms := math.Sqrt(square / float64(n)); rms < 0.12*magnitude || rms > 0.28*magnitude {
		t.Errorf("root mean square %.3f, want about a fifth of %g", rms, magnitude)
	}
}

// Beyond the source there is what the recipe says, with and without a map.
func TestPadding(t *testing.T) {
	src := coordinates([3]int{4, 4, 4}, 2)
	shift := augment.Step{Spatial: &augment.Spatial{Translate: &augment.Translate{Probability: 1, Voxels: augment.Range{6, 6}}}}
	tests := []struct {
		name   string
		recipe augment.Recipe
		value  float32
		label  uint16
	}{
		{"constant", augment.Recipe{PadValue: -7, PadLabel: 99}, -7, 99},
		{"border", augment.Recipe{Padding: augment.PadBorder}, 0, 0},
	}
	for _, tt := range tests {
		for _, steps := range [][]augment.Step{nil, {shift}} {
			r := tt.recipe
			r.Transforms = steps
			a, err := augment.New(r, augment.Options{})
			if err != nil {
				t.Fatal(err)
			}
			origin := [3]int{-6, -6, -6}
			if steps != nil {
				origin = [3]int{}
			}
			p := augment.NewPatch(3, [3]int{4, 4, 4}, true)
			if err := a.Sample(t.Context(), augment.Key{}, src, origin, p); err != nil {
				t.Fatal(err)
			}
			for i, v := range p.Data {
				if v != tt.value {
					t.Fatalf("%s, %d steps: voxel %d is %g, want %g", tt.name, len(steps), i, v, tt.value)
				}
			}
			if slices.Max(p.Labels) != tt.label || slices.Min(p.Labels) != tt.label {
				t.Errorf("%s, %d steps: labels %v", tt.name, len(steps), p.Labels[:4])
			}
		}
	}
	// The upper end, in part.
	a, err := augment.New(augment.Recipe{Padding: augment.PadBorder}, augment.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := augment.NewPatch(3, [3]int{1, 1, 6}, true)
	if err := a.Sample(t.Context(), augment.Key{}, src, [3]int{9, 1, 2}, p); err != nil {
		t.Fatal(err)
	}
	if got := p.Channel(2); !slices.Equal(got, []float32{2, 3, 3, 3, 3, 3}) || p.Channel(0)[0] != 3 || p.Labels[1] != 3 {
		t.Errorf("border at the upper end: z %v, x %g", got, p.Channel(0)[0])
	}
}
