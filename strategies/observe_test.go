package strategies

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
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
