package augment

import (
	"math"
	"testing"
)

func testStream(k Key, channel int, p purpose) stream {
	return newStream(k, k.caseHash(), 3, channel, p)
}

// Normal numbers against the normal distribution: moments within five standard
// errors, and counts between quantiles by chi-square.
func TestNormalDistribution(t *testing.T) {
	const n = 1 << 21
	s := testStream(Key{Seed: 5, Case: "a", Step: 9}, 0, forVoxels)
	v := make([]float32, n)
	s.addNormals(v, 0, 1)
	var m [5]float64
	edges := []float64{-3.6541528853610088, -3, -2, -1, -0.5, -0.1, 0, 0.1, 0.5, 1, 2, 3, 3.6541528853610088}
	counts := make([]float64, len(edges)+1)
	for _, x := range v {
		f := float64(x)
		for k, p := 0, 1.0; k < len(m); k, p = k+1, p*f {
			m[k] += p / n
		}
		i := 0
		for i < len(edges) && f >= edges[i] {
			i++
		}
		counts[i]++
	}
	for k, want := range []float64{1, 0, 1, 0, 3} {
		sd := []float64{0, 1, math.Sqrt2, math.Sqrt(15), math.Sqrt(96)}[k] / math.Sqrt(n)
		if math.Abs(m[k]-want) > 5*sd+1e-12 {
			t.Errorf("moment %d is %.6f, want %.0f ± %.6f", k, m[k], want, 5*sd)
		}
	}
	cdf := func(x float64) float64 { return 0.5 * math.Erfc(-x/math.Sqrt2) }
	below, chi := 0.0, 0.0
	for i, c := range counts {
		next := 1.0
		if i < len(edges) {
			next = cdf(edges[i])
		}
		want := (next - below) * n
		chi += (c - want) * (c - want) / want
		below = next
	}
	if chi > 40 { // 13 degrees of freedom: p = 1e-4
		t.Errorf("chi-square %.1f: counts %v", chi, counts)
	}
}

// A voxel's number depends on its index alone, not on how the voxels are cut.
func TestNormalsHaveRandomAccess(t *testing.T) {
	s := testStream(Key{Seed: 1}, 2, forVoxels)
	const n = 1<<16 + 5
	whole := make([]float32, n)
	s.addNormals(whole, 0, 1)
	rejected := 0
	for from := n / lanes * lanes; from >= 0; from -= 3 * lanes {
		part := make([]float32, min(3*lanes, n-from))
		s.addNormals(part, from, 1)
		for i, x := range part {
			if x != whole[from+i] {
				t.Fatalf("voxel %d: %g alone, %g with the others", from+i, x, whole[from+i])
			}
			if math.Abs(float64(x)) > zigR {
				rejected++
			}
		}
	}
	if rejected == 0 {
		t.Error("no number came from the tail: the test did not see a rejection")
	}
}

// Streams that differ in one part of their key share nothing.
func TestStreamsAreApart(t *testing.T) {
	base := Key{Seed: 1, Case: "a", Step: 1}
	const n = 1 << 14
	streams := map[string]stream{
		"base":    testStream(base, 0, forVoxels),
		"seed":    testStream(Key{2, "a", 1}, 0, forVoxels),
		"case":    testStream(Key{1, "b", 1}, 0, forVoxels),
		"step":    testStream(Key{1, "a", 2}, 0, forVoxels),
		"channel": testStream(base, 1, forVoxels),
		"patch":   testStream(base, -1, forVoxels),
		"purpose": testStream(base, 0, forMoreVoxels),
		"place":   newStream(base, base.caseHash(), 4, 0, forVoxels),
	}
	values := map[string][]float32{}
	for name, s := range streams {
		values[name] = make([]float32, n)
		s.addNormals(values[name], 0, 1)
	}
	for a, va := range values {
		for b, vb := range values {
			if a >= b {
				continue
			}
			var dot float64
			for i := range va {
				dot += float64(va[i]) * float64(vb[i]) / n
			}
			if math.Abs(dot) > 5/math.Sqrt(n) {
				t.Errorf("%s and %s correlate: %.3f", a, b, dot)
			}
		}
	}
}

func TestDraws(t *testing.T) {
	s := testStream(Key{Seed: 3}, -1, forParameters)
	d := &draws{s: s}
	const n = 60000
	var counts [6]int
	var sum, square, normal, normalSq float64
	for range n {
		counts[d.below(6)]++
		u := d.uniform(2, 6)
		if u < 2 || u >= 6 {
			t.Fatalf("%g is outside [2, 6)", u)
		}
		sum += u / n
		square += u * u / n
		g := d.normal()
		normal += g / n
		normalSq += g * g / n
	}
	for i, c := range counts {
		if math.Abs(float64(c)-n/6) > 5*math.Sqrt(n*5.0/36) {
			t.Errorf("%d came %d times of %d", i, c, n)
		}
	}
	if math.Abs(sum-4) > 5*1.155/math.Sqrt(n) || math.Abs(square-sum*sum-16.0/12) > 0.03 {
		t.Errorf("uniform: mean %.4f, variance %.4f; want 4, 1.3333", sum, square-sum*sum)
	}
	if math.Abs(normal) > 5/math.Sqrt(n) || math.Abs(normalSq-1) > 5*math.Sqrt2/math.Sqrt(n) {
		t.Errorf("normal: mean %.4f, mean square %.4f", normal, normalSq)
	}
	for range 1000 {
		if k := d.between([2]int{3, 5}); k < 3 || k > 5 {
			t.Fatalf("%d is outside 3..5", k)
		}
	}
}

func TestFastMath(t *testing.T) {
	for x := 1e-300; x < 1e300; x *= 1.0173 {
		if d := math.Abs(log2(x) - math.Log2(x)); d > 1e-9 {
			t.Fatalf("log2(%g) is off by %g", x, d)
		}
	}
	for y := -900.0; y < 900; y += 0.0371 {
		if d := math.Abs(exp2(y)/math.Exp2(y) - 1); d > 1e-8 {
			t.Fatalf("exp2(%g) is off by %g of itself", y, d)
		}
	}
	if exp2(-2000) != 0 {
		t.Error("exp2(-2000) is not 0")
	}
}

// The curve's table against the power itself, ends and tiny quotients included.
func TestPowerTable(t *testing.T) {
	a, err := New(Recipe{}, Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	r := a.begin(t.Context(), Key{}, NewPatch(1, [3]int{1, 1, 1}, false))
	defer a.end(r)
	for _, gamma := range []float64{0.1, 0.5, 0.7, 1, 1.5, 2, 3.5, 10} {
		p := r.power(0, 1, gamma)
		tol := 2e-7 + math.Abs(gamma*(gamma-1)*(gamma-2))/6*0x1p-24
		b := []float32{0, 1, 0x1p-24, 0x1p-25, 1e-30}
		for q := float32(1); q > 0x1p-24; q *= 0.9983 {
			b = append(b, q)
		}
		want := make([]float64, len(b))
		for i, q := range b {
			want[i] = math.Pow(float64(q), gamma)
		}
		p.bend(b)
		for i := range b {
			if d := math.Abs(float64(b[i]) - want[i]); d > tol*want[i]+1e-37 {
				t.Fatalf("gamma %g: %g, want %g", gamma, b[i], want[i])
			}
		}
	}
}

// The identity leaves voxels exactly as they are, with either padding and also
// where an axis has one voxel.
func TestIdentityIsExact(t *testing.T) {
	for _, size := range [][3]int{{5, 6, 7}, {1, 4, 9}, {3, 1, 1}, {1, 1, 1}, {2, 2, 2}} {
		for _, pad := range []Padding{PadConstant, PadBorder} {
			a, err := New(Recipe{Padding: pad}, Options{Workers: 1})
			if err != nil {
				t.Fatal(err)
			}
			src, dst := NewPatch(2, size, true), NewPatch(2, size, true)
			s := testStream(Key{Seed: 1}, 0, forVoxels)
			s.addNormals(src.Data, 0, 1e6)
			for i := range src.Labels {
				src.Labels[i] = uint16(i)
			}
			r := a.begin(t.Context(), Key{}, dst)
			err = r.resample(src, mapping{m: aboutCentre(rotation(0, 0), [3]float64{}, dst)})
			a.end(r)
			if err != nil {
				t.Fatal(err)
			}
			for i := range src.Data {
				if src.Data[i] != dst.Data[i] {
					t.Fatalf("size %v, padding %s: voxel %d is %g, want %g", size, pad, i, dst.Data[i], src.Data[i])
				}
			}
			for i := range src.Labels {
				if src.Labels[i] != dst.Labels[i] {
					t.Fatalf("size %v, padding %s: label %d is %d, want %d", size, pad, i, dst.Labels[i], src.Labels[i])
				}
			}
		}
	}
}
