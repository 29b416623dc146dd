package infer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// Infer segments one case with a model, waiting first until that model is
// loaded and then for its turn on the device. When ctx ends, the inference
// stops. Errors: fault.NotFound for an unknown model, fault.Unavailable for
// one that is not in service, fault.Busy when too many wait, fault.Invalid and
// fault.TooLarge for images that do not suit the model, fault.Canceled.
func (r *Registry) Infer(ctx context.Context, name string, in Input, o Options) (*Output, error) {
	return r.inService(ctx, name, &task{in: in, options: o}, func(ctx context.Context, v *version, c *task) error {
		return runStages(ctx, v.stages, c)
	})
}

// inService runs fn on the version of a model that is in service, when its turn
// on the device has come.
func (r *Registry) inService(ctx context.Context, name string, c *task, fn func(context.Context, *version, *task) error) (*Output, error) {
	out, err := r.take(ctx, name, c, fn)
	if err != nil && ctx.Err() != nil && fault.KindOf(err) != fault.Canceled {
		err = fault.Wrap(fault.Canceled, errors.Join(ctx.Err(), err), "the inference was stopped")
	}
	return out, err
}

func (r *Registry) take(ctx context.Context, name string, c *task, fn func(context.Context, *version, *task) error) (*Output, error) {
	e, err := r.begin(name)
	if err != nil {
		return nil, err
	}
	defer r.wg.Done()
	if err := r.wait(ctx, e); err != nil {
		return nil, err
	}
	v, info, q, err := r.lease(e)
	if err != nil {
		return nil, err
	}
	defer r.release(v)
	leave, waited, err := q.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	c.record(Stage{Name: "queue", Duration: waited})
	err = safely(func() error { return fn(ctx, v, c) })
	if r.o.Observe != nil {
		for _, s := range c.stages {
			r.o.Observe(name, s)
		}
	}
	if err != nil {
		return nil, err
	}
	return &Output{Labels: c.labels, Model: info, Device: v.device, Windows: c.windows, Stages: c.stages}, nil
}

// safely turns a panic over a strange image into an error, so that it ends one
// inference and not the server.
func safely(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.Wrap(fault.Internal, fmt.Errorf("panic: %v\n%s", p, debug.Stack()), "the inference failed")
		}
	}()
	return fn()
}

// runSafely is runStages, safely.
func runSafely(ctx context.Context, stages []stage, c *task) error {
	return safely(func() error { return runStages(ctx, stages, c) })
}

// begin finds a model and counts the inference in, so that Close waits for it.
func (r *Registry) begin(name string) (*entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed()
	}
	e := r.find(name)
	if e == nil {
		return nil, unknown(name)
	}
	r.wg.Add(1)
	return e, nil
}

// lease takes the version in service, which stays open until it is released.
func (r *Registry) lease(e *entry) (*version, Info, *queue, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := e.version
	if v == nil {
		return nil, Info{}, nil, errClosed()
	}
	v.leases++
	q := r.queues[v.device]
	if q == nil {
		q = newQueue(r.o.QueueLength)
		r.queues[v.device] = q
	}
	return v, v.info.clone(), q, nil
}

func (r *Registry) release(v *version) {
	r.mu.Lock()
	v.leases--
	last := v.retired && v.leases == 0
	r.mu.Unlock()
	if last {
		r.closeVersion(v)
	}
}

// retire takes a version out of service; it is closed when its last lease has
// ended. It needs the lock not to be held.
func (r *Registry) retire(v *version) {
	r.mu.Lock()
	v.retired = true
	idle := v.leases == 0
	r.mu.Unlock()
	if idle {
		r.closeVersion(v)
	}
}

func (r *Registry) closeVersion(v *version) {
	if err := v.close(); err != nil {
		r.log.Warn("a network was not closed cleanly", "version", v.id, "err", err)
	}
	r.mu.Lock()
	v.owner.open = slices.DeleteFunc(v.owner.open, func(o *version) bool { return o == v })
	r.mu.Unlock()
	close(v.gone)
}

// info is what clients are told about a model. Labels that are not written
// (value 0) are left out.
func (m *Manifest) info(name string) Info {
	i := Info{
		Name: name, Type: m.Type, Description: m.Description, Dimension: m.Dimension, State: Loading,
		Config: ordered.Of("largest_cc", len(m.Postprocess) > 0),
	}
	if len(m.Window.Size) > 0 {
		i.Config.Set("sw_overlap", m.Window.Overlap[0])
	}
	_, i.Channels = m.imageChannels()
	for _, l := range m.Labels {
		if l.Value > 0 {
			i.Labels = append(i.Labels, Label{Name: l.Name, Value: l.Value, Color: *l.Color})
		}
	}
	return i
}
