package harmonize_test

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/harmonize"
)

// head is a phantom of n values: a third is air near zero, the rest tissue.
func head(seed uint64, n int, scale, shift float64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		x := math.Abs(r.NormFloat64()) * 5
		if i%3 > 0 {
			x = 100 + 30*r.NormFloat64()
		}
		v[i] = float32(x*scale + shift)
	}
	return v
}

func apply(t *testing.T, m *harmonize.Model, v []float32, u harmonize.Use) []float32 {
	t.Helper()
	out := slices.Clone(v)
	if err := m.Apply(t.Context(), out, u); err != nil {
		t.Fatal(err)
	}
	return out
}

func samples(images ...[]float32) []harmonize.Sample {
	var s []harmonize.Sample
	for _, v := range images {
		s = append(s, harmonize.Sample{Values: v, Site: "a", Labels: tissue(len(v))})
	}
	return s
}

func tissue(n int) []uint16 {
	l := make([]uint16, n)
	for i := range l {
		if i%3 > 0 {
			l[i] = 1
		}
	}
	return l
}

func maxDiff(a, b []float32) float64 {
	var worst float64
	for i := range a {
		worst = max(worst, math.Abs(float64(a[i])-float64(b[i])))
	}
	return worst
}

// TestMonotone: no method changes the order of two voxels.
func TestMonotone(t *testing.T) {
	a, b := head(1, 200_000, 1, 0), head(2, 150_000, 40, -7)
	for _, method := range harmonize.Methods() {
		m := fit(t, harmonize.FitOptions{Method: method}, samples(a, b)...)
		u := harmonize.Use{}
		if method == harmonize.ZScoreSite {
			u.Site = "a"
		}
		x := head(3, 100_000, 7, 11)
		y := apply(t, m, x, u)
		order := make([]int, len(x))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(i, j int) int { return int(math.Copysign(1, float64(x[i])-float64(x[j]))) })
		for k := 1; k < len(order); k++ {
			if y[order[k]] < y[order[k-1]] {
				t.Errorf("%s: %g → %g but %g → %g", method, x[order[k-1]], y[order[k-1]], x[order[k]], y[order[k]])
				break
			}
		}
	}
}

// TestScaleGoes: what scanners multiply and add does not survive.
func TestScaleGoes(t *testing.T) {
	a, b := head(1, 90_000, 1, 0), head(2, 90_000, 40, -7)
	x, scaled := head(3, 90_000, 1, 0), head(3, 90_000, 1000, 300)
	for _, c := range []struct {
		method     harmonize.Method
		foreground harmonize.Foreground
		weight     float64
	}{
		{harmonize.Nyul, "", 0},
		{harmonize.Nyul, harmonize.All, 0},
		{harmonize.Histogram, "", 0},
		{harmonize.ZScore, "", 1},
		{harmonize.ZScore, harmonize.AboveMean, 1},
		{harmonize.Percentile, "", 1},
		{harmonize.CT, harmonize.All, 1},
		{harmonize.ZScoreSite, "", 1},
	} {
		m := fit(t, harmonize.FitOptions{Method: c.method, Foreground: c.foreground}, samples(a, b)...)
		u := harmonize.Use{TestTime: c.weight}
		one, two := apply(t, m, x, u), apply(t, m, scaled, u)
		span := float64(slices.Max(one) - slices.Min(one))
		if d := maxDiff(one, two); d > 1e-4*span || span == 0 {
			t.Errorf("%s over %s: the scaled image differs by %g of %g", c.method, m.Foreground, d, span)
		}
	}
}

// TestNyulIdempotent: with all voxels as foreground, the landmarks of a
// result are the standard ones, and applying again changes nothing.
func TestNyulIdempotent(t *testing.T) {
	m := fit(t, harmonize.FitOptions{Method: harmonize.Nyul, Foreground: harmonize.All}, samples(head(1, 60_000, 1, 0), head(2, 60_000, 9, 4))...)
	once := apply(t, m, head(3, 70_000, 3, -100), harmonize.Use{})
	if d := maxDiff(once, apply(t, m, once, harmonize.Use{})); d > 1e-3 {
		t.Errorf("the second time changes values by up to %g on a scale of 1..100", d)
	}
}

// TestIdentity: an image matched with itself, and one whose landmarks are the
// standard ones, stay as they are.
func TestIdentity(t *testing.T) {
	v := head(1, 300_001, 1, 0)
	same := slices.Clone(v)
	if err := harmonize.MatchHistograms(t.Context(), same, v); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(same, v) {
		t.Errorf("matching an image with itself changes values by up to %g", maxDiff(same, v))
	}
	l := harmonize.Landmarks(t, harmonize.Sample{Values: v}, []float64{1, 50, 99})
	m := fit(t, harmonize.FitOptions{Method: harmonize.Nyul, Percentiles: []float64{1, 50, 99}, Scale: [2]float64{l[0], l[2]}}, harmonize.Sample{Values: v})
	if d := maxDiff(v, apply(t, m, v, harmonize.Use{})); d > 1e-4 {
		t.Errorf("the image that was fitted changes by up to %g", d)
	}
}

// TestNyulBeyondLandmarks: the first and the last piece go on.
func TestNyulBeyondLandmarks(t *testing.T) {
	v := make([]float32, 101)
	for i := range v {
		v[i] = float32(i)
	}
	m := fit(t, harmonize.FitOptions{
		Method: harmonize.Nyul, Foreground: harmonize.All, Percentiles: []float64{10, 50, 90}, Scale: [2]float64{0, 8},
	}, harmonize.Sample{Values: v})
	m.Nyul.Landmarks = []float64{0, 6, 8}
	got := apply(t, m, v, harmonize.Use{}) // landmarks 10, 50, 90
	for x, want := range map[int]float32{0: -1.5, 10: 0, 30: 3, 50: 6, 70: 7, 90: 8, 100: 8.5} {
		if math.Abs(float64(got[x]-want)) > 1e-6 {
			t.Errorf("%d → %g, want %g", x, got[x], want)
		}
	}
}

// TestNyulFewValues: percentiles that coincide make one point; the image that
// was fitted keeps its own scale.
func TestNyulFewValues(t *testing.T) {
	v := make([]float32, 1000)
	for i := range v {
		v[i] = float32(min(i/400, 2)) // 0, 1 and 2
	}
	m := fit(t, harmonize.FitOptions{Method: harmonize.Nyul, Foreground: harmonize.All, Scale: [2]float64{10, 30}}, harmonize.Sample{Values: v})
	got := apply(t, m, v, harmonize.Use{})
	for i, want := range map[int]float32{0: 10, 500: 20, 900: 30} {
		if got[i] != want {
			t.Errorf("%g → %g, want %g", v[i], got[i], want)
		}
	}
}

// TestCores: fitting gives the same bytes on one core and on several, in one
// goroutine and in many.
func TestCores(t *testing.T) {
	images := samples(head(1, 150_000, 1, 0), head(2, 140_000, 3, 0), head(4, 130_000, 0.1, 9), head(5, 70_000, 1, 1))
	for _, method := range harmonize.Methods() {
		var first string
		for _, cores := range []int{1, 3, 8} {
			old := runtime.GOMAXPROCS(cores)
			got := text(t, fit(t, harmonize.FitOptions{Method: method}, images...))
			runtime.GOMAXPROCS(old)
			if first == "" {
				first = got
			}
			if got != first {
				t.Errorf("%s on %d cores:\n%s\non one:\n%s", method, cores, got, first)
			}
		}
	}
}

// TestPooled compares the set's percentiles, mean and deviation with those of
// all values together: of whole numbers, which are read once, and of others,
// which are read twice.
func TestPooled(t *testing.T) {
	for _, c := range []struct {
		name  string
		round bool
		reads int
	}{{"whole numbers", true, 1}, {"fractions", false, 2}} {
		var all []float64
		var images [][]float32
		for i := range 4 {
			v := head(uint64(i), 5000+i, 3, -200)
			for k := range v {
				if c.round {
					v[k] = float32(math.Round(float64(v[k])))
				}
				if k%3 > 0 {
					all = append(all, float64(v[k]))
				}
			}
			images = append(images, v)
		}
		steps := 0
		m := fit(t, harmonize.FitOptions{Method: harmonize.CT, Progress: func(int, int) { steps++ }}, samples(images...)...)
		if steps != c.reads*len(images) {
			t.Errorf("%s: %d images were read, want %d", c.name, steps, c.reads*len(images))
		}
		slices.Sort(all)
		var sum, dev float64
		for _, x := range all {
			sum += x
		}
		mean := sum / float64(len(all))
		for _, x := range all {
			dev += (x - mean) * (x - mean)
		}
		want := harmonize.CTParams{
			Lower: at(all, 0.005), Upper: at(all, 0.995), Median: at(all, 0.5), Min: all[0], Max: all[len(all)-1],
			Mean: mean, Std: math.Sqrt(dev / float64(len(all))),
		}
		got := *m.CT
		if math.Abs(got.Mean-want.Mean) > 1e-9*math.Abs(want.Mean) || math.Abs(got.Std-want.Std) > 1e-9*want.Std {
			t.Errorf("%s: mean %g, deviation %g, want %g, %g", c.name, got.Mean, got.Std, want.Mean, want.Std)
		}
		if math.Abs(got.Lower-want.Lower) > 1e-9 || math.Abs(got.Upper-want.Upper) > 1e-9 || math.Abs(got.Median-want.Median) > 1e-9 ||
			got.Min != want.Min || got.Max != want.Max {
			t.Errorf("%s: %+v, want %+v", c.name, got, want)
		}
		if m.Provenance.Voxels != len(all) || m.Provenance.Images != len(images) {
			t.Errorf("%s: provenance %+v", c.name, m.Provenance)
		}
	}
}

// at is NumPy's linear quantile of sorted values.
func at(sorted []float64, share float64) float64 {
	f := share * float64(len(sorted)-1)
	i := int(f)
	return sorted[i] + (sorted[i+1]-sorted[i])*(f-float64(i))
}

// TestSites: every site has its own numbers, and each image those of its site.
func TestSites(t *testing.T) {
	a, b := head(1, 9000, 1, 0), head(2, 9000, 50, 1000)
	m := fit(t, harmonize.FitOptions{Method: harmonize.ZScoreSite},
		harmonize.Sample{Values: b, Site: "north"}, harmonize.Sample{Values: a, Site: "east"}, harmonize.Sample{Values: b, Site: "north"})
	if len(m.Sites) != 2 || m.Sites[0].Site != "east" || m.Sites[1].Site != "north" || m.Sites[1].Images != 2 {
		t.Fatalf("sites %+v", m.Sites)
	}
	for site, v := range map[string][]float32{"east": a, "north": b} {
		out := apply(t, m, v, harmonize.Use{Site: site})
		mean, std := meanStd(out)
		if math.Abs(mean) > 1e-5 || math.Abs(std-1) > 1e-5 {
			t.Errorf("%s: mean %g, deviation %g", site, mean, std)
		}
	}
	for _, site := range []string{"", "south"} {
		if err := m.Apply(t.Context(), a, harmonize.Use{Site: site}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("site %q: %v", site, err)
		}
	}
}

func meanStd(v []float32) (mean, std float64) {
	for _, x := range v {
		mean += float64(x) / float64(len(v))
	}
	for _, x := range v {
		std += (float64(x) - mean) * (float64(x) - mean) / float64(len(v))
	}
	return mean, math.Sqrt(std)
}

// TestTestTime: a weight of a half lies between the set's mean and variance
// and the case's.
func TestTestTime(t *testing.T) {
	set, own := []float32{-2, 2, -2, 2}, []float32{10, 14, 10, 14} // means 0 and 12, variances 4 and 4
	own[0], own[2] = 6, 6                                          // mean 10, variance 16
	m := fit(t, harmonize.FitOptions{Method: harmonize.ZScore}, harmonize.Sample{Values: set})
	for _, c := range []struct{ weight, mean, variance float64 }{{0, 0, 4}, {0.5, 5, 10}, {1, 10, 16}} {
		got := apply(t, m, own, harmonize.Use{TestTime: c.weight})
		for i, x := range own {
			if want := (float64(x) - c.mean) / math.Sqrt(c.variance); math.Abs(float64(got[i])-want) > 1e-6 {
				t.Errorf("weight %g: %g → %g, want %g", c.weight, x, got[i], want)
			}
		}
	}
}

// TestNonzeroHistogram: zeros are neither counted nor changed.
func TestNonzeroHistogram(t *testing.T) {
	ref := []float32{0, 0, 0, 5, 6, 7, 8, 9, 10}
	m := fit(t, harmonize.FitOptions{Method: harmonize.Histogram, Foreground: harmonize.Nonzero}, harmonize.Sample{Values: ref})
	got := apply(t, m, []float32{600, 0, 500, 0, 0, 700, 800, 0, 1000, 900}, harmonize.Use{})
	want := []float32{6, 0, 5, 0, 0, 7, 8, 0, 10, 9}
	if d := maxDiff(got, want); d > 0.01 {
		t.Errorf("%v, want %v", got, want)
	}
	if got[1] != 0 || got[7] != 0 {
		t.Errorf("zeros became %g and %g", got[1], got[7])
	}
}

// TestNonzeroMask: holes belong to the mask, bays do not.
func TestNonzeroMask(t *testing.T) {
	size := [3]int{5, 6, 7}
	v, second := make([]float32, 210), make([]float32, 210)
	at := func(x, y, z int) int { return (x*6+y)*7 + z }
	set := func(v []float32, x, y, z int, to float32) { v[at(x, y, z)] = to }
	for x := 1; x < 4; x++ {
		for y := 1; y < 4; y++ {
			for z := 1; z < 4; z++ {
				set(v, x, y, z, -1)
			}
		}
	}
	set(v, 2, 2, 2, 0)      // a hole
	set(v, 1, 1, 1, 0)      // a corner: open to the outside
	set(second, 0, 0, 0, 3) // only in the other channel
	mask, err := harmonize.NonzeroMask(t.Context(), [][]float32{v, second}, size)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range mask {
		if m {
			n++
		}
	}
	hole, corner, other := mask[at(2, 2, 2)], mask[at(1, 1, 1)], mask[0]
	if n != 27 || !hole || corner || !other {
		t.Errorf("%d voxels, hole %v, corner %v, other channel %v", n, hole, corner, other)
	}
}
