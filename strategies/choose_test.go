package strategies

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// looked makes an index of images with these observations (model m, version v1,
// dropout passes).
func looked(t *testing.T, o Options, all ...*Observation) *Index {
	t.Helper()
	x := Open(o)
	x.Serve("m", "v1", 0)
	for i, ob := range all {
		if ob.Image == "" {
			ob.Image = fmt.Sprint(i)
		}
		ob.Model, ob.Passes = "m", Dropout
		if ob.Version == "" {
			ob.Version = "v1"
		}
		x.Handle(Event{ID: ob.Image})
		if err := x.Put(ob); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func batch(t *testing.T, s Strategy, n int) []Pick {
	t.Helper()
	picks, err := Batch(t.Context(), s, Request{Now: second(1000)}, n)
	if err != nil {
		t.Fatalf("%s: %v", s.Name(), err)
	}
	return picks
}

func ids(picks []Pick) (out []string) {
	for _, p := range picks {
		out = append(out, p.ID)
	}
	return out
}

func entropyOf(v float64) map[Measure]float64 { return map[Measure]float64{Entropy: v} }

// TestBatchesDiffer: of images whose best are near copies, a batch takes one
// of each group; by classes where there are no features; or just the best.
func TestBatchesDiffer(t *testing.T) {
	var all []*Observation
	for i := range 12 {
		group := i / 4 // scores fall from group to group
		all = append(all, &Observation{
			Scores: entropyOf(1 - float64(i)/20), Features: []float32{float32(10 * group), float32(i%4) / 4},
			Classes: []ClassScore{{1, 0.1, 5}, {group + 1, 0.5, 5}},
		})
	}
	for _, tt := range []struct {
		how  Diversity
		want []string
	}{{ByFeatures, []string{"0", "11", "5"}}, {ByClasses, []string{"0", "4", "8"}}, {Undiverse, []string{"0", "1", "2"}}} {
		x := looked(t, Options{ColdStart: -1}, all...)
		picks := batch(t, mustNew(t, x, Spec{Kind: KindEntropy, Diversity: tt.how}), 3)
		if got := ids(picks); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.how, got, tt.want)
		}
		if r := picks[2].Explanation; fmt.Sprint(r.Rank-1) != picks[2].ID || r.Of != 12 {
			t.Errorf("%s: %s has rank %d of %d", tt.how, picks[2].ID, r.Rank, r.Of)
		}
	}
	for _, ob := range all {
		ob.Features = nil
	}
	x := looked(t, Options{ColdStart: -1}, all...)
	if got := ids(batch(t, mustNew(t, x, Spec{Kind: KindEntropy}), 3)); !slices.Equal(got, []string{"0", "4", "8"}) {
		t.Errorf("without features: %v, want one of each class", got)
	}
	if got := batch(t, mustNew(t, x, Spec{Kind: KindEntropy}), 1<<40); len(got) != 12 {
		t.Errorf("%d of 12 in an endless batch", len(got))
	}
}

// TestForegroundShares: a share of the picks is for classes, each with the same
// chance however rare it is.
func TestForegroundShares(t *testing.T) {
	var all []*Observation
	const n = 8000
	for i := range n {
		ob := &Observation{}
		if i < n*4/10 {
			ob.Classes = []ClassScore{{Class: 1, Score: 1, Voxels: 1}}
		}
		if i < n*2/10 {
			ob.Classes = append(ob.Classes, ClassScore{Class: 2, Score: 1, Voxels: 1})
		}
		all = append(all, ob)
	}
	const share, draws = 0.6, 1500
	count := map[int]int{}
	for _, p := range batch(t, mustNew(t, looked(t, Options{}, all...), Spec{Kind: KindForeground, Foreground: share, Seed: 2}), draws) {
		count[p.Explanation.Class]++
		var i int
		if _, err := fmt.Sscan(p.ID, &i); err != nil || p.Explanation.Class == 1 && i >= n*4/10 || p.Explanation.Class == 2 && i >= n*2/10 {
			t.Fatalf("%s was picked for class %d", p.ID, p.Explanation.Class)
		}
	}
	for class, p := range map[int]float64{0: 1 - share, 1: share / 2, 2: share / 2} {
		if d := math.Abs(float64(count[class]) - draws*p); d > 4*math.Sqrt(draws*p*(1-p)) {
			t.Errorf("%d of %d picks for class %d, want about %.0f", count[class], draws, class, draws*p)
		}
	}
}

// TestClaspCoversClassesAndFades: the stratified part takes turns over the
// classes, and in late rounds follows the scores.
func TestClaspCoversClassesAndFades(t *testing.T) {
	var all []*Observation
	for i := range 100 {
		ob := &Observation{Scores: entropyOf(float64(100-i) / 100), Classes: []ClassScore{{1, float64(100-i) / 100, 9}}}
		if i >= 90 {
			ob.Classes = append(ob.Classes, ClassScore{2, float64(i) / 100, 1}) // a rare class
		}
		all = append(all, ob)
	}
	x := looked(t, Options{ColdStart: -1}, all...)
	s := mustNew(t, x, Spec{Kind: KindClasp, Seed: 1, BetaMost: 1e6})
	classes := func(picks []Pick) (out []int) {
		for _, p := range picks {
			out = append(out, p.Explanation.Class)
		}
		return out
	}
	picks := batch(t, s, 6)
	if got := classes(picks); !slices.Equal(got, []int{1, 2, 1, 2, 0, 0}) {
		t.Errorf("classes %v", got)
	}
	if slices.Equal(ids(picks), []string{"0", "99", "1", "98", "2", "3"}) {
		t.Error("no noise in round 0")
	}
	x.Serve("m", "v1", 20)
	picks = batch(t, s, 6)
	if got := ids(picks); !slices.Equal(got, []string{"0", "99", "1", "98", "2", "3"}) {
		t.Errorf("round 20: %v for %v, want the highest scores", got, classes(picks))
	}
	if e := picks[1].Explanation; !strings.Contains(e.Why, "class 2") || e.Parts[0].Value != 0.99 || e.Parts[2].Value != 1e6 || e.Class != 2 {
		t.Errorf("explanation %+v", e)
	}
}

// TestNoiseFollowsScores: over many plans, power noise picks an image with a
// chance in proportion to its score^β.
func TestNoiseFollowsScores(t *testing.T) {
	x := looked(t, Options{ColdStart: -1}, &Observation{Scores: entropyOf(0.1)}, &Observation{Scores: entropyOf(0.2)}, &Observation{Scores: entropyOf(0.4)}, &Observation{Scores: entropyOf(0)})
	s := mustNew(t, x, Spec{Kind: KindPower, Measure: Entropy, Beta: 2, Seed: 1}).(*query)
	count := map[string]int{}
	const n = 4000
	for range n {
		s.plan = nil
		count[mustNext(t, s, "", 1000).ID]++
	}
	for id, p := range map[string]float64{"0": 1.0 / 21, "1": 4.0 / 21, "2": 16.0 / 21, "3": 0} {
		if d := math.Abs(float64(count[id]) - n*p); d > 4*math.Sqrt(n*p*(1-p)) {
			t.Errorf("%s was picked %d times, want about %.0f", id, count[id], n*p)
		}
	}
}

// TestCoreset: the farthest from what is labelled, held or chosen; features of
// another version are not compared.
func TestCoreset(t *testing.T) {
	at := func(v ...float32) *Observation { return &Observation{Features: v} }
	all := []*Observation{at(0, 0), at(1, 0), at(10, 0), at(10, 1), at(0, 7), at(500, 500)}
	all[5].Version = "v0"
	x := looked(t, Options{Lease: time.Hour}, all...)
	x.Handle(Event{ID: "0", Labelled: true})
	s := mustNew(t, x, Spec{Kind: KindCoreset, Batch: 1})
	p := mustNext(t, s, "a", 1000)
	if d := math.Sqrt(101); p.ID != "3" || p.Explanation.Score != d || p.Explanation.Of != 4 {
		t.Errorf("picked %s at %v of %d, want 3 at %v of 4", p.ID, p.Explanation.Score, p.Explanation.Of, d)
	}
	for i, want := range []string{"4", "1", "2", "5"} {
		if p := mustNext(t, s, "a", 1000); p.ID != want {
			t.Errorf("pick %d is %s, want %s", i+1, p.ID, want)
		}
	}
}

// TestKMeans: one image for each group, the heaviest group first; of all
// images only the least sure are grouped.
func TestKMeans(t *testing.T) {
	var all []*Observation
	for i := range 30 {
		g := i % 3
		all = append(all, &Observation{
			Scores:   entropyOf(0.5 + 0.1*float64(g)),
			Features: []float32{float32(100 * g), float32(i/3) - 4.5},
		})
	}
	all = append(all, &Observation{Scores: entropyOf(0), Features: []float32{-1000, 0}})
	s := mustNew(t, looked(t, Options{ColdStart: -1}, all...), Spec{Kind: KindKMeans, Seed: 3})
	picks := batch(t, s, 3)
	for i, p := range picks {
		var id int
		if _, err := fmt.Sscan(p.ID, &id); err != nil || id%3 != 2-i || id/3 != 4 && id/3 != 5 {
			t.Errorf("pick %d is %s: not the middle of group %d", i, p.ID, 2-i)
		}
		if e := p.Explanation; e.Parts[2].Value != 10 || math.Abs(e.Score-10*(0.7-0.1*float64(i))) > 1e-9 {
			t.Errorf("pick %d: %+v", i, e)
		}
	}
}

func TestKMeansOfOneCluster(t *testing.T) {
	got := kMeans([][]float32{{0}, {1}, {2}, {9}}, []float64{1, 1, 1, 1}, []int{0})
	if len(got) != 1 || got[0].at != 2 || got[0].members != 4 { // the mean is 3
		t.Errorf("got %+v, want point 2, the nearest to the mean", got)
	}
}

func TestPlusPlusOfEqualPoints(t *testing.T) {
	if got := plusPlus([][]float32{{1}, {1}, {1}}, 3, true, []float64{0.5, 0.5, 0.5}); !slices.Equal(got, []int{1}) {
		t.Errorf("got %v, want one seed for points that coincide", got)
	}
}

func TestShares(t *testing.T) {
	if got := shares([]float64{3, 1, 2, 2, 5}); !slices.Equal(got, []float64{0.75, 0, 0.375, 0.375, 1}) {
		t.Errorf("got %v", got)
	}
	if got := shares([]float64{7}); got[0] != 0.5 {
		t.Errorf("got %v", got)
	}
}

// TestWeighted: the sum of rank shares decides, not the measures' sizes; the
// diversity part sees what the batch has already.
func TestWeighted(t *testing.T) {
	ob := func(entropy, bald float64, f ...float32) *Observation {
		return &Observation{Scores: map[Measure]float64{Entropy: entropy, BALD: bald}, Features: f}
	}
	x := looked(t, Options{ColdStart: -1}, ob(0.9, 0.001), ob(0.8, 0.003), ob(0.1, 0.002), &Observation{Scores: entropyOf(1)})
	p := batch(t, mustNew(t, x, Spec{Kind: KindWeighted, Weights: []Weight{{"entropy", 1}, {"bald", 3}}}), 4)
	if got := ids(p); !slices.Equal(got[:3], []string{"1", "2", "0"}) {
		t.Errorf("picked %v, want 1 (0.875), 2 (0.375), 0 (0.25) first", got)
	}
	if e := p[0].Explanation; e.Score != 0.875 || e.Parts[0] != (Part{"entropy", 0.8}) || e.Parts[1] != (Part{"entropy_rank_share", 0.5}) {
		t.Errorf("explanation %+v", e)
	}
	if e := p[3].Explanation; p[3].ID != "3" || !math.IsNaN(e.Score) {
		t.Errorf("the image without bald: %s %+v", p[3].ID, e)
	}
	x = looked(t, Options{ColdStart: -1}, ob(0.9, 0, 100), ob(0.8, 0, 101), ob(0.7, 0, 50), ob(0.6, 0, 1), ob(0.5, 0, 0))
	x.Handle(Event{ID: "4", Labelled: true})
	got := ids(batch(t, mustNew(t, x, Spec{Kind: KindWeighted, Weights: []Weight{{"entropy", 0.5}, {"diversity", 0.5}}}), 2))
	if !slices.Equal(got, []string{"0", "2"}) {
		t.Errorf("picked %v, want 0 and then 2: 1 is a copy of 0", got)
	}
}

// TestSampleOfLargePool: set-wise kinds look at a part of a large pool.
func TestSampleOfLargePool(t *testing.T) {
	x := testIndex(t, Options{ColdStart: -1}, 500, 6)
	p := batch(t, mustNew(t, x, Spec{Kind: KindCoreset, Subset: 50}), 4)
	if len(p) != 4 || p[0].Explanation.Of != 50 {
		t.Errorf("%d picks of %d images, want 4 of 50", len(p), p[0].Explanation.Of)
	}
}
