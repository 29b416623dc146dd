package strategies

import (
	"strings"
	"testing"
	"time"
)

func TestColdStart(t *testing.T) {
	x := Open(Options{Lease: time.Hour, ColdStart: 3})
	for i := range 30 {
		x.Handle(Event{ID: caseID(i)})
	}
	s := mustNew(t, x, Spec{Kind: KindEntropy})
	why := func(want string) Pick {
		t.Helper()
		p := mustNext(t, s, "a", 1000)
		if e := p.Explanation; !strings.Contains(e.Why, want) || e.ColdStart != strings.Contains(want, "diversity chooses") {
			t.Errorf("cold %v: %q, want %q", e.ColdStart, e.Why, want)
		}
		return p
	}
	why("no model has scored images yet, so diversity chooses: at random")
	for i := range 30 {
		ob := testObservation(caseID(i), "v1")
		if err := x.Put(&Observation{Image: caseID(i), Fingerprint: ob.Fingerprint}); err != nil {
			t.Fatal(err)
		}
	}
	// Observations without a model do not change plans: ask past the first one.
	for range 8 {
		mustNext(t, s, "a", 1000)
	}
	why("no model has scored images yet, so diversity chooses: differs most, by fingerprints")
	for i := range 30 {
		if err := x.Put(testObservation(caseID(i), "v1")); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		x.Handle(Event{ID: caseID(20 + i), Labelled: true})
	}
	why("2 of the 3 labels that scores need, so diversity chooses: differs most, by features")
	x.Handle(Event{ID: caseID(25), Labelled: true})
	p := why("highest entropy")
	if p.Explanation.Rank != 1 {
		t.Errorf("rank %d", p.Explanation.Rank)
	}
	tta := mustNew(t, x, Spec{Kind: KindTTA})
	if p := mustNext(t, tta, "a", 1000); !strings.Contains(p.Explanation.Why, "no free image has a score of variance (of passes [tta])") {
		t.Errorf("scores of dropout passes serve tta: %q", p.Explanation.Why)
	}
}

// TestStale: a new version makes all scores stale, which picks say, until new
// ones come; labels saved since are counted.
func TestStale(t *testing.T) {
	x := testIndex(t, Options{ColdStart: -1}, 10, 0)
	s := mustNew(t, x, Spec{Kind: KindEntropy})
	top := mustNext(t, s, "a", 1000)
	if e := top.Explanation; e.InService != "" || e.LabelsSince != 0 {
		t.Errorf("fresh scores: %+v", e)
	}
	x.Serve("m", "v2", 1)
	x.Handle(Event{ID: "extra", Labelled: true})
	p := mustNext(t, s, "a", 1000)
	if e := p.Explanation; p.ID != top.ID || e.InService != "v2" || e.Version != "v1" || e.LabelsSince != 1 {
		t.Errorf("stale scores: %s %+v, want %s of v1 with v2 in service, 1 label since", p.ID, e, top.ID)
	}
	if v, _ := p.Extra.Sub("explanation").Get("stale"); v != true {
		t.Errorf("the explanation does not say stale: %v", p.Extra)
	}
	if w := x.Wanted("m", 1); len(w) != 1 || w[0] != (Wanted{ID: top.ID, Stale: "v1"}) {
		t.Errorf("wanted first: %v, want %s", w, top.ID)
	}
	x.Handle(Event{ID: "new"})
	if w := x.Wanted("m", 2); len(w) != 2 || w[0] != (Wanted{ID: "new"}) || w[1].ID != top.ID {
		t.Errorf("wanted: %v, want new and %s in turn", w, top.ID)
	}
	low := testObservation(top.ID, "v2")
	low.Scores = map[Measure]float64{Entropy: -1}
	if err := x.Put(low); err != nil {
		t.Fatal(err)
	}
	if p := mustNext(t, s, "a", 1000); p.ID == top.ID {
		t.Errorf("%s is still first after its score fell", top.ID)
	}
	if c := x.Coverage("m"); c.Fresh != 1 || c.Stale != 9 || c.Unscored != 1 || c.Version != "v2" || c.Round != 1 {
		t.Errorf("coverage %+v", c)
	}
	x.Serve("m", "v1", 1) // a rollback: the old scores hold again
	if w := x.Wanted("m", 20); len(w) != 2 {
		t.Errorf("wanted after the rollback: %v, want the new image and %s", w, top.ID)
	}
}

// TestWantedLabelled: labelled images are looked at again for their features,
// in turn with the others, where that is wanted.
func TestWantedLabelled(t *testing.T) {
	for _, on := range []bool{false, true} {
		x := testIndex(t, Options{ScoreLabelled: on}, 2, 2)
		x.Handle(Event{ID: "new", Labelled: true})
		x.Serve("m", "v2", 1)
		x.Handle(Event{ID: "open"})
		labelled := []Wanted{{ID: "new", Labelled: true}, {ID: caseID(3), Stale: "v1", Labelled: true}, {ID: caseID(2), Stale: "v1", Labelled: true}}
		got := x.Wanted("m", 10)
		if !on {
			labelled = nil
		}
		if n := 3 + len(labelled); len(got) != n {
			t.Fatalf("%v: %d wanted, want %d", got, len(got), n)
		}
		if on && (got[0] != labelled[0] || got[1] != (Wanted{ID: "open"}) || got[2].Labelled || got[3] != labelled[1] || got[5] != labelled[2]) {
			t.Errorf("wanted %v, want one of each in turn", got)
		}
		if w := x.Wanted("m", 1); len(w) != 1 {
			t.Errorf("asked for 1, got %v", w)
		}
	}
}

// TestComparable: scores of other passes or another aggregation are not ranked.
func TestComparable(t *testing.T) {
	x := Open(Options{ColdStart: -1, Passes: Augmented, Aggregation: "foreground"})
	for i, ob := range []*Observation{
		{Passes: Augmented, Aggregation: "foreground", Scores: map[Measure]float64{Entropy: 0.1}},
		{Passes: Augmented, Aggregation: "whole", Scores: map[Measure]float64{Entropy: 0.9}},
		{Passes: Dropout, Aggregation: "foreground", Scores: map[Measure]float64{Entropy: 0.8}},
	} {
		ob.Image, ob.Model = caseID(i), "m"
		x.Handle(Event{ID: ob.Image})
		if err := x.Put(ob); err != nil {
			t.Fatal(err)
		}
	}
	if p := mustNext(t, mustNew(t, x, Spec{Kind: KindEntropy}), "a", 1); p.ID != caseID(0) || p.Explanation.Of != 1 {
		t.Errorf("picked %s of %d", p.ID, p.Explanation.Of)
	}
	if w := x.Wanted("m", 10); len(w) != 2 {
		t.Errorf("wanted %v, want the two that cannot be compared", w)
	}
}
