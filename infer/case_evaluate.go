package infer

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
)

// Evaluator runs one network through a Pipeline: what Registry.Infer does,
// without the registry. It is safe for many goroutines, which take turns.
type Evaluator struct {
	pipeline *Pipeline
	mu       sync.Mutex
	stages   []stage // nil once it is closed
}

// Evaluator opens a network in place of the folder's own, on the pipeline's device
// with the rewrites of inference. It is not compared with its untouched graph:
// a network in training is judged many times, and the one that comes out is
// tested when it is put into service. threads: 0 means all cores. The network
// must have the folder's interface (Invalid otherwise). The caller closes the
// Evaluator.
func (p *Pipeline) Evaluator(ctx context.Context, rt *ort.Runtime, network *onnx.Model, threads int) (*Evaluator, error) {
	b, err := bind(p.m, network)
	if err != nil {
		return nil, err
	}
	fixed, err := b.fixed(p.m, network)
	if err != nil {
		return nil, err
	}
	device := cmp.Or(p.o.Device, ort.CPU)
	ready, _, err := onnx.Prepare(fixed, onnx.PrepareOptions{Provider: device})
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.Canceled, err, "opening the network was stopped")
	}
	s, err := rt.NewSession(ready.Bytes(), ort.SessionOptions{Device: device, Threads: threads})
	if err != nil {
		return nil, err
	}
	n, err := newNetwork(p.m, b, s, p.o.MaxVoxels, &p.pool)
	if err != nil {
		return nil, err
	}
	return &Evaluator{pipeline: p, stages: []stage{n}}, nil
}

// Run segments a case and returns the label map on the grid of its first
// image. Errors are those of Registry.Infer; Unavailable after Close.
func (e *Evaluator) Run(ctx context.Context, in Input, o Options) (*imaging.LabelMap, error) {
	return e.run(ctx, &task{in: in, options: o})
}

func (e *Evaluator) run(ctx context.Context, c *task) (*imaging.LabelMap, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stages == nil {
		return nil, fault.New(fault.Unavailable, "the network has been closed")
	}
	err := runSafely(ctx, e.stages, c)
	if err != nil && ctx.Err() != nil && fault.KindOf(err) != fault.Canceled {
		err = fault.Wrap(fault.Canceled, errors.Join(ctx.Err(), err), "the inference was stopped")
	}
	if err != nil {
		return nil, err
	}
	return c.labels, nil
}

// Close frees the network. It waits for a run under way and is safe to call
// twice.
func (e *Evaluator) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	stages := e.stages
	e.stages = nil
	return (&version{stages: stages}).close()
}
