package transform_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
	"github.com/voxloop/voxloop/internal/testkit"
)

// turned is a lattice rotated about z.
func turned(angle, spacing float64) imaging.Affine {
	c, s := math.Cos(angle)*spacing, math.Sin(angle)*spacing
	return imaging.Affine{{c, -s, 0, 1}, {s, c, 0, -2}, {0, 0, spacing, 3}, {0, 0, 0, 1}}
}

// TestTypes samples the same image stored as every type, with a scaling, along
// the axes and rotated.
func TestTypes(t *testing.T) {
	size := [3]int{7, 6, 5}
	grids := map[string]imaging.Grid{
		"along the axes": {Size: [3]int{9, 11, 7}, Affine: imaging.Affine{{0.6, 0, 0, 0.2}, {0, 0.5, 0, -0.1}, {0, 0, 0.7, 0}, {0, 0, 0, 1}}},
		"rotated":        {Size: [3]int{6, 6, 6}, Affine: turned(0.4, 0.8)},
	}
	for name, to := range grids {
		for _, zeros := range []bool{false, true} {
			var want []float32
			for d := imaging.Uint8; d <= imaging.Float64; d++ {
				v := imaging.NewVolume(imaging.Grid{Size: size, Affine: imaging.Identity()}, 2, d)
				fillVolume(v, func(i int) uint8 { return uint8(i * 37 % 101) })
				v.Slope, v.Intercept = 0.5, -3
				got := sample(t, v, 1, to, transform.Options{Outside: map[bool]transform.Outside{true: transform.Zero}[zeros]})
				if want == nil {
					want = reference(v, 1, to, zeros)
				}
				if e := testkit.MaxDiff(t, got, want); e > 1e-4 {
					t.Errorf("%s, zeros %v, %s: off by %g", name, zeros, d, e)
				}
			}
		}
	}
}

func fillVolume(v *imaging.Volume, f func(i int) uint8) {
	switch d := v.Data.(type) {
	case imaging.Samples[uint8]:
		set(d, f)
	case imaging.Samples[int8]:
		set(d, f)
	case imaging.Samples[uint16]:
		set(d, f)
	case imaging.Samples[int16]:
		set(d, f)
	case imaging.Samples[uint32]:
		set(d, f)
	case imaging.Samples[int32]:
		set(d, f)
	case imaging.Samples[uint64]:
		set(d, f)
	case imaging.Samples[int64]:
		set(d, f)
	case imaging.Samples[float32]:
		set(d, f)
	case imaging.Samples[float64]:
		set(d, f)
	}
}

func set[T imaging.Number](d imaging.Samples[T], f func(i int) uint8) {
	for i := range d {
		d[i] = T(f(i))
	}
}

// reference interpolates one voxel at a time, as the definition says.
func reference(v *imaging.Volume, channel int, to imaging.Grid, zeros bool) []float32 {
	inv, _ := v.Affine.Inverse()
	m := inv.Mul(to.Affine)
	var out []float32
	for x := range to.Size[0] {
		for y := range to.Size[1] {
			for z := range to.Size[2] {
				p := m.Apply([3]float64{float64(x), float64(y), float64(z)})
				var sum float64
				for c := range 8 {
					w := 1.0
					var at [3]int
					for d := range 3 {
						q := p[d]
						if !zeros {
							q = min(max(q, 0), float64(v.Size[d]-1))
						}
						f := math.Floor(q)
						at[d] = int(f)
						if c>>d&1 == 1 {
							at[d]++
							w *= q - f
						} else {
							w *= 1 - (q - f)
						}
					}
					if w != 0 && inside(at, v.Size) {
						sum += w * v.At(at[0], at[1], at[2], channel)
					}
				}
				out = append(out, float32(sum))
			}
		}
	}
	return out
}

func inside(at, size [3]int) bool {
	for d := range 3 {
		if at[d] < 0 || at[d] >= size[d] {
			return false
		}
	}
	return true
}

// TestOrders goes from any order of array axes to any other and back.
func TestOrders(t *testing.T) {
	g := imaging.Grid{Size: [3]int{4, 5, 6}, Affine: turned(0.2, 1.1)}
	for _, a := range orders {
		src := transform.Ordered(g, a)
		data := make([]float32, src.Voxels())
		for i := range data {
			data[i] = float32(i)
		}
		for _, b := range orders {
			dst := transform.Ordered(g, b)
			there, err := transform.NewPlan(src, dst, transform.Options{})
			if err != nil {
				t.Fatal(err)
			}
			back, err := transform.NewPlan(dst, src, transform.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if !there.Exact() || there.Identity() != (a == b) {
				t.Errorf("%v to %v: exact %v, identity %v", a, b, there.Exact(), there.Identity())
			}
			mid, end := make([]float32, len(data)), make([]float32, len(data))
			if err := errors.Join(there.Run(t.Context(), transform.FromTensor(data), mid), back.Run(t.Context(), transform.FromTensor(mid), end)); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(data, end) {
				t.Errorf("%v to %v and back changes voxels", a, b)
			}
			// Voxel (1, 2, 3) of the grid is where both say.
			if got, want := mid[place(b, g.Size)], data[place(a, g.Size)]; got != want {
				t.Errorf("%v to %v: voxel (1, 2, 3) is %g, want %g", a, b, got, want)
			}
		}
	}
}

func place(order, size [3]int) int {
	at := [3]int{1, 2, 3}
	return (at[order[0]]*size[order[1]]+at[order[1]])*size[order[2]] + at[order[2]]
}

func TestPlanRefusesAndStops(t *testing.T) {
	g := imaging.Grid{Size: [3]int{3, 3, 3}, Affine: imaging.Identity()}
	flat := g
	flat.Affine[1][1] = 0
	if _, err := transform.NewPlan(transform.Stored(flat), transform.Stored(g), transform.Options{}); !errors.Is(err, imaging.ErrFormat) {
		t.Errorf("singular affine: %v", err)
	}
	if _, err := transform.Spacing(flat, [3]float64{1, 1, 1}); !errors.Is(err, imaging.ErrFormat) {
		t.Errorf("spacing of a singular affine: %v", err)
	}
	huge := imaging.Grid{Size: [3]int{1 << 20, 1 << 20, 1 << 20}, Affine: imaging.Identity()}
	if _, err := transform.Spacing(huge, [3]float64{1e-4, 1e-4, 1e-4}); !errors.Is(err, imaging.ErrLimit) {
		t.Errorf("spacing of a huge grid: %v", err)
	}
	p, err := transform.NewPlan(transform.Stored(g), transform.Stored(g), transform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	src := transform.FromTensor(make([]float32, 27))
	if err := p.Run(t.Context(), src, make([]float32, 5)); !errors.Is(err, imaging.ErrShape) {
		t.Errorf("short destination: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx, src, make([]float32, 27)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestReady says which part of an axis hangs on the first planes of the source.
func TestReady(t *testing.T) {
	src := transform.Layout{Size: [3]int{10, 2, 2}, Affine: imaging.Identity()}
	for _, c := range []struct {
		scale, offset float64
		limit         int
		from, to      int
	}{
		{0.5, 0, 4, 0, 7}, // 0, .5, …, 3: the next, 3.5, needs plane 4
		{0.5, 0, 10, 0, 19},
		{-0.5, 9, 4, 12, 19},
		{2, 0, 5, 0, 3},
	} {
		n := int(9/math.Abs(c.scale)) + 1
		a := imaging.Identity()
		a[0][0], a[0][3] = c.scale, c.offset
		p, err := transform.NewPlan(src, transform.Layout{Size: [3]int{n, 2, 2}, Affine: a}, transform.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if axis, from, to, ok := p.Ready(c.limit); axis != 0 || from != c.from || to != c.to || !ok {
			t.Errorf("%+v: axis %d, [%d, %d), %v", c, axis, from, to, ok)
		}
	}
	a := turned(0.4, 1)
	p, err := transform.NewPlan(src, transform.Layout{Size: [3]int{5, 5, 5}, Affine: a}, transform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, ok := p.Ready(5); ok {
		t.Error("a rotated plan says that parts are ready")
	}
}

func TestParallel(t *testing.T) {
	hit := make([]int, 101)
	err := transform.Parallel(t.Context(), len(hit), func(_ context.Context, from, to int) error {
		for i := from; i < to; i++ {
			hit[i]++
		}
		return nil
	})
	if err != nil || slices.ContainsFunc(hit, func(n int) bool { return n != 1 }) {
		t.Errorf("%v, visits %v", err, hit)
	}
	err = transform.Parallel(t.Context(), 8, func(_ context.Context, from, _ int) error {
		var none []int
		return fmt.Errorf("read %d", none[from])
	})
	if err == nil {
		t.Error("a panic is lost")
	}
}

func TestPadIndex(t *testing.T) {
	for mode, want := range map[transform.PadMode][]int{ // of -6..8 on an axis of 3
		transform.PadConstant:  {-1, -1, -1, -1, -1, -1, 0, 1, 2, -1, -1, -1, -1, -1, -1},
		transform.PadReplicate: {0, 0, 0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 2},
		transform.PadReflect:   {2, 1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1, 0},
		transform.PadCircular:  {0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2},
	} {
		var got []int
		for i := -6; i <= 8; i++ {
			got = append(got, transform.PadIndex(mode, i, 3))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", mode, got, want)
		}
	}
	if i := transform.PadIndex(transform.PadReflect, -4, 1); i != 0 {
		t.Errorf("reflection of one voxel: %d", i)
	}
}

// flood finds the component sizes by brute force and clears all but the largest
// of every class.
func flood(data []uint16, size [3]int, connectivity int, joint bool) {
	class := func(l uint16) uint16 {
		if joint && l != 0 {
			return 1
		}
		return l
	}
	seen := make([]bool, len(data))
	best := map[uint16][]int{}
	for i, l := range data {
		if l == 0 || seen[i] {
			continue
		}
		comp, stack := []int{}, []int{i}
		seen[i] = true
		for len(stack) > 0 {
			v := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			comp = append(comp, v)
			at := [3]int{v / (size[1] * size[2]), v / size[2] % size[1], v % size[2]}
			for w := range 27 {
				d := [3]int{w/9 - 1, w/3%3 - 1, w%3 - 1}
				steps := abs(d[0]) + abs(d[1]) + abs(d[2])
				q := [3]int{at[0] + d[0], at[1] + d[1], at[2] + d[2]}
				if steps == 0 || steps > map[int]int{6: 1, 18: 2, 26: 3}[connectivity] || !inside(q, size) {
					continue
				}
				n := (q[0]*size[1]+q[1])*size[2] + q[2]
				if !seen[n] && data[n] != 0 && class(data[n]) == class(l) {
					seen[n] = true
					stack = append(stack, n)
				}
			}
		}
		if len(comp) > len(best[class(l)]) {
			best[class(l)] = comp
		}
	}
	keep := make([]bool, len(data))
	for _, comp := range best {
		for _, v := range comp {
			keep[v] = true
		}
	}
	for i := range data {
		if !keep[i] {
			data[i] = 0
		}
	}
}

func abs(i int) int { return max(i, -i) }

func TestLargestAgainstFlood(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := [3]int{rapid.IntRange(1, 5).Draw(t, "i"), rapid.IntRange(1, 5).Draw(t, "j"), rapid.IntRange(1, 6).Draw(t, "k")}
		n := size[0] * size[1] * size[2]
		data := rapid.SliceOfN(rapid.SampledFrom([]uint16{0, 0, 1, 1, 2}), n, n).Draw(t, "data")
		connectivity := rapid.SampledFrom([]int{6, 18, 26}).Draw(t, "connectivity")
		joint := rapid.Bool().Draw(t, "joint")
		want := slices.Clone(data)
		flood(want, size, connectivity, joint)
		if err := (transform.Keep{Joint: joint, Connectivity: connectivity}).Largest(data, size); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(data, want) {
			t.Fatalf("kept %v, want %v", data, want)
		}
	})
}

func TestPercentilesAgainstSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	a, b := make([]float32, 70000), make([]float32, 333)
	for i := range a {
		a[i] = float32(rng.NormFloat64() * 100)
	}
	for i := range b {
		b[i] = float32(i%5) - 2
	}
	all := slices.Sorted(slices.Values(slices.Concat(a, b)))
	q := []float64{0, 0.5, 25, 50, 99.5, 100}
	got, err := transform.Channels{a, b}.Percentiles(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range q {
		at := p / 100 * float64(len(all)-1)
		lo := int(at)
		hi := min(lo+1, len(all)-1)
		want := float64(all[lo]) + (at-float64(lo))*(float64(all[hi])-float64(all[lo]))
		if math.Abs(got[i]-want) > 0.01 {
			t.Errorf("percentile %g: %g, want %g", p, got[i], want)
		}
	}
}

// A percentile that falls on a value is that value, whatever stands beside it.
func TestPercentileBesideInfinity(t *testing.T) {
	inf := float32(math.Inf(1))
	got, err := transform.Channels{{inf, 1, 2, inf, 0}}.Percentiles(t.Context(), []float64{50, 62.5, 75})
	if err != nil || got[0] != 2 || !math.IsInf(got[1], 1) || !math.IsInf(got[2], 1) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestSoftmax compares with float64 over the range of float32, for two channels
// (one exponential) and more.
func TestSoftmax(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, channels := range []int{1, 2, 3, 5} {
		const n = 3000
		s := make([]float32, channels*n)
		for i := range s {
			s[i] = float32(rng.NormFloat64() * math.Pow(10, float64(i%3)-1))
		}
		want := make([]float64, len(s))
		for i := range n {
			top, sum := math.Inf(-1), 0.0
			for c := range channels {
				top = max(top, float64(s[c*n+i]))
			}
			for c := range channels {
				want[c*n+i] = math.Exp(float64(s[c*n+i]) - top)
				sum += want[c*n+i]
			}
			for c := range channels {
				want[c*n+i] /= sum
			}
		}
		transform.Softmax(s, n, 0, n)
		for i := range s {
			if d := math.Abs(float64(s[i]) - want[i]); d > 5e-6*want[i]+1e-7 { // differences up to 80 are rounded
				t.Fatalf("%d channels: value %d is %g, want %g", channels, i, s[i], want[i])
			}
		}
	}
	edge := []float32{88.7, 100, -87, -1000, 0, float32(math.Inf(1)), float32(math.Inf(-1))}
	transform.Sigmoid(edge, len(edge), 0, len(edge))
	for i, want := range []float32{1, 1, float32(1 / (1 + math.Exp(87))), 0, 0.5, 1, 0} {
		if d := math.Abs(float64(edge[i] - want)); d > 1e-6*float64(want) {
			t.Errorf("sigmoid %d: %g, want %g", i, edge[i], want)
		}
	}
}

func BenchmarkSoftmax(b *testing.B) {
	for _, channels := range []int{2, 3, 26} {
		b.Run(fmt.Sprintf("%d channels", channels), func(b *testing.B) {
			const n = 1 << 18
			s := make([]float32, channels*n)
			for i := range s {
				s[i] = float32(i%97)/10 - 5
			}
			b.SetBytes(int64(4 * len(s)))
			for b.Loop() {
				transform.Softmax(s, n, 0, n)
			}
		})
	}
}

func BenchmarkSample(b *testing.B) {
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{122, 101, 112}, Affine: turned(0, 3)}, 1, imaging.Int16)
	for name, to := range map[string]imaging.Grid{
		"along the axes": {Size: [3]int{243, 201, 223}, Affine: turned(0, 1.5)},
		"same":           v.Grid,
		"rotated":        {Size: [3]int{243, 201, 223}, Affine: turned(0.1, 1.5)},
	} {
		for order, axes := range map[string][3]int{"xyz": {0, 1, 2}, "zyx": {2, 1, 0}} {
			b.Run(fmt.Sprintf("%s/%s", name, order), func(b *testing.B) {
				dst := transform.Ordered(to, axes)
				out := make([]float32, dst.Voxels())
				b.SetBytes(4 * int64(len(out)))
				for b.Loop() {
					p, err := transform.NewPlan(transform.Stored(v.Grid), dst, transform.Options{})
					if err != nil {
						b.Fatal(err)
					}
					if err := p.Run(b.Context(), transform.FromVolume(v, 0), out); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
