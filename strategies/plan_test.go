package strategies

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestPrepare(t *testing.T) {
	x := testIndex(t, Options{Lease: time.Hour, ColdStart: -1}, 40, 6)
	s := mustNew(t, x, Spec{Kind: KindCoreset}).(*query)
	mustNext(t, s, "a", 1000)
	before := s.plan
	Prepare(t.Context(), []Strategy{s, First{x}})
	if s.plan != before {
		t.Error("a plan that is nearly unused was replaced")
	}
	for range 5 {
		mustNext(t, s, "a", 1000)
	}
	Prepare(t.Context(), []Strategy{s})
	made := s.plan
	if made == before || len(made.choices) != 8 {
		t.Fatalf("a plan that is half used was not replaced by one of 8")
	}
	Prepare(t.Context(), []Strategy{s}) // not asked since
	if p := mustNext(t, s, "a", 1000); s.plan != made || p.ID != made.choices[0].id {
		t.Errorf("picked %s, want %s from what was prepared", p.ID, made.choices[0].id)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Next(ctx, Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestPlansAreRenewed: what was chosen ahead is chosen anew when the version,
// the round, or the pool changes much, and not for a single image or label.
func TestPlansAreRenewed(t *testing.T) {
	x := testIndex(t, Options{Lease: time.Hour, ColdStart: -1}, 40, 6)
	s := mustNew(t, x, Spec{Kind: KindClasp}).(*query)
	mustNext(t, s, "a", 1000)
	grow := func(from, n int) {
		for i := range n {
			x.Handle(Event{ID: caseID(from + i)})
		}
	}
	for _, tt := range []struct {
		name    string
		change  func()
		renewed bool
	}{
		{"label", func() { x.Handle(Event{ID: caseID(20), Labelled: true}) }, false},
		{"image", func() { grow(100, 1) }, false},
		{"version", func() { x.Serve("m", "v2", 0) }, true},
		{"round", func() { x.Serve("m", "v2", 1) }, true},
		{"many images", func() { grow(200, 30) }, true},
		{"many looks", func() {
			for i := range 30 {
				if err := x.Put(testObservation(caseID(200+i), "v2")); err != nil {
					t.Fatal(err)
				}
			}
		}, true},
	} {
		before := s.plan
		tt.change()
		mustNext(t, s, "a", 1000)
		if (s.plan != before) != tt.renewed {
			t.Errorf("%s: chosen anew: %v, want %v", tt.name, s.plan != before, tt.renewed)
		}
	}
}
