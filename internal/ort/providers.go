package ort

import (
	"context"
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
	if err := r.tryDevice(ctx, device); err != nil {
		return fault.Wrap(fault.Unavailable, err,
			"device %s does not work with ONNX Runtime %s (%s) on this machine", device, r.lib.Version, r.lib.Variant)
	}
	return nil
}

func (r *Runtime) tryDevice(ctx context.Context, device string) error {
	s, err := r.newSession(reluModel(), SessionOptions{Device: device, Threads: 1})
	if err != nil {
		return err
	}
	x, y := []float32{-1, 2}, make([]float32, 2)
	err = s.Run(ctx, []Tensor{{[]int64{1, 2}, x}}, []Tensor{{[]int64{1, 2}, y}})
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	if err == nil && (y[0] != 0 || y[1] != 2) {
		err = fault.New(fault.Internal, "relu(-1, 2) gave %v", y)
	}
	return err
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
