package morph_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/morph"
)

// random returns labels 0..kinds-1, in clumps.
func random(r *rand.Rand, size [3]int, kinds int) []uint16 {
	out := make([]uint16, size[0]*size[1]*size[2])
	for i := range out {
		out[i] = uint16(r.IntN(kinds))
		if i > 0 && r.IntN(3) == 0 {
			out[i] = out[i-1]
		}
	}
	return out
}

// flood numbers the components by the definition: by first voxel, neighbours
// from the offsets of the connectivity.
func flood(data []uint16, size [3]int, c morph.Connectivity) []int32 {
	out := make([]int32, len(data))
	var n int32
	for start, l := range data {
		if l == 0 || out[start] != 0 {
			continue
		}
		n++
		out[start] = n
		stack := []int{start}
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			for k := range 27 {
				d := [3]int{k%3 - 1, k/3%3 - 1, k/9 - 1}
				if !joined(d, c) {
					continue
				}
				x, y, z := i%size[0]+d[0], i/size[0]%size[1]+d[1], i/(size[0]*size[1])+d[2]
				if x < 0 || y < 0 || z < 0 || x >= size[0] || y >= size[1] || z >= size[2] {
					continue
				}
				if j := x + size[0]*(y+size[1]*z); data[j] == l && out[j] == 0 {
					out[j] = n
					stack = append(stack, j)
				}
			}
		}
	}
	return out
}

func joined(d [3]int, c morph.Connectivity) bool {
	steps := d[0]*d[0] + d[1]*d[1] + d[2]*d[2]
	switch c {
	case morph.Planar4:
		return d[2] == 0 && steps == 1
	case morph.Planar8:
		return d[2] == 0 && steps >= 1
	case morph.Faces:
		return steps == 1
	case morph.Edges:
		return steps == 1 || steps == 2
	case morph.Corners:
	}
	return steps >= 1
}

func TestFindIsFlooding(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, size := range [][3]int{{17, 13, 11}, {40, 30, 1}, {1, 1, 50}, {1, 25, 3}, {3, 1, 40}, {64, 2, 2}} {
		for _, c := range []morph.Connectivity{4, 8, 6, 18, 26} {
			for kinds := 2; kinds < 5; kinds++ {
				data := random(r, size, kinds)
				found, err := morph.Find(t.Context(), data, size, morph.FindOptions{Connectivity: c})
				if err != nil {
					t.Fatal(err)
				}
				got, err := found.Map(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				want := flood(data, size, c)
				if !slices.Equal(got, want) {
					t.Fatalf("size %v, connectivity %d, %d labels: another map", size, c, kinds)
				}
				checkList(t, found.List, data, want, size)
			}
		}
	}
}

// checkList recomputes what is said of every component.
func checkList(t *testing.T, list []morph.Component, data []uint16, number []int32, size [3]int) {
	t.Helper()
	want := make([]morph.Component, slices.Max(number))
	for i, n := range number {
		if n == 0 {
			continue
		}
		p, m := [3]int{i % size[0], i / size[0] % size[1], i / (size[0] * size[1])}, &want[n-1]
		if m.Voxels == 0 {
			*m = morph.Component{Label: data[i], First: i, Min: p, Max: p}
		}
		m.Voxels++
		for a := range 3 {
			m.Min[a], m.Max[a] = min(m.Min[a], p[a]), max(m.Max[a], p[a])
		}
	}
	if !slices.Equal(list, want) {
		t.Fatalf("components %+v, want %+v", list, want)
	}
}

// TestFillHolesIsFlooding compares with flooding the outside.
func TestFillHolesIsFlooding(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	size := [3]int{14, 12, 9}
	filled := 0
	for _, c := range []morph.Connectivity{4, 8, 6, 18, 26} {
		for range 10 {
			data := make([]uint16, size[0]*size[1]*size[2])
			for i := range data {
				if r.IntN(10) < 8 {
					data[i] = 5
				}
			}
			got := slices.Clone(data)
			if err := morph.FillHoles(t.Context(), got, size, nil, c); err != nil {
				t.Fatal(err)
			}
			rest := make([]uint16, len(data))
			for i, l := range data {
				rest[i] = 5 - l
			}
			number := flood(rest, size, c)
			open := map[int32]bool{}
			for i, n := range number {
				x, y, z := i%size[0], i/size[0]%size[1], i/(size[0]*size[1])
				if x == 0 || y == 0 || x == size[0]-1 || y == size[1]-1 || c != 4 && c != 8 && (z == 0 || z == size[2]-1) {
					open[n] = true
				}
			}
			for i, n := range number {
				want := data[i]
				if n != 0 && !open[n] {
					want = 5
					filled++
				}
				if got[i] != want {
					t.Fatalf("connectivity %d, voxel %d: %d, want %d", c, i, got[i], want)
				}
			}
		}
	}
	if filled == 0 {
		t.Error("no hole was filled")
	}
}

func grid(size [3]int, spacing [3]float64) imaging.Grid {
	return imaging.Grid{Size: size, Affine: imaging.Affine{{spacing[0], 0, 0, 0}, {0, spacing[1], 0, 0}, {0, 0, spacing[2], 0}, {0, 0, 0, 1}}}
}

func TestRules(t *testing.T) {
	row := func(labels ...uint16) *imaging.LabelMap {
		return &imaging.LabelMap{Grid: grid([3]int{len(labels), 1, 1}, [3]float64{1, 2, 3}), Data: labels} // 6 mm³
	}
	before := []uint16{1, 0, 1, 1, 2, 1, 1, 1, 0, 2}
	for _, tt := range []struct {
		name string
		rule morph.Rule
		want []uint16
	}{
		{"largest", morph.Rule{Label: 1, Largest: 1}, []uint16{0, 0, 0, 0, 2, 1, 1, 1, 0, 2}},
		{"two", morph.Rule{Label: 1, Largest: 2}, []uint16{0, 0, 1, 1, 2, 1, 1, 1, 0, 2}},
		{"volume", morph.Rule{Label: 1, MinVolume: 12}, []uint16{0, 0, 1, 1, 2, 1, 1, 1, 0, 2}},
		{"more volume", morph.Rule{Label: 1, MinVolume: 12.5}, []uint16{0, 0, 0, 0, 2, 1, 1, 1, 0, 2}},
		{"voxels", morph.Rule{Label: 1, MinVoxels: 4}, []uint16{0, 0, 0, 0, 2, 0, 0, 0, 0, 2}},
		{"volume and largest", morph.Rule{Label: 1, MinVolume: 19, Largest: 1}, []uint16{0, 0, 0, 0, 2, 0, 0, 0, 0, 2}},
		{"nothing", morph.Rule{Label: 1}, before},
		{"another", morph.Rule{Label: 9, Largest: 1, FillHoles: true, Smooth: 1}, before},
	} {
		l := row(slices.Clone(before)...)
		if err := morph.Apply(t.Context(), l, tt.rule); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(l.Data, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, l.Data, tt.want)
		}
	}
	for _, r := range []morph.Rule{{}, {Label: 1, MinVolume: -1}, {Label: 1, Smooth: math.NaN()}, {Label: 1, Largest: -1}, {Label: 1, Connectivity: 7}} {
		if err := morph.Apply(t.Context(), row(1), r); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// TestRuleFill: a rule fills background, and spares other classes inside.
func TestRuleFill(t *testing.T) {
	l := imaging.NewLabelMap(grid([3]int{5, 5, 5}, [3]float64{1, 1, 1}))
	for i := range l.Data {
		l.Data[i] = 1
	}
	l.Data[31+5], l.Data[62] = 0, 2 // both inside
	if err := morph.Apply(t.Context(), l, morph.Rule{Label: 1, FillHoles: true}); err != nil {
		t.Fatal(err)
	}
	if l.Data[36] != 1 || l.Data[62] != 2 {
		t.Errorf("the hole is %d, the other class %d; want 1, 2", l.Data[36], l.Data[62])
	}
}

func TestMajority(t *testing.T) {
	g := grid([3]int{9, 8, 7}, [3]float64{1, 1, 1})
	l := &imaging.LabelMap{Grid: g, Data: random(rand.New(rand.NewPCG(3, 3)), g.Size, 3)}
	got, err := morph.Majority(t.Context(), l, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, own := range l.Data {
		x, y, z := i%9, i/9%8, i/72
		var n [3]int
		for k := max(z-1, 0); k <= min(z+1, 6); k++ {
			for j := max(y-1, 0); j <= min(y+1, 7); j++ {
				for h := max(x-1, 0); h <= min(x+1, 8); h++ {
					n[l.Data[h+9*(j+8*k)]]++
				}
			}
		}
		want := own
		for label, count := range n {
			if count > n[want] {
				want = uint16(label)
			}
		}
		if got.Data[i] != want {
			t.Fatalf("voxel %d: %d, want %d of %v", i, got.Data[i], want, n)
		}
	}
	for _, radius := range []int{0, 5} {
		if _, err := morph.Majority(t.Context(), l, radius); fault.KindOf(err) != fault.Invalid {
			t.Errorf("radius %d: %v", radius, err)
		}
	}
}

// TestGaussian compares with the definition: normalised weights of all voxels
// within four sigma along each axis.
func TestGaussian(t *testing.T) {
	g := grid([3]int{11, 9, 6}, [3]float64{1, 0.8, 2})
	l := &imaging.LabelMap{Grid: g, Data: random(rand.New(rand.NewPCG(4, 4)), g.Size, 3)}
	const sigma = 0.9
	got, err := morph.Gaussian(t.Context(), l, sigma)
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for i := range l.Data {
		at := [3]int{i % 11, i / 11 % 9, i / 99}
		var sum [3]float64
		for j, label := range l.Data {
			w := 1.0
			for a, q := range [3]int{j % 11, j / 11 % 9, j / 99} {
				d := math.Abs(float64(q-at[a])) * g.Spacing()[a]
				if d > 4*sigma {
					w = 0
				}
				w *= math.Exp(-d * d / (2 * sigma * sigma))
			}
			sum[label] += w
		}
		for label, s := range sum {
			if s > sum[got.Data[i]]*(1+1e-5) {
				t.Fatalf("voxel %d: label %d with %v, %d has %v", i, got.Data[i], sum[got.Data[i]], label, s)
			}
		}
		if got.Data[i] != l.Data[i] {
			changed++
		}
	}
	if changed == 0 {
		t.Error("nothing changed")
	}
	for _, s := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := morph.Gaussian(t.Context(), l, s); fault.KindOf(err) != fault.Invalid {
			t.Errorf("sigma %g: %v", s, err)
		}
	}
}

// TestRuleSmooth: a spike goes, a notch closes, and a face on the volume's edge
// stays where it is: nothing beyond the edge pulls at it.
func TestRuleSmooth(t *testing.T) {
	l := imaging.NewLabelMap(grid([3]int{12, 12, 12}, [3]float64{1, 1, 1}))
	at := func(x, y, z int) *uint16 { return &l.Data[x+12*(y+12*z)] }
	for i := range l.Data {
		if i/144 < 6 {
			l.Data[i] = 3
		}
	}
	*at(5, 5, 6), *at(8, 8, 5), *at(2, 2, 6) = 3, 0, 4
	if err := morph.Apply(t.Context(), l, morph.Rule{Label: 3, Smooth: 1}); err != nil {
		t.Fatal(err)
	}
	for i, v := range l.Data {
		want := uint16(0)
		if i/144 < 6 {
			want = 3
		}
		if i == 2+12*(2+12*6) {
			want = 4
		}
		if v != want {
			t.Errorf("voxel (%d, %d, %d) is %d, want %d", i%12, i/12%12, i/144, v, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	data, size := make([]uint16, 8), [3]int{2, 2, 2}
	if _, err := morph.Find(t.Context(), data, size, morph.FindOptions{Connectivity: 7}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("connectivity: %v", err)
	}
	if _, err := morph.Find(t.Context(), data[:7], size, morph.FindOptions{Connectivity: 6}); err == nil {
		t.Error("a short array is taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := morph.Find(ctx, data, size, morph.FindOptions{Connectivity: 6}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	l := imaging.NewLabelMap(grid(size, [3]float64{1, 1, 1}))
	l.Data[0] = 1
	if err := morph.Apply(ctx, l, morph.Rule{Label: 1, Smooth: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("smoothing, cancelled: %v", err)
	}
	v := imaging.NewVolume(grid([3]int{2, 2, 1}, [3]float64{1, 1, 1}), 1, imaging.Uint8)
	if _, err := morph.Intensities(t.Context(), l, v, 0); !errors.Is(err, imaging.ErrShape) {
		t.Errorf("shape: %v", err)
	}
	if _, err := morph.Intensities(t.Context(), l, imaging.NewVolume(l.Grid, 1, imaging.Uint8), 0, 101); fault.KindOf(err) != fault.Invalid {
		t.Errorf("percentile: %v", err)
	}
}

// TestIntensityNaN: NaN voxels are left out, of counts too.
func TestIntensityNaN(t *testing.T) {
	nan := float32(math.NaN())
	l := &imaging.LabelMap{Grid: grid([3]int{4, 1, 1}, [3]float64{1, 1, 1}), Data: []uint16{1, 1, 1, 2}}
	v := &imaging.Volume{Grid: l.Grid, Channels: 1, Slope: 2, Data: imaging.Samples[float32]{1, nan, 4, nan}}
	got, err := morph.Intensities(t.Context(), l, v, 0, 25)
	if err != nil {
		t.Fatal(err)
	}
	if a := got[0]; a.Voxels != 2 || a.Mean != 5 || a.Std != 3 || a.Median != 5 || a.Percentiles[0] != 3.5 {
		t.Errorf("label 1: %+v", a)
	}
	if b := got[1]; b.Voxels != 0 || !math.IsNaN(b.Mean) || !math.IsNaN(b.Percentiles[0]) {
		t.Errorf("label 2: %+v", b)
	}
}

// BenchmarkFind labels 512³ voxels: 2000 balls, and noise of which 1 in 200
// voxels is set.
func BenchmarkFind(b *testing.B) {
	const n = 512
	size := [3]int{n, n, n}
	for _, tt := range []struct {
		name string
		data []uint16
	}{{"balls", balls(n, 2000)}, {"noise", noise(n, 200)}} {
		for _, c := range []morph.Connectivity{morph.Faces, morph.Corners} {
			b.Run(fmt.Sprintf("%s/%d", tt.name, c), func(b *testing.B) {
				b.SetBytes(2 * n * n * n)
				b.ReportAllocs()
				for b.Loop() {
					found, err := morph.Find(b.Context(), tt.data, size, morph.FindOptions{Connectivity: c})
					if err != nil {
						b.Fatal(err)
					}
					if _, err := found.Map(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func balls(n, count int) []uint16 {
	r := rand.New(rand.NewPCG(5, 5))
	out := make([]uint16, n*n*n)
	for range count {
		radius := 2 + r.IntN(20)
		c := [3]int{r.IntN(n), r.IntN(n), r.IntN(n)}
		for z := max(c[2]-radius, 0); z < min(c[2]+radius, n); z++ {
			for y := max(c[1]-radius, 0); y < min(c[1]+radius, n); y++ {
				for x := max(c[0]-radius, 0); x < min(c[0]+radius, n); x++ {
					if dx, dy, dz := x-c[0], y-c[1], z-c[2]; dx*dx+dy*dy+dz*dz <= radius*radius {
						out[x+n*(y+n*z)] = 1
					}
				}
			}
		}
	}
	return out
}

func noise(n, one int) []uint16 {
	r := rand.New(rand.NewPCG(6, 6))
	out := make([]uint16, n*n*n)
	for range len(out) / one {
		out[r.IntN(len(out))] = 1
	}
	return out
}
