package infer

import (
	"context"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
)

// shelved serves the model "m", labelling 1 where x < 0.1, with versions below
// a folder.
func shelved(t testing.TB, models string, keepPrevious int64) *Registry {
	t.Helper()
	rt := orttest.Runtime(t)
	r := NewRegistry(RegistryOptions{
		Runtime: func(context.Context) (*ort.Runtime, error) { return rt, nil },
		Device:  ort.CPU, Threads: 1, Versions: models, Keep: 3, KeepPrevious: keepPrevious,
		Logger: slog.New(slog.NewTextHandler(testLog{t}, nil)),
	})
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := r.AddFS("m", stepModel(0.1)); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context(), "m"); err != nil {
		t.Fatal(err)
	}
	return r
}

// ramp is an image with values 0, 1/8, … 7/8.
func ramp() Input {
	return Input{Volumes: []*imaging.Volume{volumeOf(1, [3]int{8, 9, 10}, func(_, x, _, _ int) float32 { return float32(x) / 8 })}}
}

// step returns the threshold that a label map of the ramp shows, in eighths:
// of a stepNetwork(at), the number of x with x/8 < at.
func step(t testing.TB, l *imaging.LabelMap) int {
	t.Helper()
	n := 0
	for n < 8 && l.Data[n] == 1 {
		n++
	}
	for i, v := range l.Data {
		if want := i%8 < n; (v == 1) != want {
			t.Errorf("voxel %d is %d, though row 0 has %d ones: two models in one answer", i, v, n)
			break
		}
	}
	return n
}

func (r *Registry) recordOK(t testing.TB, fsys fstest.MapFS) Version {
	t.Helper()
	v, err := r.Record("m", fsys, Cause{Origin: OriginPut})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (r *Registry) publishOK(t testing.TB, id string) Version {
	t.Helper()
	v, err := r.Publish(t.Context(), "m", id, Cause{Origin: OriginOperator, Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// served infers and returns the step and the version that the answer names.
func (r *Registry) served(t testing.TB) (int, string) {
	t.Helper()
	out, err := r.Infer(context.Background(), "m", ramp(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return step(t, out.Labels), out.Model.Version
}

func TestSwapAndRollback(t *testing.T) {
	before := ort.OpenSessions()
	r := shelved(t, t.TempDir(), 1<<20)
	var heard []string
	cancel := r.Subscribe(func(model string, s Swap) { heard = append(heard, model+" "+string(s.Origin)) })
	n, own := r.served(t)
	if n != 1 {
		t.Fatalf("the app's own model shows %d", n)
	}
	a, b := r.recordOK(t, stepModel(0.3)), r.recordOK(t, stepModel(0.6))
	if a.Parent != own || a.InService || a.State != Unavailable || a.Why != "not loaded" {
		t.Errorf("candidate %+v, want the parent %s", a, own)
	}
	if n, _ := r.served(t); n != 1 {
		t.Error("recording a candidate changed what serves")
	}
	if v := r.publishOK(t, a.ID[:12]); v.ID != a.ID || !v.InService || v.State != Ready {
		t.Errorf("published %+v", v)
	}
	if n, id := r.served(t); n != 3 || id != a.ID {
		t.Errorf("serves %d from %s, want 3 from %s", n, id, a.ID)
	}
	if m, _ := r.Model("m"); m.Version != a.ID || m.State != Ready {
		t.Errorf("clients are told %+v", m)
	}
	r.publishOK(t, b.ID)
	if n := r.Loaded("m"); n != 2 {
		t.Errorf("%d versions are loaded, want the one in service and the one before", n)
	}
	for _, want := range []int{3, 1} {
		if _, err := r.Rollback(t.Context(), "m", Cause{Reason: "worse"}); err != nil {
			t.Fatal(err)
		}
		if n, _ := r.served(t); n != want {
			t.Errorf("after a rollback %d serves, want %d", n, want)
		}
	}
	if _, err := r.Rollback(t.Context(), "m", Cause{}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a rollback too far: %v", err)
	}
	r.publishOK(t, AppVersion) // is in service: nothing happens
	cancel()
	r.publishOK(t, b.ID)
	if want := "m operator, m operator, m rollback, m rollback"; strings.Join(heard, ", ") != want {
		t.Errorf("heard %v, want %s", heard, want)
	}
	swaps, err := r.History("m")
	if err != nil || len(swaps) != 5 {
		t.Fatalf("history %+v, %v", swaps, err)
	}
	for i, w := range swaps {
		if w.N != i+1 || w.Took <= 0 || w.Refused != "" || i > 0 && w.From != swaps[i-1].To {
			t.Errorf("line %d: %+v", i, w)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := ort.OpenSessions(); n != before {
		t.Errorf("%d sessions are open, want %d", n, before)
	}
}

// broken are candidates that must never serve: how to make one on the shelf,
// and why it is refused.
var broken = []struct {
	name   string
	fsys   fstest.MapFS
	reason string
}{
	{"NaN", stepModel(float32(math.NaN())), "no finite numbers"},
	{"infinite", stepModel(float32(math.Inf(1))), "no finite numbers"},
	{"mismatch", kept(0.5, 0.6), "the scores differ from those that the version must give"},
	{"input only", without(kept(0.55, 0.55), keptOutput(0)), "selftest.output0.npy is not beside"},
	{"input shape", stepModel(0.7, keptInput, npy([]int64{1, 1, 4, 4, 4}, make([]float32, 64))), "has the shape [1 1 4 4 4]; this network takes [1 1 8 8 8]"},
	{"output shape", stepModel(0.8, keptInput, npy([]int64{1, 1, 8, 8, 8}, make([]float32, 512)), keptOutput(0), npy([]int64{7}, make([]float32, 7))), "has 7 values; this network gives 1024"},
	{"window", fstest.MapFS{
		ManifestFile: {Data: []byte(smallManifest)}, NetworkFile: {Data: shrinkingNetwork()},
	}, "the network does not turn [1 1 8 8 8] into [1 2 8 8 8]"},
}

func npy(shape []int64, data []float32) string {
	dir, err := os.MkdirTemp("", "npy")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := writeNPY(dir, "a", shape, data); err != nil {
		panic(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "a"))
	if err != nil {
		panic(err)
	}
	return string(text)
}

// kept is a stepNetwork with the self-test of another one.
func kept(at, of float32) fstest.MapFS {
	in, out := make([]float32, 512), make([]float32, 1024)
	for i := range in {
		in[i] = float32(i%8) / 8
		out[i], out[512+i] = in[i], 2*of-in[i]
	}
	return stepModel(at, keptInput, npy([]int64{1, 1, 8, 8, 8}, in), keptOutput(0), npy([]int64{1, 2, 8, 8, 8}, out))
}

// shrinkingNetwork gives an output smaller than its window.
func shrinkingNetwork() []byte {
	m := onnx.NewModel(17)
	m.AddInput("x", onnx.Float32, -1, 1, -1, -1, -1)
	m.AddInitializer(onnx.NewFloat32("w", []int64{2, 1, 3, 3, 3}, make([]float32, 54)))
	m.AddNode("Conv", []string{"x", "w"}, []string{"y"})
	m.AddOutput("y", onnx.Float32, -1, 2, -1, -1, -1)
	return m.Bytes()
}

func without(fsys fstest.MapFS, name string) fstest.MapFS {
	delete(fsys, name)
	return fsys
}

func TestSwapRefuses(t *testing.T) {
	r := shelved(t, t.TempDir(), 0)
	good := r.recordOK(t, stepModel(0.3))
	r.publishOK(t, good.ID)
	open := ort.OpenSessions()
	for _, c := range broken {
		v := r.recordOK(t, c.fsys)
		for range 2 { // the second time it is tested again
			_, err := r.Publish(t.Context(), "m", v.ID, Cause{Origin: OriginOperator})
			if err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("%s: %v, want %q", c.name, err, c.reason)
			}
		}
		if n, id := r.served(t); n != 3 || id != good.ID {
			t.Errorf("%s: serves %d from %s", c.name, n, id)
		}
		all, err := r.Versions("m")
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(w Version) bool { return w.ID == v.ID })
		if i < 0 || all[i].State != Unavailable || !strings.Contains(all[i].Why, c.reason) {
			t.Errorf("%s is shown as %+v", c.name, all[i])
		}
		swaps, err := r.History("m")
		if last := swaps[len(swaps)-1]; err != nil || last.To != v.ID || !strings.Contains(last.Refused, c.reason) {
			t.Errorf("%s: the history ends with %+v, %v", c.name, last, err)
		}
		if err := r.Test(t.Context(), "m", v.ID); err == nil {
			t.Errorf("%s passes the test", c.name)
		}
		if n := ort.OpenSessions(); n != open {
			t.Fatalf("%s: %d sessions are open, want %d", c.name, n, open)
		}
	}
	// The kept self-test is made at the first load, and passes at the next.
	dir := r.entries[0].shelf.folder(good.ID)
	if _, data, err := readNPY(os.DirFS(dir), keptOutput(0)); err != nil || len(data) != 1024 {
		t.Errorf("self-test of the good one: %d values, %v", len(data), err)
	}
	v := r.recordOK(t, kept(0.6, 0.6))
	if err := r.Test(t.Context(), "m", v.ID); err != nil {
		t.Errorf("a version with its own self-test: %v", err)
	}
	if n, _ := r.served(t); n != 3 || r.Loaded("m") != 1 {
		t.Errorf("after a test %d serves, %d are loaded", n, r.Loaded("m"))
	}
	for _, text := range []string{"nothing", strings.Repeat("0", 32)} {
		if _, err := r.Publish(t.Context(), "m", text, Cause{}); fault.KindOf(err) != fault.NotFound {
			t.Errorf("publishing %s: %v", text, err)
		}
	}
	if _, err := r.Publish(t.Context(), "none", "app", Cause{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an unknown model: %v", err)
	}
}

func TestPinned(t *testing.T) {
	r := shelved(t, t.TempDir(), 0)
	a, b := r.recordOK(t, stepModel(0.3)), r.recordOK(t, stepModel(0.6))
	r.publishOK(t, a.ID)
	if v, err := r.Pin("m", a.ID, true); err != nil || !v.Pinned {
		t.Fatalf("%+v, %v", v, err)
	}
	training := Cause{Origin: OriginTraining}
	if _, err := r.Publish(t.Context(), "m", b.ID, training); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a training replaces a pinned version: %v", err)
	}
	if _, err := r.Pin("m", a.ID, false); err != nil {
		t.Fatal(err)
	}
	if v, err := r.Publish(t.Context(), "m", b.ID, training); err != nil || v.ID != b.ID {
		t.Errorf("no longer pinned: %+v, %v", v, err)
	}
	if gone, err := r.Retire(t.Context(), "m", a.ID); fault.KindOf(err) != fault.Conflict {
		t.Errorf("what a rollback brings back is retired: %v, %v", gone, err)
	}
	for i := range 5 { // Keep is 3
		r.publishOK(t, r.recordOK(t, stepModel(float32(i))).ID)
	}
	all, err := r.Versions("m")
	if err != nil || len(all) != 3+1 {
		t.Errorf("%d versions are kept, %v; want 3 and the app's own", len(all), err)
	}
}

// TestSwapUnderLoad infers without pause while good and broken versions come
// and go: no inference fails, and every answer is that of the one version it
// names.
func TestSwapUnderLoad(t *testing.T) {
	before := ort.OpenSessions()
	r := shelved(t, t.TempDir(), 1<<20)
	_, own := r.served(t)
	shows := map[string]int{own: 1}
	var good, bad []Version
	for i, at := range []float32{0.3, 0.45, 0.6} {
		good = append(good, r.recordOK(t, stepModel(at)))
		shows[good[i].ID] = []int{3, 4, 5}[i]
	}
	for _, c := range broken {
		bad = append(bad, r.recordOK(t, c.fsys))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]int{}
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				n, id := r.served(t)
				mu.Lock()
				if seen[id]++; shows[id] != n {
					t.Errorf("version %s shows %d, want %d", id, n, shows[id])
				}
				mu.Unlock()
			}
		})
	}
	r.o.Keep = 20
	for i := range 20 {
		if _, err := r.Publish(ctx, "m", bad[i%len(bad)].ID, Cause{}); err == nil {
			t.Error("a broken version is in service")
		}
		r.publishOK(t, good[i%len(good)].ID)
		if i%3 == 0 {
			if _, err := r.Rollback(ctx, "m", Cause{}); err != nil {
				t.Error(err)
			}
		}
		if n := r.Loaded("m"); n > 2 {
			t.Errorf("%d versions are loaded", n)
		}
	}
	cancel()
	wg.Wait()
	if len(seen) < 3 {
		t.Errorf("only %d versions were seen: the test proves nothing", len(seen))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := ort.OpenSessions(); n != before {
		t.Errorf("%d sessions are open, want %d", n, before)
	}
}

// TestDrain keeps a replaced version until its last inference has ended, and
// never loads a third one.
func TestDrain(t *testing.T) {
	r := shelved(t, t.TempDir(), 0)
	a, b := r.recordOK(t, stepModel(0.3)), r.recordOK(t, stepModel(0.6))
	e := r.entries[0]
	v, _, _, err := r.lease(e)
	if err != nil {
		t.Fatal(err)
	}
	r.publishOK(t, a.ID)
	state := func(app bool) State {
		all, err := r.Versions("m")
		if err != nil {
			t.Fatal(err)
		}
		return all[slices.IndexFunc(all, func(w Version) bool { return w.App == app && (app || w.ID == a.ID) })].State
	}
	if state(true) != Unloading || state(false) != Ready || r.Loaded("m") != 2 {
		t.Errorf("states %s and %s, %d loaded", state(true), state(false), r.Loaded("m"))
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Publish(short, "m", b.ID, Cause{}); fault.KindOf(err) != fault.Canceled {
		t.Errorf("a third version: %v", err)
	}
	done := make(chan error)
	go func() {
		_, err := r.Publish(t.Context(), "m", b.ID, Cause{})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("a third version was loaded while two are in memory: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	r.release(v)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n, _ := r.served(t); n != 5 || state(true) != Unavailable {
		t.Errorf("serves %d, the first is %s", n, state(true))
	}
}

// TestStart serves after a restart what was in service, or the last version
// that can be used, and says which.
func TestStart(t *testing.T) {
	models := t.TempDir()
	r := shelved(t, models, 0)
	a, b := r.recordOK(t, stepModel(0.3)), r.recordOK(t, stepModel(0.6))
	r.publishOK(t, a.ID)
	r.publishOK(t, b.ID)
	again := func(want int, reason string) {
		t.Helper()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		r = shelved(t, models, 0)
		n, id := r.served(t)
		if n != want {
			t.Errorf("serves %d, want %d", n, want)
		}
		if m, _ := r.Model("m"); m.Version != id {
			t.Errorf("clients are told %s, %s serves", m.Version, id)
		}
		swaps, err := r.History("m")
		if last := swaps[len(swaps)-1]; err != nil || reason != "" && (last.Origin != OriginStart || !strings.Contains(last.Reason, reason)) {
			t.Errorf("the history ends with %+v, %v", last, err)
		}
	}
	again(5, "")
	write(t, filepath.Join(models, "m", b.ID, NetworkFile), stepNetwork(0.9)) // whole, but not what the name says
	again(3, "damaged")
	again(3, "") // the pointer says so by now
	if err := os.RemoveAll(filepath.Join(models, "m", a.ID)); err != nil {
		t.Fatal(err)
	}
	again(1, "no manifest.yaml")
	if _, err := r.Rollback(t.Context(), "m", Cause{}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a rollback to a lost version: %v", err)
	}
	if swaps, _ := r.History("m"); len(swaps) != 4 {
		t.Errorf("history %+v", swaps)
	}
}

// TestOwnBroken serves a version though the app's own model cannot be used.
func TestOwnBroken(t *testing.T) {
	models := t.TempDir()
	r := shelved(t, models, 0)
	r.publishOK(t, r.recordOK(t, stepModel(0.3)).ID)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	next := NewRegistry(r.o)
	t.Cleanup(func() { _ = next.Close() })
	if err := next.AddFS("m", fstest.MapFS{}); err != nil {
		t.Errorf("a model with a good version in service: %v", err)
	}
	if n, _ := next.served(t); n != 3 {
		t.Errorf("serves %d", n)
	}
	if _, err := next.Rollback(t.Context(), "m", Cause{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("back to a broken one: %v", err)
	}
	if n, _ := next.served(t); n != 3 {
		t.Errorf("serves %d after a failed rollback", n)
	}
}
