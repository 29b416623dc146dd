package strategies

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/ordered"
)

func at(unix int64) Request { return Request{Now: time.Unix(unix, 0)} }

func TestNamesAndOrder(t *testing.T) {
	var got []string
	for _, s := range Builtin(NewIndex()) {
		got = append(got, s.Name()+": "+s.Description())
		if _, err := s.Next(t.Context(), Request{}); !errors.Is(err, ErrNone) {
			t.Errorf("%s on an empty index: %v, want ErrNone", s.Name(), err)
		}
	}
	want := []string{"random: Random Strategy", "first: Get First Sample", "last: Get Last Sample"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestAgainstScan compares the index with a plain scan of the same images
// after every one of many random events.
func TestAgainstScan(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x := NewIndex()
	x.track("random")
	model := map[string]Event{}
	for step := range 20000 {
		ev := Event{
			ID:          fmt.Sprintf("case_%02d", rng.IntN(60)),
			Gone:        rng.IntN(6) == 0,
			Labelled:    rng.IntN(3) == 0,
			Quarantined: rng.IntN(5) == 0,
		}
		if rng.IntN(2) == 0 {
			ev.Served = map[string]int64{"random": rng.Int64N(1000), "other": 5}
		}
		x.Handle(ev)
		model[ev.ID] = ev
		if ev.Gone {
			delete(model, ev.ID)
		}
		var ids []string
		var sum int64
		for id, e := range model {
			if !e.Labelled && !e.Quarantined {
				ids = append(ids, id)
				sum += 1000 - e.Served["random"]
			}
		}
		slices.Sort(ids)
		c1, ok1 := x.smallest()
		c2, ok2 := x.largest()
		if ok1 != (len(ids) > 0) || ok2 != ok1 || x.Len() != len(ids) {
			t.Fatalf("step %d: %d open, first %v, last %v; want %d open", step, x.Len(), ok1, ok2, len(ids))
		}
		if ok1 && (c1.id != ids[0] || c2.id != ids[len(ids)-1]) {
			t.Fatalf("step %d: first %s, last %s; want %s, %s", step, c1.id, c2.id, ids[0], ids[len(ids)-1])
		}
		if got := x.weights["random"].totalAt(1000); got != sum {
			t.Fatalf("step %d: total weight %d, want %d", step, got, sum)
		}
	}
}

func TestRandomDistribution(t *testing.T) {
	// Weights at t=1000: 1000 (never), 900, 600, 0 (this second), 500.
	served := map[string]int64{"b": 100, "c": 400, "d": 1000, "e": 500}
	want := map[string]float64{"a": 1000, "b": 900, "c": 600, "d": 0, "e": 500}
	source := rand.NewPCG(7, 7)
	counts := map[string]int{}
	const n = 20000
	for range n {
		x := NewIndex()
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			ev := Event{ID: id}
			if ts, ok := served[id]; ok {
				ev.Served = map[string]int64{"random": ts}
			}
			x.Handle(ev)
		}
		x.Handle(Event{ID: "labelled", Labelled: true})
		x.Handle(Event{ID: "broken", Quarantined: true})
		pick, err := NewRandom(x, source).Next(t.Context(), at(1000))
		if err != nil {
			t.Fatal(err)
		}
		counts[pick.ID]++
		if w, _ := pick.Extra.Get("weight"); w != int64(want[pick.ID]) {
			t.Fatalf("%s has weight %v, want %v: the weight of the pick", pick.ID, w, want[pick.ID])
		}
	}
	for id, w := range want {
		p := w / 3000
		sigma := math.Sqrt(n * p * (1 - p))
		if d := math.Abs(float64(counts[id]) - n*p); d > 4*sigma {
			t.Errorf("%s was picked %d times, want %.0f ± %.0f", id, counts[id], n*p, 4*sigma)
		}
	}
	if counts["labelled"]+counts["broken"] > 0 {
		t.Error("a labelled or quarantined image was handed out")
	}
}

func TestRandomServesAllWithinOneSecond(t *testing.T) {
	x := NewIndex()
	for i := range 50 {
		x.Handle(Event{ID: fmt.Sprint(i)})
	}
	r := NewRandom(x, rand.NewPCG(3, 4))
	seen := map[string]bool{}
	for range 50 {
		p, err := r.Next(t.Context(), at(5000))
		if err != nil {
			t.Fatal(err)
		}
		seen[p.ID] = true
	}
	if len(seen) != 50 {
		t.Errorf("50 requests in one second got %d different images of 50", len(seen))
	}
	// Now every weight is 0: still an answer, with weight 0, and not always the same.
	again := map[string]bool{}
	for range 200 {
		p, err := r.Next(t.Context(), at(5000))
		if err != nil {
			t.Fatal(err)
		}
		if w, _ := p.Extra.Get("weight"); w != int64(0) {
			t.Fatalf("weight %v, want 0", w)
		}
		again[p.ID] = true
	}
	if len(again) < 25 {
		t.Errorf("200 picks with all weights 0 reached only %d images", len(again))
	}
}

func TestClockGoesBack(t *testing.T) {
	x := NewIndex()
	x.Handle(Event{ID: "a", Served: map[string]int64{"random": 2000}})
	x.Handle(Event{ID: "b", Served: map[string]int64{"random": 1 << 62}})
	r := NewRandom(x, rand.NewPCG(1, 1))
	for range 20 {
		p, err := r.Next(t.Context(), at(1000))
		if err != nil {
			t.Fatal(err)
		}
		if w, _ := p.Extra.Get("weight"); w.(int64) < 0 {
			t.Fatalf("weight %v is negative", w)
		}
	}
}

func TestDeterministic(t *testing.T) {
	run := func() (ids []string) {
		x := NewIndex()
		for i := range 10 {
			x.Handle(Event{ID: fmt.Sprint(i)})
		}
		r := NewRandom(x, rand.NewPCG(9, 9))
		for i := range 10 {
			p, err := r.Next(t.Context(), at(int64(1000+i)))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, p.ID)
		}
		return ids
	}
	if a, b := run(), run(); !slices.Equal(a, b) {
		t.Errorf("same seed and clock, different picks: %v, %v", a, b)
	}
}

func TestServedTimes(t *testing.T) {
	info, err := ordered.Parse([]byte(`{"ts":1,"strategy":{"random":{"ts":1795414756,"client_id":"u"},
		"first":{"ts":12.0},"odd":{"ts":"x"},"none":{},"text":"no object"}}`))
	if err != nil {
		t.Fatal(err)
	}
	got := ServedTimes(info)
	if len(got) != 2 || got["random"] != 1795414756 || got["first"] != 12 {
		t.Errorf("got %v", got)
	}
	live := ordered.Of("strategy", ordered.Of("last", ordered.Of("ts", int64(77))))
	if got := ServedTimes(live); got["last"] != 77 {
		t.Errorf("got %v", got)
	}
	if got := ServedTimes(ordered.Of("strategy", "text")); got != nil {
		t.Errorf("got %v, want nothing", got)
	}
	if got := ServedTimes(nil); got != nil {
		t.Errorf("got %v, want nothing", got)
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x := NewIndex()
	x.Handle(Event{ID: "a"})
	for _, s := range Builtin(x) {
		if _, err := s.Next(ctx, Request{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", s.Name(), err)
		}
	}
}

func TestConcurrent(t *testing.T) {
	x := NewIndex()
	all := Builtin(x)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 300 {
				x.Handle(Event{ID: fmt.Sprint(i % 40), Labelled: (i+g)%3 == 0, Gone: (i+g)%7 == 0})
				_, err := all[i%len(all)].Next(t.Context(), Request{})
				if err != nil && !errors.Is(err, ErrNone) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkRandom(b *testing.B) {
	for _, n := range []int{2000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x := NewIndex()
			for i := range n {
				x.Handle(Event{ID: fmt.Sprintf("case_%06d", i)})
			}
			r := NewRandom(x, nil)
			for b.Loop() {
				if _, err := r.Next(b.Context(), Request{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
