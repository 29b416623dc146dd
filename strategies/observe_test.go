package strategies

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/uncertainty"
)

// testMaps are those of an array [2, 3, 4] with two foreground classes and one
// uncertain region.
func testMaps() *uncertainty.Maps {
	n := 2 * 3 * 4
	m := &uncertainty.Maps{
		Passes: 2, Finite: true, Mean: make([][]float32, 3), Labels: make([]uint8, n), Entropy: make([]float32, n), Information: make([]float32, n),
		Variance: make([]float32, n), Margin: make([]float32, n),
	}
	for i := range n {
		m.Entropy[i], m.Information[i], m.Variance[i], m.Margin[i] = 0.125, 0.25, 0.5, 0.75
	}
	m.Labels[12+4+1], m.Labels[12+4+2], m.Labels[12+8+2] = 1, 1, 2 // at [1 1 1], [1 1 2], [1 2 2]
	m.Entropy[12+4+2], m.Entropy[12+8+2] = 0.5, 1
	return m
}

func testLook() Look {
	return Look{
		Image: "i", Model: "m", Version: "v", Passes: Dropout, Maps: testMaps(), Size: [3]int{2, 3, 4}, Voxel: [3]float64{3, 2, 1},
		// Array axis 0 is k, backwards; axis 1 is j; axis 2 is i in steps of two voxels.
		ToImage:  imaging.Affine{{0, 0, 2, 10}, {0, 1, 0, 20}, {-1, 0, 0, 30}, {0, 0, 0, 1}},
		World:    imaging.Affine{{0.5, 0, 0, 1}, {0, 2, 0, 2}, {0, 0, 3, 3}, {0, 0, 0, 1}},
		Features: []float32{1, 2}, Fingerprint: []float32{3}, Took: 2 * time.Second, Time: time.Unix(77, 0),
	}
}

func TestObserve(t *testing.T) {
	ob, err := Observe(t.Context(), testLook(), ObserveOptions{Aggregate: uncertainty.AggregateOptions{How: uncertainty.Whole}, MinVolume: 1})
	if err != nil {
		t.Fatal(err)
	}
	mean := (22*0.125 + 0.5 + 1) / 24
	want := &Observation{
		Image: "i", Model: "m", Version: "v", Passes: Dropout, Count: 2, Aggregation: "whole",
		Scores:     map[Measure]float64{Entropy: mean, BALD: 0.25, Variance: 0.5, Margin: 0.75, Dice: 0},
		Classes:    []ClassScore{{1, (0.125 + 0.5) / 2, 2}, {2, 1, 1}},
		Foreground: 3.0 / 24, Predicted: 18, Uncertain: 12,
		Regions: []Region{{
			Min: [3]int{14, 21, 29}, Max: [3]int{14, 22, 29}, Peak: [3]int{14, 22, 29}, World: &[3]float64{8, 46, 90},
			Size: [3]float64{0.5, 4, 3}, Volume: 12, Mean: 0.75,
		}},
		Features: []float32{1, 2}, Fingerprint: []float32{3}, Seconds: 2, Time: 77,
	}
	if !reflect.DeepEqual(ob, want) {
		t.Errorf("got  %+v\nwant %+v", ob, want)
	}
	text, err := json.Marshal(ob)
	if err != nil {
		t.Fatal(err)
	}
	back := &Observation{}
	if err := json.Unmarshal(text, back); err != nil || !reflect.DeepEqual(ob, back) {
		t.Errorf("%v: %s came back as %+v", err, text, back)
	}
}

func TestObservePasses(t *testing.T) {
	for _, tt := range []struct {
		passes Passes
		count  int
		want   []Measure
	}{
		{SinglePass, 1, []Measure{Entropy, Margin}},
		{Augmented, 2, []Measure{Entropy, Variance, Margin, JS, Dice}},
		{EnsemblePass, 2, []Measure{Entropy, BALD, Variance, Margin, Dice}},
	} {
		l := testLook()
		l.Passes, l.Maps.Passes = tt.passes, tt.count
		ob, err := Observe(t.Context(), l, ObserveOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var got []Measure
		for _, m := range Measures() {
			if _, ok := ob.Scores[m]; ok {
				got = append(got, m)
			}
		}
		if !reflect.DeepEqual(got, tt.want) || ob.Aggregation != "foreground" || ob.FellBack {
			t.Errorf("%s: %v by %q, want %v", tt.passes, got, ob.Aggregation, tt.want)
		}
	}
}

func TestObserveAwkward(t *testing.T) {
	l := testLook()
	l.Maps.Labels = make([]uint8, 24)
	ob, err := Observe(t.Context(), l, ObserveOptions{})
	if err != nil || !ob.FellBack || len(ob.Classes) > 0 || ob.Foreground != 0 || ob.Scores[Entropy] != 1 {
		t.Errorf("no foreground: %+v, %v; want the top share", ob, err)
	}
	l = testLook()
	l.Maps.Finite = false
	ob, err = Observe(t.Context(), l, ObserveOptions{})
	if err != nil || ob.Corrupt == "" || len(ob.Scores) > 0 || len(ob.Features) > 0 {
		t.Errorf("maps that are not finite: %+v, %v", ob, err)
	}
	l = testLook()
	l.Size[0] = 3
	if _, err = Observe(t.Context(), l, ObserveOptions{}); err == nil {
		t.Error("maps of another size were accepted")
	}
	l.Maps = nil
	if _, err = Observe(t.Context(), l, ObserveOptions{}); err == nil {
		t.Error("no maps were accepted")
	}
	l = testLook()
	l.World = imaging.Affine{}
	ob, err = Observe(t.Context(), l, ObserveOptions{MinVolume: 1})
	if err != nil || ob.Regions[0].World != nil || ob.Regions[0].Size != [3]float64{0.5, 4, 3} {
		t.Errorf("without the image's affine: %+v, %v", ob.Regions, err)
	}
}

func TestAggregationNames(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range []uncertainty.AggregateOptions{
		{},
		{How: uncertainty.TopShare},
		{How: uncertainty.TopShare, Top: 0.05},
		{How: uncertainty.Patch},
		{How: uncertainty.Patch, Patch: [3]int{8, 0, 4}},
		{How: uncertainty.PerClass},
		{How: uncertainty.Whole},
		{Border: 3},
	} {
		seen[ObserveOptions{Aggregate: a}.Aggregation()] = true
	}
	for _, want := range []string{"foreground", "top 0.01", "top 0.05", "patch 16x16x16", "patch 8x16x4", "class", "whole", "foreground border 3"} {
		if !seen[want] {
			t.Errorf("%q is missing in %v", want, seen)
		}
	}
}

func TestProjectKeepsDistances(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	random := func() []float32 {
		v := make([]float32, 700)
		for d := range v {
			v[d] = rng.Float32()
		}
		return v
	}
	var ratio float64
	for range 40 {
		a, b := random(), random()
		ratio += squared(project(a, 64), project(b, 64)) / squared(a, b) / 40
	}
	if math.Abs(ratio-1) > 0.12 { // 40 draws, each with a deviation of √(2/64)
		t.Errorf("squared distances are kept to a factor of %.3f on average", ratio)
	}
	if v := project([]float32{1, 2}, 64); len(v) != 2 || v[1] != 2 {
		t.Errorf("short features became %v", v)
	}
	if v := project([]float32{1, float32(math.Inf(1))}, 64); v != nil {
		t.Errorf("features that are not finite became %v", v)
	}
}

func TestFingerprint(t *testing.T) {
	v := make([]float32, 10*10*10)
	for i := range v {
		v[i] = float32(i)
	}
	got, corrupt := Fingerprint(v, [3]int{10, 10, 10}, [3]float64{1, 2, 3})
	want := []float64{
		4.995, 99.9, 249.75, 499.5, 749.25, 899.1, 994.005, 499.5, math.Sqrt(999999.0 / 12), 0.001,
		0, math.Log(10), math.Log(2), math.Log(20), math.Log(3), math.Log(30),
	}
	if corrupt != "" || len(got) != len(want) {
		t.Fatalf("%v, %q", got, corrupt)
	}
	for d := range want {
		if math.Abs(float64(got[d])-want[d]) > 1e-3 {
			t.Errorf("number %d is %g, want %g", d, got[d], want[d])
		}
	}
	nan := []float32{1, float32(math.NaN())}
	for want, f := range map[string]func() ([]float32, string){
		"no voxels":  func() ([]float32, string) { return Fingerprint(nil, [3]int{}, [3]float64{1, 1, 1}) },
		"not finite": func() ([]float32, string) { return Fingerprint(nan, [3]int{1, 1, 2}, [3]float64{1, 1, 1}) },
		"one value": func() ([]float32, string) {
			return Fingerprint(make([]float32, 8), [3]int{2, 2, 2}, [3]float64{1, 1, 1})
		},
		"not positive": func() ([]float32, string) { return Fingerprint(v, [3]int{10, 10, 10}, [3]float64{1, 0, 1}) },
		"out of range": func() ([]float32, string) {
			return Fingerprint([]float32{-3e38, 3e38}, [3]int{1, 1, 2}, [3]float64{1e300, 1, 1e-300})
		},
	} {
		if p, corrupt := f(); p != nil && want != "out of range" || want != "out of range" && !strings.Contains(corrupt, want) {
			t.Errorf("%v, %q; want %q", p, corrupt, want)
		}
	}
}

// TestFarOff: an image unlike the pool is flagged and comes last; not while
// there are too few images to tell.
func TestFarOff(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	shot := func(scale, mm float64) []float32 {
		v := make([]float32, 12*12*12)
		for i := range v {
			v[i] = float32(scale * (1000 + 100*rng.NormFloat64()) * rng.Float64())
		}
		p, corrupt := Fingerprint(v, [3]int{12, 12, 12}, [3]float64{mm, mm, mm})
		if corrupt != "" {
			t.Fatal(corrupt)
		}
		return p
	}
	x := Open(Options{ColdStart: -1})
	put := func(id string, p []float32) {
		t.Helper()
		x.Handle(Event{ID: id})
		if err := x.Put(&Observation{Image: id, Model: "m", Fingerprint: p, Scores: entropyOf(1)}); err != nil {
			t.Fatal(err)
		}
	}
	put("a_far", shot(40, 1))
	for i := range 8 {
		put(caseID(i), shot(0.9+0.2*rng.Float64(), 1))
	}
	if f := x.Flags("a_far"); len(f) > 0 {
		t.Errorf("flagged among 9 images: %v", f)
	}
	for i := range 40 {
		put(caseID(8+i), shot(0.9+0.2*rng.Float64(), 0.95+0.1*rng.Float64()))
	}
	put("b_far", shot(1, 9))
	for _, id := range []string{"a_far", "b_far"} {
		if f := x.Flags(id); len(f) != 1 || !strings.Contains(f[0], "far from") {
			t.Errorf("%s: flags %v", id, f)
		}
	}
	if c := x.Coverage("m"); c.Flagged != 2 {
		t.Errorf("%d images are flagged, want 2", c.Flagged)
	}
	s := mustNew(t, x, Spec{Kind: KindEntropy})
	for range 48 {
		p := mustNext(t, s, "", 1)
		if strings.HasSuffix(p.ID, "_far") {
			t.Fatalf("%s came before sound images", p.ID)
		}
		x.Handle(Event{ID: p.ID, Labelled: true})
	}
	if p := mustNext(t, s, "", 1); len(p.Explanation.Flags) != 1 || !strings.Contains(p.Explanation.Why, "flagged") {
		t.Errorf("%s: %+v", p.ID, p.Explanation)
	}
	if p := mustNext(t, NewRandom(x, nil), "", 1); !strings.HasSuffix(p.ID, "_far") {
		t.Errorf("random: %s", p.ID)
	}
}
