package strategies

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// writer changes the index as a busy server does: labels saved and deleted,
// observations, images gone, leases released. It pauses after each change.
func writer(ctx context.Context, x *Index, n int, seed uint64, pause time.Duration) {
	rng := rand.New(rand.NewPCG(seed, seed))
	for ctx.Err() == nil {
		if pause > 0 {
			time.Sleep(pause)
		}
		id := caseID(rng.IntN(n))
		switch rng.IntN(6) {
		case 0:
			x.Handle(Event{ID: id, Labelled: true})
		case 1, 2:
			x.Handle(Event{ID: id})
		case 3:
			ob := testObservation(id, "v2")
			ob.Scores[Entropy] = rng.Float64()
			_ = x.Put(ob) // the image may be gone
		case 4:
			x.Release(strconv.Itoa(rng.IntN(8)), id)
		default:
			x.Handle(Event{ID: id, Gone: rng.IntN(4) == 0})
		}
	}
}

// TestConcurrentUse runs everything at once; what it proves, it proves under
// the race detector.
func TestConcurrentUse(t *testing.T) {
	const n = 400
	x := testIndex(t, Options{Lease: time.Second, Control: 0.1}, n, 20)
	var all []Strategy
	for _, s := range allSpecs() {
		all = append(all, mustNew(t, x, s))
	}
	all = append(all, Builtin(x)...)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range 20 {
		wg.Go(func() { writer(ctx, x, n, uint64(w), 0) })
	}
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			Prepare(ctx, all)
			x.Serve("m", fmt.Sprint("v", i%3), i%5)
			x.Wanted("m", 20)
			x.Coverage("m")
			x.Leases(time.Now())
			x.Spent(caseID(i%n), 60)
		}
	})
	var picked sync.WaitGroup
	for c := range 4 {
		picked.Go(func() {
			for i := range 60 {
				s := all[(i+c)%len(all)]
				_, err := Batch(t.Context(), s, Request{Client: strconv.Itoa(c)}, 1+i%3)
				if err != nil && !errors.Is(err, ErrNone) {
					t.Errorf("%s: %v", s.Name(), err)
				}
			}
		})
	}
	picked.Wait()
	cancel()
	wg.Wait()
}

// TestTwoClientsNeverHoldTheSame asks from many clients at once: no image goes
// to two of them.
func TestTwoClientsNeverHoldTheSame(t *testing.T) {
	const n = 300
	x := testIndex(t, Options{Lease: time.Hour, Control: 0.3, PerClient: n}, n, 6)
	var all []Strategy
	for _, s := range allSpecs() {
		all = append(all, mustNew(t, x, s))
	}
	all = append(all, NewRandom(x, nil))
	var mu sync.Mutex
	holder := map[string]string{}
	var wg sync.WaitGroup
	for c := range 6 {
		wg.Go(func() {
			client := strconv.Itoa(c)
			for i := range n / 6 {
				p, err := all[(i+c)%len(all)].Next(t.Context(), Request{Client: client})
				if err != nil {
					t.Errorf("%s: %v", client, err)
					return
				}
				mu.Lock()
				if other, twice := holder[p.ID]; twice {
					t.Errorf("%s went to %s and %s", p.ID, other, client)
				}
				holder[p.ID] = client
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(holder) != n {
		t.Errorf("%d of %d images were handed out", len(holder), n)
	}
}

// latencies runs a strategy beside 20 writers, each with up to a thousand
// changes per second, and returns sorted times of its answers. (Writers without
// any pause measure the scheduler: 20 of them take turns on the cores.)
func latencies(t testing.TB, s Strategy, x *Index, n, requests int) []time.Duration {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range 20 {
		wg.Go(func() { writer(ctx, x, n, uint64(w), time.Millisecond) })
	}
	out := make([]time.Duration, 0, requests)
	for i := range requests {
		begin := time.Now()
		if _, err := s.Next(t.Context(), Request{Client: strconv.Itoa(i % 8)}); err != nil {
			t.Errorf("%s: %v", s.Name(), err)
			break
		}
		out = append(out, time.Since(begin))
		if i%32 == 31 {
			Prepare(ctx, []Strategy{s})
		}
	}
	cancel()
	wg.Wait()
	slices.Sort(out)
	return out
}

// BenchmarkNext is the time of a pick among 100,000 images beside 20 writers,
// by kind: mean, median, p99 and maximum.
func BenchmarkNext(b *testing.B) {
	const n = 100_000
	for _, spec := range allSpecs() {
		b.Run(spec.withDefaults().Name, func(b *testing.B) {
			x := testIndex(b, Options{Lease: time.Minute, Control: 0.1}, n, 200)
			s := mustNew(b, x, spec)
			b.ResetTimer()
			l := latencies(b, s, x, n, b.N)
			for name, at := range map[string]int{"p50-ms": len(l) / 2, "p99-ms": len(l) * 99 / 100, "max-ms": len(l) - 1} {
				b.ReportMetric(l[at].Seconds()*1000, name)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// TestNextIsFast: p99 of at most 5 ms at 100,000 images beside 20 writers, for
// the kinds that rank and for random. VOXLOOP_INDEX_FAST=1 runs it, on a
// machine without other work; BenchmarkNext has all kinds.
func TestNextIsFast(t *testing.T) {
	if os.Getenv("VOXLOOP_INDEX_FAST") == "" {
		t.Skip("set VOXLOOP_INDEX_FAST=1 on a machine without other work")
	}
	const n = 100_000
	x := testIndex(t, Options{Lease: time.Minute, Control: 0.1}, n, 200)
	for _, s := range []Strategy{mustNew(t, x, Spec{Kind: KindEntropy}), mustNew(t, x, Spec{Kind: KindBALD}), NewRandom(x, nil)} {
		l := latencies(t, s, x, n, 5000)
		p99 := l[len(l)*99/100]
		t.Logf("%s: median %v, p99 %v, maximum %v", s.Name(), l[len(l)/2], p99, l[len(l)-1])
		if p99 > 5*time.Millisecond {
			t.Errorf("%s: p99 %v, want at most 5 ms", s.Name(), p99)
		}
	}
}

// BenchmarkPut is the time of an observation among 100,000 images, with and
// without the rankings that strategies keep.
func BenchmarkPut(b *testing.B) {
	const n = 100_000
	x := testIndex(b, Options{}, n, 200)
	for _, s := range allSpecs() {
		mustNew(b, x, s)
	}
	obs := make([]*Observation, 1000)
	for i := range obs {
		obs[i] = testObservation(caseID(i*97), "v2")
	}
	var i atomic.Int64
	b.ReportAllocs()
	for b.Loop() {
		if err := x.Put(obs[i.Add(1)%1000]); err != nil {
			b.Fatal(err)
		}
	}
}
