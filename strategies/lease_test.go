package strategies

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func second(s int64) time.Time { return time.Unix(s, 0) }

func leaseIndex(t *testing.T, o Options, n int) (*Index, Strategy) {
	t.Helper()
	x := testIndex(t, o, n, 0)
	return x, mustNew(t, x, Spec{Kind: KindEntropy})
}

func TestLeasesEndAndReturn(t *testing.T) {
	x, s := leaseIndex(t, Options{Lease: time.Minute, ColdStart: -1}, 3)
	a := mustNext(t, s, "a", 1000).ID
	b := mustNext(t, s, "b", 1010).ID
	if a == b {
		t.Fatalf("both got %s", a)
	}
	a2 := mustNext(t, s, "a", 1020).ID
	if a2 == a || a2 == b {
		t.Fatalf("a got %s again", a2)
	}
	_, err := s.Next(t.Context(), Request{Client: "c", Now: second(1030)})
	var held *HeldError
	if !errors.As(err, &held) || !held.Until.Equal(second(1060)) || !errors.Is(err, ErrNone) {
		t.Fatalf("all are held: %v", err)
	}
	if p := mustNext(t, s, "a", 1040); p.ID != a || !p.Explanation.Again {
		t.Errorf("a got %s, want %s again, which it has held longest", p.ID, a)
	}
	// That was a new lease of a, until 1100; b's ended at 1070.
	if p := mustNext(t, s, "c", 1071); p.ID != b || p.Explanation.Again {
		t.Errorf("c got %s, want %s, whose lease has ended", p.ID, b)
	}
	want := []Lease{{a2, "a", second(1080)}, {a, "a", second(1100)}, {b, "c", second(1131)}}
	if got := x.Leases(second(1072)); !slices.EqualFunc(got, want, func(p, q Lease) bool {
		return p.Image == q.Image && p.Client == q.Client && p.Until.Equal(q.Until)
	}) {
		t.Errorf("leases %v, want %v", got, want)
	}
	if x.Renew("b", b, second(1073)) || !x.Renew("c", b, second(1073)) || x.Leases(second(1073))[2].Until != second(1133) {
		t.Error("only the holder can renew, for the full time")
	}
	if x.Release("b", b) || !x.Release("c", b) || len(x.Leases(second(1074))) != 2 {
		t.Error("only the holder can release")
	}
	x.Handle(Event{ID: a, Labelled: true})
	if n := len(x.Leases(second(1074))); n != 1 {
		t.Errorf("%d leases after one image was labelled, want 1", n)
	}
	x.Handle(Event{ID: a}) // the label was deleted
	if p := mustNext(t, s, "d", 1075); p.ID != a && p.ID != b {
		t.Errorf("d got %s", p.ID)
	}
}

func TestLeasesOfOneClientAreBounded(t *testing.T) {
	_, s := leaseIndex(t, Options{Lease: time.Hour, ColdStart: -1, PerClient: 2}, 5)
	first := mustNext(t, s, "a", 1000).ID
	mustNext(t, s, "a", 1001)
	mustNext(t, s, "a", 1002)
	if p := mustNext(t, s, "b", 1003); p.ID != first {
		t.Errorf("b got %s, want %s, which a had to give back", p.ID, first)
	}
}

// TestLeasesWhenTheClockGoesBack: leases last as long as before.
func TestLeasesWhenTheClockGoesBack(t *testing.T) {
	x, s := leaseIndex(t, Options{Lease: time.Minute, ColdStart: -1}, 3)
	a := mustNext(t, s, "a", 10_000).ID
	if p := mustNext(t, s, "b", 6400); p.ID == a {
		t.Fatalf("b got %s, which a holds", a)
	}
	if l := x.Leases(second(6400)); len(l) != 2 || !l[0].Until.Equal(second(6460)) {
		t.Errorf("leases %v, want both until 6460", l)
	}
	if l := x.Leases(second(6460)); len(l) != 0 {
		t.Errorf("leases %v, want none", l)
	}
}

func TestLeasesOverRestart(t *testing.T) {
	o := Options{Lease: time.Minute, ColdStart: -1}
	x, s := leaseIndex(t, o, 4)
	a := mustNext(t, s, "a", 1000).ID
	b := mustNext(t, s, "b", 1030).ID
	saved := x.Leases(second(1031))
	saved = append(saved, Lease{"unknown", "z", second(1040)}, Lease{caseID(0), "z", second(5000)})
	y, again := leaseIndex(t, o, 4)
	y.Restore(saved, second(1050))
	if l := y.Leases(second(1050)); len(l) != 2 || l[0].Image != a || l[1].Image != b {
		t.Fatalf("restored %v, want %s and %s", l, a, b)
	}
	if p := mustNext(t, again, "c", 1051); p.ID == a || p.ID == b {
		t.Errorf("c got %s, which is held", p.ID)
	}
}

// TestBuiltinWithLeases: first and last give a client the same image until it
// is labelled, others the next; random gives others.
func TestBuiltinWithLeases(t *testing.T) {
	x := Open(Options{Lease: time.Hour})
	for _, id := range []string{"a", "b", "c", "d"} {
		x.Handle(Event{ID: id})
	}
	first, last := First{x}, Last{x}
	for _, tt := range []struct {
		s            Strategy
		client, want string
	}{{first, "p", "a"}, {first, "p", "a"}, {first, "q", "b"}, {last, "q", "d"}, {last, "p", "c"}, {first, "p", "a"}, {last, "q", "d"}} {
		if got := mustNext(t, tt.s, tt.client, 1000).ID; got != tt.want {
			t.Errorf("%s for %s: %s, want %s", tt.s.Name(), tt.client, got, tt.want)
		}
	}
	if _, err := first.Next(t.Context(), Request{Client: "r", Now: second(1000)}); !errors.Is(err, ErrNone) {
		t.Errorf("all are held: %v", err)
	}
	r := NewRandom(x, nil)
	if p := mustNext(t, r, "p", 1000); p.ID != "c" && p.ID != "a" {
		t.Errorf("p got %s, which it does not hold", p.ID)
	}
	if _, err := r.Next(t.Context(), Request{Client: "r", Now: second(1000)}); !errors.Is(err, ErrNone) {
		t.Errorf("all are held: %v", err)
	}
}
