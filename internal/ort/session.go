package ort

import (
	"context"
	"maps"
	"slices"
	"sync"

	ortgo "github.com/yalue/onnxruntime_go"

	"github.com/voxloop/voxloop/internal/fault"
)

// ErrClosed is returned by a Session or Bound that was closed.
var ErrClosed = fault.New(fault.Unavailable, "the network's session is closed")

// Tensor is a dense float32 array of the caller, last axis fastest. Data holds
// exactly the product of Shape. For an input of uint8 Bytes does
// (SessionOptions.ByteInputs).
type Tensor struct {
	Shape []int64
	Data  []float32
	Bytes []uint8
}

// Session is a network ready to run on one device. Its methods may be called
// from many goroutines; runs of one session take turns, because each of them
// uses all of the session's threads.
type Session struct {
	device  string
	threads int
	in, out []TensorInfo
	turn    chan struct{} // holds one token while a run or Close works

	// Locks are taken in the order turn, Bound.mu, mu.
	mu      sync.Mutex
	session *ortgo.DynamicAdvancedSession // nil when closed; written under turn and mu
	bound   map[*Bound]struct{}           // guarded by mu
}

// open holds all sessions that are not closed: the tally for metrics, and what
// keeps the pinned buffers of a forgotten session alive.
var open struct {
	sync.Mutex
	sessions map[*Session]struct{}
}

// OpenSessions returns how many sessions of this process are not closed.
func OpenSessions() int {
	open.Lock()
	defer open.Unlock()
	return len(open.sessions)
}

// NewSession prepares a network for running. The bytes are not kept.
//
// All inputs and outputs must be float32 (but see ByteInputs). Errors: fault.Invalid for a network
// that cannot be used (the cause has ONNX Runtime's words) or an unknown
// device, fault.Unavailable for a device that does not load here.
func (r *Runtime) NewSession(model []byte, o SessionOptions) (*Session, error) {
	if o.Device == "" {
		o.Device = r.Best()
	}
	if err := r.ProviderError(o.Device); err != nil {
		return nil, err
	}
	s, err := r.newSession(model, o)
	if err != nil {
		return nil, err
	}
	open.Lock()
	defer open.Unlock()
	if open.sessions == nil {
		open.sessions = make(map[*Session]struct{})
	}
	open.sessions[s] = struct{}{}
	return s, nil
}

// newSession is NewSession without the question whether the device loads and
// without counting the session.
func (r *Runtime) newSession(model []byte, o SessionOptions) (*Session, error) {
	in, out, err := scanModel(model)
	if err != nil {
		return nil, err
	}
	if err := onlyFloats(in, out, o.ByteInputs); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	opts, err := o.build()
	if err != nil {
		return nil, err
	}
	defer func() { _ = opts.Destroy() }()
	cs, err := ortgo.NewDynamicAdvancedSessionWithONNXData(model, names(in), names(out), opts)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "ONNX Runtime %s does not accept the network on device %s", r.lib.Version, o.Device)
	}
	return &Session{
		device: o.Device, threads: o.Threads, in: in, out: out, session: cs,
		turn: make(chan struct{}, 1), bound: make(map[*Bound]struct{}),
	}, nil
}

// Device returns the device the session runs on: cpu, openvino or cuda.
func (s *Session) Device() string { return s.device }

// Threads returns how many threads one run uses on the CPU.
func (s *Session) Threads() int { return s.threads }

// Inputs describes the tensors that a run needs, in the order of its in
// argument.
func (s *Session) Inputs() []TensorInfo { return cloneInfo(s.in) }

// Outputs describes the tensors that a run writes, in the order of its out
// argument.
func (s *Session) Outputs() []TensorInfo { return cloneInfo(s.out) }

// Run runs the network once: in[i] is Inputs()[i], out[i] is Outputs()[i] and
// is written in place. For many runs on the same buffers use Bind.
//
// When ctx ends, the run stops after the operator it is in (on OpenVINO the
// whole network is one operator) and the error is of kind fault.Canceled and
// wraps ctx's; the session stays usable. The outputs are then undefined.
func (s *Session) Run(ctx context.Context, in, out []Tensor) error {
	b, err := s.Bind(in, out)
	if err != nil {
		return err
	}
	err = b.Run(ctx)
	if cerr := b.Close(); err == nil {
		err = cerr
	}
	return err
}

// Close waits for a run in progress and frees the session and its bindings.
// Closing again does nothing.
func (s *Session) Close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.session == nil {
		return nil
	}
	s.mu.Lock()
	cs := s.session
	s.session = nil
	bound := slices.Collect(maps.Keys(s.bound))
	s.mu.Unlock()
	for _, b := range bound {
		if err := b.Close(); err != nil {
			return err
		}
	}
	err := cs.Destroy()
	trimHeap()
	open.Lock()
	delete(open.sessions, s)
	open.Unlock()
	return err
}

func onlyFloats(in, out []TensorInfo, bytes bool) error {
	for _, t := range in {
		if t.Type != elemFloat && (t.Type != elemByte || !bytes) {
			return fault.New(fault.Invalid, "input %q of the network is %s: only float32 inputs are supported", t.Name, t.Type)
		}
	}
	for _, t := range out {
		if t.Type != elemFloat {
			return fault.New(fault.Invalid, "output %q of the network is %s: only float32 outputs are supported", t.Name, t.Type)
		}
	}
	return nil
}

func names(ts []TensorInfo) []string {
	out := make([]string, len(ts))
	for i, t := range ts {
		out[i] = t.Name
	}
	return out
}

func cloneInfo(ts []TensorInfo) []TensorInfo {
	out := make([]TensorInfo, len(ts))
	for i, t := range ts {
		t.Shape = append([]int64(nil), t.Shape...)
		out[i] = t
	}
	return out
}
