package ort

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	ortgo "github.com/yalue/onnxruntime_go"

	"github.com/voxloop/voxloop/internal/fault"
)

// Bound is a set of the caller's buffers tied to a session, for running it
// many times: write into the inputs' Data, Run, read the outputs' Data. The
// buffers are pinned until Close, of the Bound or of its session.
type Bound struct {
	s    *Session
	pins runtime.Pinner

	mu      sync.Mutex    // held while it runs
	in, out []ortgo.Value // nil when closed
}

// Bind ties buffers to the session: in[i] is Inputs()[i], out[i] is
// Outputs()[i]. No data is copied. Shapes that contradict the network's or
// the length of the data give fault.Invalid.
func (s *Session) Bind(in, out []Tensor) (*Bound, error) {
	if err := fits("input", s.in, in); err != nil {
		return nil, err
	}
	if err := fits("output", s.out, out); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		return nil, ErrClosed
	}
	b := &Bound{s: s}
	var err error
	if b.in, err = b.values(in); err == nil {
		b.out, err = b.values(out)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, errors.Join(err, b.free()), "a tensor for the network could not be made")
	}
	s.bound[b] = struct{}{}
	return b, nil
}

func (b *Bound) values(ts []Tensor) ([]ortgo.Value, error) {
	out := make([]ortgo.Value, 0, len(ts))
	for _, t := range ts {
		v, err := b.value(t)
		if err != nil {
			return out, err
		}
		out = append(out, v)
	}
	return out, nil
}

// value ties one buffer. The library keeps its address between calls: cgo
// allows that for pinned memory only.
func (b *Bound) value(t Tensor) (ortgo.Value, error) {
	shape := ortgo.NewShape(t.Shape...)
	if t.Bytes != nil {
		b.pins.Pin(&t.Bytes[0])
		return ortgo.NewTensor(shape, t.Bytes)
	}
	b.pins.Pin(&t.Data[0])
	return ortgo.NewTensor(shape, t.Data)
}

// Run runs the network on the bound buffers; see Session.Run about ctx. It
// waits for its turn when another run of the session is in progress.
func (b *Bound) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return stopped(ctx)
	}
	select {
	case b.s.turn <- struct{}{}:
	case <-ctx.Done():
		return stopped(ctx)
	}
	defer func() { <-b.s.turn }()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.in == nil {
		return ErrClosed
	}
	err := b.run(ctx)
	if ctx.Err() != nil {
		return stopped(ctx)
	}
	return fault.Wrap(fault.Invalid, err, "the network failed on device %s", b.s.device)
}

func (b *Bound) run(ctx context.Context) error {
	opts, err := ortgo.NewRunOptions()
	if err != nil {
		return err
	}
	terminated := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(terminated)
		_ = opts.Terminate() // fails only on options that are gone, and they are not
	})
	err = b.s.session.RunWithOptions(b.in, b.out, opts)
	if !stop() {
		<-terminated // opts must outlive the call that sets its flag
	}
	if derr := opts.Destroy(); err == nil {
		err = derr
	}
	return err
}

// Close unties the buffers, waiting for a run on them. Closing again does
// nothing.
func (b *Bound) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.free()
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	delete(b.s.bound, b)
	return err
}

// free releases the tensors; nothing else uses b meanwhile.
func (b *Bound) free() error {
	var errs []error
	for _, v := range slices.Concat(b.in, b.out) {
		errs = append(errs, v.Destroy())
	}
	b.in, b.out = nil, nil
	b.pins.Unpin()
	return errors.Join(errs...)
}

func stopped(ctx context.Context) error {
	return fault.Wrap(fault.Canceled, context.Cause(ctx), "the inference was stopped")
}

// fits checks tensors against what the network declares.
func fits(kind string, want []TensorInfo, got []Tensor) error {
	if len(got) != len(want) {
		return fault.New(fault.Invalid, "the network has %d %ss, got %d", len(want), kind, len(got))
	}
	for i, t := range got {
		if !shapeFits(want[i].Shape, t.Shape) {
			return fault.New(fault.Invalid, "%s %q of the network has shape %s, got %v", kind, want[i].Name, shapeText(want[i].Shape), t.Shape)
		}
		have, other := len(t.Data), len(t.Bytes)
		if want[i].Type == elemByte {
			have, other = other, have
		}
		if n, ok := volume(t.Shape); !ok || n != int64(have) || other != 0 {
			return fault.New(fault.Invalid, "%s %q of the network (%s): %d values for shape %v", kind, want[i].Name, want[i].Type, have, t.Shape)
		}
	}
	return nil
}

func shapeFits(want, got []int64) bool {
	if want == nil {
		return true
	}
	if len(want) != len(got) {
		return false
	}
	for i, w := range want {
		if w >= 0 && w != got[i] {
			return false
		}
	}
	return true
}

// volume returns the product of a shape whose axes are all at least 1, and
// false for other shapes or one that overflows.
func volume(shape []int64) (int64, bool) {
	n := int64(1)
	for _, d := range shape {
		if d < 1 || n > math.MaxInt64/4/d {
			return 0, false
		}
		n *= d
	}
	return n, len(shape) > 0
}

func shapeText(shape []int64) string {
	text := make([]string, len(shape))
	for i, d := range shape {
		if text[i] = fmt.Sprint(d); d < 0 {
			text[i] = "?"
		}
	}
	return fmt.Sprint(text)
}
