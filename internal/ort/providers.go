package ort

import (
	"context"
	"runtime"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/voxloop/voxloop/internal/fault"
)

// probeTime bounds the trial run of a provider. Loading CUDA's libraries from
// a cold disk takes tens of seconds.
const probeTime = 2 * time.Minute

func newRuntime(l Library) *Runtime {
	r := &Runtime{lib: l, probes: make(map[string]func() error)}
	for _, d := range Devices() {
		r.probes[d] = sync.OnceValue(func() error { return r.probe(d) })
	}
	return r
}

// Providers returns the devices that really load here: a tiny network ran on
// each. The answer is found once per process; a first call takes about 0.3 s.
func (r *Runtime) Providers() []string {
	var out []string
	for _, d := range Devices() {
		if r.ProviderError(d) == nil {
			out = append(out, d)
		}
	}
	return out
}

// ProviderError returns why a device does not load here, or nil when it does.
// A name that is no device gives fault.Invalid, a device that is not there
// fault.Unavailable.
func (r *Runtime) ProviderError(device string) error {
	probe, ok := r.probes[device]
	if !ok {
		return fault.New(fault.Invalid, "device %q is unknown: use cpu, openvino or cuda", device)
	}
	return probe()
}

// Best returns the device that a session takes when none is asked for:
// OpenVINO where it loads, else the CPU. CUDA is taken on request only.
func (r *Runtime) Best() string {
	if r.ProviderError(OpenVINO) == nil {
		return OpenVINO
	}
	return CPU
}

func (r *Runtime) probe(device string) error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	try := func() error { return r.tryDevice(ctx, device) }
	if device == OpenVINO {
		try = func() error { return onDyingThread(func() error { return r.tryDevice(ctx, device) }) }
	}
	return fault.Wrap(fault.Unavailable, try(),
		"device %s does not work with ONNX Runtime %s (%s) on this machine", device, r.lib.Version, r.lib.Variant)
}

// tryDevice runs a tiny network on device. On OpenVINO it leaves that network's
// session open for good.
//
// OpenVINO's CPU plugin gives the thread that loads it a signal stack of its
// own, and frees that memory when the plugin is unloaded, by whichever thread
// closes the last session. The first thread then has a signal stack that is
// not there: Go's next preemption signal to it kills the process with a bare
// SIGSEGV (seen in a third of all runs with OpenVINO 2025.4.1 and Go 1.26).
// So the plugin is loaded on a thread that ends at once (onDyingThread), and
// the open session keeps it from ever being unloaded and loaded anew.
func (r *Runtime) tryDevice(ctx context.Context, device string) error {
	s, err := r.newSession(reluModel(), SessionOptions{Device: device, Threads: 1})
	if err != nil {
		return err
	}
	x, y := []float32{-1, 2}, make([]float32, 2)
	err = s.Run(ctx, []Tensor{{Shape: []int64{1, 2}, Data: x}}, []Tensor{{Shape: []int64{1, 2}, Data: y}})
	if err == nil && (y[0] != 0 || y[1] != 2) {
		err = fault.New(fault.Internal, "relu(-1, 2) gave %v", y)
	}
	if device == OpenVINO {
		r.keep = s
		return err
	}
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return err
}

// onDyingThread calls f on a thread of the system that ends afterwards.
func onDyingThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}

// reluModel returns an ONNX file y = Relu(x), x and y float32 [1, 2].
// Field numbers: onnx.proto3 of ONNX 1.13 (IR version 8, opset 13).
func reluModel() []byte {
	str := func(b []byte, n protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
	}
	num := func(b []byte, n protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
	}
	value := func(name string) string { // ValueInfoProto
		shape := str(str(nil, 1, string(num(nil, 1, 1))), 1, string(num(nil, 1, 2)))
		tensor := str(num(nil, 1, elemFloat), 2, string(shape))
		return string(str(str(nil, 1, name), 2, string(str(nil, 1, string(tensor)))))
	}
	node := str(str(str(nil, 1, "x"), 2, "y"), 4, "Relu")
	graph := str(str(nil, fieldGraphNode, string(node)), 2, "probe")
	graph = str(str(graph, fieldGraphInput, value("x")), fieldGraphOutput, value("y"))
	model := num(nil, 1, 8)
	model = str(model, fieldModelGraph, string(graph))
	return str(model, 8, string(num(nil, 2, 13)))
}
