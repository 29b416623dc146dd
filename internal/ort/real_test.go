package ort_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func readModel(t testing.TB, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(testkit.Shared(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func tensor(t testing.TB, path string) ort.Tensor {
	t.Helper()
	a := testkit.ReadNPY(t, path)
	x := ort.Tensor{Data: a.F32(t)}
	for _, d := range a.Shape {
		x.Shape = append(x.Shape, int64(d))
	}
	return x
}

func zeros(shape ...int64) ort.Tensor {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return ort.Tensor{Shape: shape, Data: make([]float32, n)}
}

func newSession(t testing.TB, model []byte, o ort.SessionOptions) *ort.Session {
	t.Helper()
	s, err := orttest.Runtime(t).NewSession(model, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestForwardGolden compares with golden/networks: largest |difference| at
// most tol·max(1, max|y|), tol 1e-4 on the CPU (that folder's README) and 3e-4
// on OpenVINO.
func TestForwardGolden(t *testing.T) {
	for device, tol := range map[string]float64{ort.CPU: 1e-4, ort.OpenVINO: 3e-4} {
		for _, net := range []string{"unet2d_bn", "unet_res2_prelu", "segresnet_gn"} {
			t.Run(device+"/"+net, func(t *testing.T) {
				if err := orttest.Runtime(t).ProviderError(device); err != nil {
					testkit.SkipOrFail(t, err.Error())
				}
				dir := testkit.Shared(t, "golden", "networks", net)
				s := newSession(t, readModel(t, "golden", "networks", net, "model.onnx"), ort.SessionOptions{Device: device})
				for _, n := range []string{"0", "1"} { // two shapes: the axes are free
					x, want := tensor(t, filepath.Join(dir, "forward"+n+"_x.npy")), tensor(t, filepath.Join(dir, "forward"+n+"_y.npy"))
					got := zeros(want.Shape...)
					if err := s.Run(t.Context(), []ort.Tensor{x}, []ort.Tensor{got}); err != nil {
						t.Fatal(err)
					}
					largest := 1.0
					for _, v := range want.Data {
						largest = max(largest, math.Abs(float64(v)))
					}
					if d := testkit.MaxDiff(t, got.Data, want.Data); d > tol*largest {
						t.Errorf("shape %v: max difference %g, want at most %g", x.Shape, d, tol*largest)
					}
				}
			})
		}
	}
}

// TestBoundReadsItsBuffers runs one binding on changing data: the second
// result must be that of the second input.
func TestBoundReadsItsBuffers(t *testing.T) {
	dir := testkit.Shared(t, "golden", "networks", "unet2d_bn")
	model := readModel(t, "golden", "networks", "unet2d_bn", "model.onnx")
	for _, device := range orttest.Runtime(t).Providers() {
		s := newSession(t, model, ort.SessionOptions{Device: device})
		if s.Device() != device || s.Threads() != ort.Cores() {
			t.Errorf("session on %s with %d threads, want %s with %d", s.Device(), s.Threads(), device, ort.Cores())
		}
		x, want := tensor(t, filepath.Join(dir, "forward0_x.npy")), tensor(t, filepath.Join(dir, "forward0_y.npy"))
		in, out := zeros(x.Shape...), zeros(want.Shape...)
		b, err := s.Bind([]ort.Tensor{in}, []ort.Tensor{out})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		first := slices.Clone(out.Data)
		copy(in.Data, x.Data)
		if err := b.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := testkit.MaxDiff(t, out.Data, want.Data); d > 1e-2 {
			t.Errorf("%s: the second run differs by %g from its input's result", device, d)
		}
		if d := testkit.MaxDiff(t, first, out.Data); d < 1e-2 {
			t.Errorf("%s: zeros and the golden input give the same result", device)
		}
		for range 2 {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := b.Run(t.Context()); !errors.Is(err, ort.ErrClosed) {
			t.Errorf("run after Close: %v", err)
		}
	}
}

// TestCancel stops a run in its middle: on the CPU provider the last operator
// is then never reached and the output is untouched. The session stays usable.
func TestCancel(t *testing.T) {
	model := readModel(t, "golden", "networks", "segresnet_gn", "model.onnx")
	for _, device := range orttest.Runtime(t).Providers() {
		s := newSession(t, model, ort.SessionOptions{Device: device})
		in, out := zeros(1, 1, 96, 96, 96), zeros(1, 3, 96, 96, 96)
		b, err := s.Bind([]ort.Tensor{in}, []ort.Tensor{out})
		if err != nil {
			t.Fatal(err)
		}
		nan := float32(math.NaN())
		for i := range out.Data {
			out.Data[i] = nan
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err = b.Run(ctx)
		cancel()
		if fault.KindOf(err) != fault.Canceled || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: stopped run: %v", device, err)
		}
		if device == ort.CPU && out.Data[0] == out.Data[0] {
			t.Error("the run was not stopped: its output is written")
		}
		if err := b.Run(ctx); fault.KindOf(err) != fault.Canceled {
			t.Errorf("%s: run under a finished context: %v", device, err)
		}
		if err := b.Run(t.Context()); err != nil {
			t.Errorf("%s: run after a stopped one: %v", device, err)
		}
		if out.Data[0] != out.Data[0] {
			t.Errorf("%s: the run after a stopped one wrote nothing", device)
		}
	}
}

func TestRunsTakeTurns(t *testing.T) {
	dir := testkit.Shared(t, "golden", "networks", "unet_res2_prelu")
	s := newSession(t, readModel(t, "golden", "networks", "unet_res2_prelu", "model.onnx"), ort.SessionOptions{})
	x, want := tensor(t, filepath.Join(dir, "forward0_x.npy")), tensor(t, filepath.Join(dir, "forward0_y.npy"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			got := zeros(want.Shape...)
			if err := s.Run(t.Context(), []ort.Tensor{x}, []ort.Tensor{got}); err != nil {
				t.Error(err)
			}
			if d := testkit.MaxDiff(t, got.Data, want.Data); d > 1e-2 {
				t.Errorf("max difference %g", d)
			}
		})
	}
	wg.Wait()
}

// TestWaitingEndsWithContext asks for a run while another one has the turn: a
// caller that goes away must not wait for it.
func TestWaitingEndsWithContext(t *testing.T) {
	s := newSession(t, readModel(t, "golden", "networks", "segresnet_gn", "model.onnx"), ort.SessionOptions{Device: ort.CPU})
	long, stop := context.WithCancel(t.Context())
	in, out := zeros(4, 1, 96, 96, 96), zeros(4, 3, 96, 96, 96)
	var wg sync.WaitGroup
	var first error
	wg.Go(func() { first = s.Run(long, []ort.Tensor{in}, []ort.Tensor{out}) })
	small, res := zeros(1, 1, 16, 16, 16), zeros(1, 3, 16, 16, 16)
	for err := error(nil); err == nil; { // until the long run has the turn
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err = s.Run(ctx, []ort.Tensor{small}, []ort.Tensor{res})
		cancel()
		if err != nil && fault.KindOf(err) != fault.Canceled {
			t.Errorf("waiting run: %v", err)
		}
	}
	stop()
	wg.Wait()
	if fault.KindOf(first) != fault.Canceled {
		t.Errorf("the long run ended before the waiting one gave up: %v", first)
	}
}

func TestSessionClose(t *testing.T) {
	before := ort.OpenSessions()
	rt := orttest.Runtime(t)
	rt.Providers() // trial sessions do not count
	s, err := rt.NewSession(readModel(t, "models", "hippocampus", "model.onnx"), ort.SessionOptions{Device: ort.CPU, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	if n := ort.OpenSessions(); n != before+1 {
		t.Errorf("%d open sessions, want %d", n, before+1)
	}
	in, out := []ort.Tensor{zeros(1, 1, 40, 56, 40)}, []ort.Tensor{zeros(1, 3, 40, 56, 40)}
	b, err := s.Bind(in, out)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Run(t.Context()); err != nil && !errors.Is(err, ort.ErrClosed) {
			t.Error(err)
		}
	})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if n := ort.OpenSessions(); n != before {
		t.Errorf("%d open sessions after Close, want %d", n, before)
	}
	if err := b.Run(t.Context()); !errors.Is(err, ort.ErrClosed) {
		t.Errorf("Bound.Run after Close: %v", err)
	}
	if err := s.Run(t.Context(), in, out); !errors.Is(err, ort.ErrClosed) {
		t.Errorf("Run after Close: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestNewSessionRefuses(t *testing.T) {
	rt := orttest.Runtime(t)
	good := readModel(t, "models", "hippocampus", "model.onnx")
	tests := []struct {
		name  string
		model []byte
		o     ort.SessionOptions
		kind  fault.Kind
		say   string
	}{
		{"no network", []byte("x"), ort.SessionOptions{}, fault.Invalid, "no readable ONNX"},
		{"cut network", good[:len(good)/2], ort.SessionOptions{}, fault.Invalid, "ONNX"},
		{"unknown device", good, ort.SessionOptions{Device: "tpu"}, fault.Invalid, "tpu"},
	}
	if !slices.Contains(rt.Providers(), ort.CUDA) {
		tests = append(tests, struct {
			name  string
			model []byte
			o     ort.SessionOptions
			kind  fault.Kind
			say   string
		}{"device that does not load", good, ort.SessionOptions{Device: ort.CUDA}, fault.Unavailable, "cuda"})
	}
	before := ort.OpenSessions()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := rt.NewSession(tt.model, tt.o)
			if m, _ := fault.Message(err); fault.KindOf(err) != tt.kind || !strings.Contains(m, tt.say) {
				t.Errorf("got %v (%v), want %v with %q", err, fault.KindOf(err), tt.kind, tt.say)
			}
		})
	}
	if n := ort.OpenSessions(); n != before {
		t.Errorf("%d open sessions, want %d", n, before)
	}
}

// TestRunRefusesWrongOutput gives an output that the declared (free) axes
// allow and the network does not make.
func TestRunRefusesWrongOutput(t *testing.T) {
	model := readModel(t, "models", "hippocampus", "model.onnx")
	for _, device := range orttest.Runtime(t).Providers() {
		s := newSession(t, model, ort.SessionOptions{Device: device})
		err := s.Run(t.Context(), []ort.Tensor{zeros(1, 1, 32, 32, 32)}, []ort.Tensor{zeros(1, 3, 16, 16, 16)})
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: got %v, want a fault of kind invalid", device, err)
		}
		if err := s.Run(t.Context(), []ort.Tensor{zeros(1, 1, 32, 32, 32)}, []ort.Tensor{zeros(1, 3, 32, 32, 32)}); err != nil {
			t.Errorf("%s: a right run after a wrong one: %v", device, err)
		}
	}
}

func TestOpenTwice(t *testing.T) {
	rt := orttest.Runtime(t)
	again, err := ort.Open(rt.Library())
	if err != nil || again != rt {
		t.Errorf("the same library: %p, %v; want %p", again, err, rt)
	}
	if now, ok := ort.Current(); !ok || now != rt {
		t.Errorf("Current: %p, %v", now, ok)
	}
	other := filepath.Join(t.TempDir(), "libonnxruntime.so.9")
	if err := os.WriteFile(other, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ort.Open(ort.Library{Path: other, Variant: "own"})
	m, _ := fault.Message(err)
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(m, "libonnxruntime.so.9") || !strings.Contains(m, rt.Library().Version) {
		t.Errorf("another library: %v, want a conflict naming both", err)
	}
	if _, err := ort.Open(ort.Library{Path: filepath.Join(t.TempDir(), "absent.so")}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("an absent library: %v", err)
	}
}

func TestProviders(t *testing.T) {
	rt := orttest.Runtime(t)
	if rt.Library().Version == "" {
		t.Error("the library's version is unknown")
	}
	ps := rt.Providers()
	if !slices.Contains(ps, ort.CPU) {
		t.Errorf("Providers: %v lack cpu", ps)
	}
	if rt.Library().Variant == ort.VariantOpenVINO && !slices.Contains(ps, ort.OpenVINO) {
		t.Errorf("Providers: %v of the OpenVINO build lack openvino: %v", ps, rt.ProviderError(ort.OpenVINO))
	}
	for _, d := range ort.Devices() {
		if err := rt.ProviderError(d); (err == nil) != slices.Contains(ps, d) {
			t.Errorf("ProviderError(%s): %v, with providers %v", d, err, ps)
		}
	}
	if best := rt.Best(); !slices.Contains(ps, best) || (slices.Contains(ps, ort.OpenVINO) && best != ort.OpenVINO) {
		t.Errorf("Best: %s of %v", best, ps)
	}
	if err := rt.ProviderError("tpu"); fault.KindOf(err) != fault.Invalid || ort.KnownDevice("tpu") || !ort.KnownDevice("") {
		t.Errorf("an unknown device: %v", err)
	}
}
