package infer

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
)

// tinyNetwork has two channels, x and 1-x: the label is 1 where x < 0.5.
func tinyNetwork() []byte {
	m := onnx.NewModel(17)
	m.AddInput("x", onnx.Float32, -1, 1, -1, -1, -1)
	m.AddInitializer(onnx.NewFloat32("w", []int64{2, 1, 1, 1, 1}, []float32{1, -1}))
	m.AddInitializer(onnx.NewFloat32("b", []int64{2}, []float32{0, 1}))
	m.AddNode("Conv", []string{"x", "w", "b"}, []string{"y"})
	m.AddOutput("y", onnx.Float32, -1, 2, -1, -1, -1)
	return m.Bytes()
}

func tinyFS() fstest.MapFS {
	return fstest.MapFS{ManifestFile: {Data: []byte(smallManifest)}, NetworkFile: {Data: tinyNetwork()}}
}

func tinyInput() Input {
	return Input{Volumes: []*imaging.Volume{volumeOf(1, [3]int{9, 10, 11}, func(_, x, _, _ int) float32 { return float32(x % 2) })}}
}

func TestRegistryServes(t *testing.T) {
	r := registry(t, "cpu")
	var mu sync.Mutex
	var seen []string
	r.o.Observe = func(model string, s Stage) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, model+" "+s.Name)
	}
	if err := r.AddFS("tiny", tinyFS()); err != nil {
		t.Fatal(err)
	}
	out, err := r.Infer(t.Context(), "tiny", tinyInput(), Options{}) // waits for loading
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range out.Labels.Data {
		if want := uint16((i%9 + 1) % 2); l != want {
			t.Fatalf("voxel %d has label %d, want %d", i, l, want)
		}
	}
	if want := "tiny queue, tiny prepare, tiny blend, tiny network, tiny restore, tiny post"; strings.Join(seen, ", ") != want {
		t.Errorf("observed %v, want %s", seen, want)
	}
	if out.Windows != 8 || out.Model.State != Ready || len(out.Model.Version) != 32 || out.Model.Channels != 1 {
		t.Errorf("output %+v", out)
	}
	if dev, _ := out.Model.Config.Get("device"); dev.([]any)[0] != "cpu" {
		t.Errorf("device %v, want cpu first", dev)
	}
	if _, dir, ok := r.Folder("tiny"); !ok || dir != "" {
		t.Errorf("an embedded model has the folder %q", dir)
	}
	// More overlap, more windows; a wish for the largest component is heard.
	on := true
	out, err = r.Infer(t.Context(), "tiny", tinyInput(), Options{Overlap: 0.8, LargestComponent: &on})
	if err != nil {
		t.Fatal(err)
	}
	if out.Windows != 2*3*4 {
		t.Errorf("%d windows at overlap 0.8, want 24", out.Windows)
	}
	n := 0
	for _, l := range out.Labels.Data {
		n += int(l)
	}
	if n != 10*11 {
		t.Errorf("%d voxels left, want one sheet of 110", n)
	}
}

// TestRegistryBroken has one working model among several broken ones.
func TestRegistryBroken(t *testing.T) {
	r := registry(t, "cpu")
	other := tinyFS()
	other[ManifestFile] = &fstest.MapFile{Data: []byte(edit("inputs", "inputs: [{source: image}, {source: image}]\n"))}
	noNetwork := tinyFS()
	noNetwork[NetworkFile] = &fstest.MapFile{Data: []byte("no network")}
	unknownKey := tinyFS()
	unknownKey[ManifestFile] = &fstest.MapFile{Data: []byte(smallManifest + "colour: red\n")}
	for _, c := range []struct {
		name   string
		fsys   fstest.MapFS
		atOnce bool
		reason string
	}{
		{"key", unknownKey, true, "manifest.yaml: colour: unknown key"},
		{"channels", other, false, "manifest.yaml: inputs: 2 channels are listed, but x takes 1"},
		{"garbage", noNetwork, false, "model.onnx is no readable network"},
		{"empty", fstest.MapFS{}, true, "no manifest.yaml"},
		{"good", tinyFS(), false, ""},
	} {
		if err := r.AddFS(c.name, c.fsys); (err != nil) != c.atOnce {
			t.Errorf("%s: Add says %v", c.name, err)
		}
		err := r.Wait(t.Context(), c.name)
		info, ok := r.Model(c.name)
		if !ok {
			t.Fatalf("%s is not recorded", c.name)
		}
		if c.reason == "" {
			if err != nil || info.State != Ready {
				t.Errorf("%s: %v, state %s", c.name, err, info.State)
			}
			continue
		}
		if info.State != Unavailable || !strings.Contains(info.Reason, c.reason) {
			t.Errorf("%s: state %s, reason %q, want %q", c.name, info.State, info.Reason, c.reason)
		}
		if _, err := r.Infer(t.Context(), c.name, tinyInput(), Options{}); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: inference says %v", c.name, err)
		}
	}
	if _, err := r.Infer(t.Context(), "good", tinyInput(), Options{}); err != nil {
		t.Errorf("the good model suffers: %v", err)
	}
	var names []string
	for _, m := range r.Models() {
		names = append(names, m.Name)
	}
	if got := strings.Join(names, " "); got != "key channels garbage empty good" {
		t.Errorf("models %s, want them in order of Add", got)
	}
	if _, err := r.Infer(t.Context(), "none", Input{}, Options{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("unknown model: %v", err)
	}
	if err := r.AddFS("good", tinyFS()); fault.KindOf(err) != fault.Conflict {
		t.Errorf("the same name again: %v", err)
	}
	if err := r.Wait(t.Context(), ""); err == nil {
		t.Error("waiting for all models hides the broken ones")
	}
}

func TestRegistryBadInput(t *testing.T) {
	r := registry(t, "cpu")
	r.o.MaxVoxels = 2000
	if err := r.AddFS("tiny", tinyFS()); err != nil {
		t.Fatal(err)
	}
	bad := volumeOf(1, [3]int{4, 4, 4}, func(_, _, _, _ int) float32 { return 0 })
	bad.Affine[0][0] = 0
	for _, c := range []struct {
		name string
		in   Input
		o    Options
		kind fault.Kind
		want string
	}{
		{"none", Input{}, Options{}, fault.Invalid, "the image has 0 channels; this model takes 1"},
		{"two channels", Input{Volumes: []*imaging.Volume{volumeOf(2, [3]int{4, 4, 4}, func(_, _, _, _ int) float32 { return 0 })}}, Options{}, fault.Invalid, "the image has 2 channels; this model takes 1"},
		{"nil", Input{Volumes: []*imaging.Volume{nil}}, Options{}, fault.Invalid, "missing"},
		{"singular", Input{Volumes: []*imaging.Volume{bad}}, Options{}, fault.Invalid, "image 1 of 1 cannot be used"},
		{"too large", Input{Volumes: []*imaging.Volume{volumeOf(1, [3]int{20, 20, 20}, func(_, _, _, _ int) float32 { return 0 })}}, Options{}, fault.TooLarge, "at most 2000"},
		{"overlap", tinyInput(), Options{Overlap: 1.5}, fault.Invalid, "the overlap 1.5"},
	} {
		_, err := r.Infer(t.Context(), "tiny", c.in, c.o)
		if fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v %v, want %v with %q", c.name, fault.KindOf(err), err, c.kind, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Infer(ctx, "tiny", tinyInput(), Options{}); fault.KindOf(err) != fault.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

// TestRegistryClose frees every session and refuses what comes after.
func TestRegistryClose(t *testing.T) {
	before := ort.OpenSessions()
	r := registry(t, "cpu")
	if err := r.AddFS("tiny", tinyFS()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := r.Infer(t.Context(), "tiny", tinyInput(), Options{}); err != nil && fault.KindOf(err) != fault.Unavailable {
				t.Error(err)
			}
		})
	}
	if err := r.Wait(t.Context(), "tiny"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if n := ort.OpenSessions(); n != before {
		t.Errorf("%d sessions are open, want %d", n, before)
	}
	if _, err := r.Infer(t.Context(), "tiny", tinyInput(), Options{}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("after Close: %v", err)
	}
	if err := r.AddFS("more", tinyFS()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Add after Close: %v", err)
	}
}

// TestVersionLease closes a retired version with its last lease, not before.
func TestVersionLease(t *testing.T) {
	r := NewRegistry(RegistryOptions{})
	s := &fakeStage{}
	e := &entry{}
	v := &version{device: "cpu", stages: []stage{s}, owner: e, gone: make(chan struct{})}
	e.version, e.open = v, []*version{v}
	for range 2 {
		if _, _, _, err := r.lease(e); err != nil {
			t.Fatal(err)
		}
	}
	r.retire(v)
	r.release(v)
	if s.closed != 0 || len(e.open) != 1 {
		t.Error("closed while leased")
	}
	r.release(v)
	if s.closed != 1 || len(e.open) != 0 {
		t.Errorf("closed %d times, want once", s.closed)
	}
	<-v.gone
}

type fakeStage struct {
	do     func(context.Context, *task) error
	closed int
}

func (s *fakeStage) run(ctx context.Context, c *task) error { return s.do(ctx, c) }
func (s *fakeStage) close() error                           { s.closed++; return nil }

// TestStagesFollow hands what one stage found to the next.
func TestStagesFollow(t *testing.T) {
	l := imaging.NewLabelMap(imaging.Grid{Size: [3]int{2, 2, 2}, Affine: imaging.Identity()})
	var got *imaging.LabelMap
	first := &fakeStage{do: func(_ context.Context, c *task) error { c.labels = l; return nil }}
	second := &fakeStage{do: func(_ context.Context, c *task) error { got = c.in.Previous; return nil }}
	if err := runStages(t.Context(), []stage{first, second}, &task{}); err != nil {
		t.Fatal(err)
	}
	if got != l {
		t.Error("the second stage does not see the first one's labels")
	}
	stop := errors.New("stop")
	first.do = func(context.Context, *task) error { return stop }
	second.do = func(context.Context, *task) error { t.Error("runs after a failure"); return nil }
	if err := runSafely(t.Context(), []stage{first, second}, &task{}); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	first.do = func(context.Context, *task) error { panic("strange image") }
	if err := runSafely(t.Context(), []stage{first}, &task{}); fault.KindOf(err) != fault.Internal {
		t.Errorf("a panic becomes %v", err)
	}
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(2)
		leave, _, err := q.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, _, err := q.enter(ctx)
			gone <- err
		}()
		synctest.Wait()
		var order []int
		done := make(chan struct{})
		wait := func(i int) {
			leave, waited, err := q.enter(t.Context())
			if err != nil {
				t.Error(err)
			} else {
				order = append(order, i)
				if waited < time.Second {
					t.Errorf("waited %v, want a second", waited)
				}
				leave()
			}
			done <- struct{}{}
		}
		go wait(1)
		synctest.Wait()
		if _, _, err := q.enter(t.Context()); fault.KindOf(err) != fault.Busy {
			t.Errorf("a third in the queue: %v", err)
		}
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled wait: %v", err)
		}
		go wait(2)
		synctest.Wait()
		time.Sleep(time.Second)
		leave()
		<-done
		<-done
		if len(order) != 2 || order[0] != 1 {
			t.Errorf("order %v, want that of arrival", order)
		}
	})
}

// TestSelfTest keeps the verdict and fails a graph that computes something
// else.
func TestSelfTest(t *testing.T) {
	rt := orttest.Runtime(t)
	m, err := ParseManifest([]byte(smallManifest))
	if err != nil {
		t.Fatal(err)
	}
	graph, err := onnx.Parse(tinyNetwork())
	if err != nil {
		t.Fatal(err)
	}
	b, err := bind(m, graph)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := b.fixed(m, graph)
	if err != nil {
		t.Fatal(err)
	}
	l := &loader{runtime: rt, cacheDir: t.TempDir(), log: slog.Default(), pool: &buffers{}, testing: make(chan struct{}, 1)}
	good := selfTest{loader: l, m: m, b: b, plain: plain, ready: plain.Bytes(), device: ort.CPU}
	if err := good.check(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(l.cacheDir, "selftest", "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("kept verdicts %v, %v", files, err)
	}
	// A kept verdict is believed: turn it round and ask again.
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	write(t, files[0], []byte(strings.Replace(string(data), `"passed":true`, `"passed":false`, 1)))
	if err := good.check(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("the kept verdict is not read: %v", err)
	}
	other := plain.Clone()
	for i, in := range other.Graph.Initializers {
		if in.Name == "b" {
			other.Graph.Initializers[i] = onnx.NewFloat32("b", []int64{2}, []float32{0, 1.01})
		}
	}
	wrong := selfTest{loader: l, m: m, b: b, plain: plain, ready: other.Bytes(), device: ort.CPU}
	if err := wrong.check(t.Context()); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "self-test on cpu failed") {
		t.Errorf("a graph that is off by 0.01: %v", err)
	}
}

// TestFallback gives up a device on which the network does not pass.
func TestFallback(t *testing.T) {
	cache := t.TempDir()
	load := func() Info {
		r := registry(t, ort.OpenVINO)
		r.o.CacheDir = cache
		if err := r.AddFS("tiny", tinyFS()); err != nil {
			t.Fatal(err)
		}
		out, err := r.Infer(t.Context(), "tiny", tinyInput(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if used, _ := out.Model.Config.Get("device"); used.([]any)[0] != out.Device {
			t.Errorf("clients are told %v, it runs on %s", used, out.Device)
		}
		return out.Model
	}
	device := func(m Info) any { d, _ := m.Config.Get("device"); return d.([]any)[0] }
	if d := device(load()); d != ort.OpenVINO {
		t.Errorf("runs on %v, want openvino", d)
	}
	files, err := filepath.Glob(filepath.Join(cache, "selftest", "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("kept verdicts %v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	write(t, files[0], []byte(strings.Replace(string(data), `"passed":true`, `"passed":false`, 1)))
	if d := device(load()); d != ort.CPU {
		t.Errorf("runs on %v after a failed self-test, want cpu", d)
	}
}

// TestNoRuntime keeps the models listed, with the reason.
func TestNoRuntime(t *testing.T) {
	r := NewRegistry(RegistryOptions{
		Runtime: func(context.Context) (*ort.Runtime, error) {
			return nil, fault.New(fault.Unavailable, "ONNX Runtime is not installed")
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(func() { _ = r.Close() })
	if err := r.AddFS("tiny", tinyFS()); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context(), ""); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Wait says %v", err)
	}
	if info, _ := r.Model("tiny"); info.State != Unavailable || info.Reason != "ONNX Runtime is not installed" {
		t.Errorf("state %s, reason %q", info.State, info.Reason)
	}
}
