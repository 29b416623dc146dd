package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/testkit"
)

// variant is the built-in network with something added to its last bias: it
// says something else about every image.
func variant(t testing.TB, add float32) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testkit.Root(t), "apps", "radiology", "models", "hippocampus", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range slices.Backward(m.Graph.Initializers) {
		f, err := x.Float32()
		if err != nil || len(x.Dims) != 1 || x.Dims[0] != 3 {
			continue
		}
		f = slices.Clone(f)
		f[0] += add
		m.Graph.SetInitializer(onnx.NewFloat32(x.Name, x.Dims, f))
		return m.Bytes()
	}
	t.Fatal("the network has no bias of three channels")
	return nil
}

// listed is a version as GET /model/{model}/versions shows it.
type listed struct {
	Version, State, Why string
	InService           bool `json:"in_service"`
	App                 bool
}

func (s *server) listed() []listed {
	s.t.Helper()
	var v struct{ Versions []listed }
	if err := json.Unmarshal(s.must(200, "GET", "/model/hippocampus/versions", nil, nil).body, &v); err != nil {
		s.t.Fatal(err)
	}
	return v.Versions
}

func (s *server) serving() string {
	s.t.Helper()
	all := s.listed()
	i := slices.IndexFunc(all, func(v listed) bool { return v.InService })
	if i < 0 {
		s.t.Fatalf("no version is in service: %+v", all)
	}
	return all[i].Version
}

// ask infers on an image: which version answers, and the sum of the label
// file.
func (s *server) ask(id string) (version string, sum [32]byte, err error) {
	a, err := s.raw("POST", "/infer/hippocampus?output=image&image="+id, nil, nil)
	if err == nil && a.status != 200 {
		err = fmt.Errorf("status %d: %s", a.status, tail(string(a.body), 300))
	}
	return a.header.Get("X-Model-Version"), sha256.Sum256(a.body), err
}

// variants puts networks one after the other and returns what each version, and
// the app's own, says about each image when it runs alone.
func (s *server) variants(ids []string, adds ...float32) (alone map[string][32]byte, versions []string) {
	s.t.Helper()
	alone = map[string][32]byte{}
	each := func() {
		want := s.serving()
		versions = append(versions, want)
		for _, id := range ids {
			v, sum, err := s.ask(id)
			if err != nil || v != want {
				s.t.Fatalf("%s answers, %s is in service: %v", v, want, err)
			}
			alone[v+id] = sum
		}
	}
	each()
	for _, add := range adds {
		header, body := form(map[string]any{}, "file", "w.onnx", variant(s.t, add))
		s.must(200, "PUT", "/model/hippocampus", header, body)
		each()
	}
	seen := map[[32]byte]bool{}
	for _, sum := range alone {
		if seen[sum] {
			s.t.Fatal("two versions or images have the same answer: the test proves nothing")
		}
		seen[sum] = true
	}
	return alone, versions
}

// load is what the clients saw.
type load struct {
	mu     sync.Mutex
	took   []time.Duration
	failed []string
	by     map[string]int // answers by version
}

// clients infers without pause in n clients until stop is closed.
func (s *server) clients(n int, ids []string, alone map[string][32]byte, stop <-chan struct{}) *load {
	l := &load{by: map[string]int{}}
	var wg sync.WaitGroup
	for c := range n {
		wg.Go(func() {
			for i := c; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := ids[i%len(ids)]
				start := time.Now()
				v, sum, err := s.ask(id)
				took := time.Since(start)
				l.mu.Lock()
				l.took = append(l.took, took)
				l.by[v]++
				switch {
				case err != nil:
					l.failed = append(l.failed, err.Error())
				case alone[v+id] != sum:
					l.failed = append(l.failed, fmt.Sprintf("the answer about %s is not that of version %s, which it names", id, v))
				}
				l.mu.Unlock()
			}
		})
	}
	wg.Wait()
	return l
}

// quantile of the times; q in [0, 1].
func (l *load) quantile(q float64) time.Duration {
	slices.Sort(l.took)
	return l.took[min(len(l.took)-1, int(math.Ceil(q*float64(len(l.took))))-1)]
}

// resident is the memory of the server in MiB.
func (s *server) resident() float64 {
	s.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return kb / 1024
		}
	}
	s.t.Fatal("no VmRSS")
	return 0
}

// slope of y over its index, by least squares.
func slope(y []float64) float64 {
	n, mx, my := float64(len(y)), float64(len(y)-1)/2, 0.0
	for _, v := range y {
		my += v / n
	}
	var xy, xx float64
	for i, v := range y {
		xy += (float64(i) - mx) * (v - my)
		xx += (float64(i) - mx) * (float64(i) - mx)
	}
	return xy / xx
}

// TestSwapsUnderLoad swaps versions while 8 clients infer without pause, with a
// candidate that must be refused before every fourth. VOXLOOP_SWAPS sets how
// many, VOXLOOP_SWAP_PAUSE the milliseconds between them. No request fails;
// every answer names its version and is, voxel by voxel, that version's alone;
// memory stays. Times are printed; they are held to their limits when
// VOXLOOP_SWAPS is set, on a machine that does nothing else.
func TestSwapsUnderLoad(t *testing.T) {
	swaps, pause := count(t, "VOXLOOP_SWAPS", 20), time.Duration(count(t, "VOXLOOP_SWAP_PAUSE", 200))*time.Millisecond
	ids := []string{"hippocampus_001", "hippocampus_003", "hippocampus_004"}
	s := launch(t, copyCases(t, ids...), "--device", "cpu")
	s.waitReady()
	s.must(200, "GET", "/readyz?models=1", nil, nil)
	alone, versions := s.variants(ids, 0.5, 1, 1.5)
	quiet := s.during(ids, alone, func() { time.Sleep(4*time.Second + time.Duration(swaps)*pause/10) })

	nanHeader, nanBody := form(map[string]any{}, "file", "w.onnx", variant(t, float32(math.NaN())))
	var memory []float64
	var forward, back []time.Duration
	busy := s.during(ids, alone, func() {
		for i := range swaps {
			if i%4 == 2 {
				s.must(400, "PUT", "/model/hippocampus", nanHeader, nanBody)
			}
			begin := time.Now()
			if i%4 == 3 {
				s.must(200, "POST", "/model/hippocampus/rollback", nil, nil)
				back = append(back, time.Since(begin))
			} else {
				s.must(200, "POST", "/model/hippocampus/publish?version="+versions[1+i%3], nil, nil)
				forward = append(forward, time.Since(begin))
			}
			memory = append(memory, s.resident())
			time.Sleep(pause)
		}
	})
	for _, l := range []*load{quiet, busy} {
		if len(l.failed) > 0 {
			t.Errorf("%d of %d requests failed, the first: %s", len(l.failed), len(l.took), l.failed[0])
		}
	}
	if len(busy.by) < 3 {
		t.Errorf("answers by version %v: the swaps were not seen", busy.by)
	}
	third := len(memory) / 3
	before, after := slices.Max(memory[:third+1]), slices.Max(memory[len(memory)-third-1:])
	if after > before+32 {
		t.Errorf("memory grew from %.0f to %.0f MiB over %d swaps", before, after, swaps)
	}
	t.Logf("memory: %.0f to %.0f MiB, slope %+.3f MiB per swap", before, after, slope(memory))
	checkTimes(t, quiet, busy, forward, back)
}

// checkTimes prints what the swaps cost, and holds it to the limits in a soak.
func checkTimes(t testing.TB, quiet, busy *load, forward, back []time.Duration) {
	t.Helper()
	slices.Sort(forward)
	slices.Sort(back)
	p99 := quiet.quantile(0.99)
	ratio := func(d time.Duration) float64 { return float64(d) / float64(p99) }
	ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	t.Logf("requests without swaps: %d, p50 %v, p99 %v, max %v", len(quiet.took), ms(quiet.quantile(0.5)), ms(p99), ms(quiet.quantile(1)))
	t.Logf("requests with %d swaps: %d, p50 %v, p99 %v (%.2f times), max %v (%.2f times that p99)", len(forward)+len(back), len(busy.took),
		ms(busy.quantile(0.5)), ms(busy.quantile(0.99)), ratio(busy.quantile(0.99)), ms(busy.quantile(1)), ratio(busy.quantile(1)))
	t.Logf("under load: publish median %v, max %v; rollback median %v, max %v", ms(forward[len(forward)/2]), ms(forward[len(forward)-1]), ms(back[len(back)/2]), ms(back[len(back)-1]))
	if os.Getenv("VOXLOOP_SWAPS") == "" {
		return
	}
	if r := ratio(busy.quantile(0.99)); r > 1.5 {
		t.Errorf("p99 with swaps is %.2f times the one without, at most 1.5 is wanted", r)
	}
	if r := ratio(busy.quantile(1)); r > 3 {
		t.Errorf("a request took %.2f times the p99 without swaps, at most 3 is wanted", r)
	}
	if d := back[len(back)-1]; d > time.Second {
		t.Errorf("a rollback took %v", d)
	}
}

// during runs 8 clients while fn works.
func (s *server) during(ids []string, alone map[string][32]byte, fn func()) *load {
	stop, done := make(chan struct{}), make(chan *load)
	go func() { done <- s.clients(8, ids, alone, stop) }()
	fn()
	close(stop)
	return <-done
}
