package trainers

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/trainers/native"
)

// NativeOptions say what a Native works with.
type NativeOptions struct {
	// Runtime returns the ONNX Runtime of this process.
	Runtime func(ctx context.Context) (*ort.Runtime, error)
	// OpenData opens a request's images and its model's pipeline.
	OpenData func(ctx context.Context, r Request) (Data, error)
	// Checkpoint is the longest time between two checkpoints; 0 means a minute.
	Checkpoint time.Duration
	// Version and Commit say which build of this program trains, for the record.
	Version, Commit string
	Logger          *slog.Logger // nil means slog.Default()
}

// Native is the trainer of this program: it derives a training step from the
// ONNX network that is served (trainers/native) and writes the new weights into
// the same network.
//
// The same request gives the same network, bit for bit, with the same binary,
// library, machine and number of threads, however often it was interrupted:
// everything random is a function of the seed and the step's number.
type Native struct {
	o NativeOptions

	// Of tests: what stands between the training and its steps and files.
	wrap       func(stepper) stepper
	write      func(path string, c checkpoint) error
	publishing func() error
}

var _ Trainer = (*Native)(nil)

// NewNative returns a trainer. Each of its trainings opens and closes what it
// needs.
func NewNative(o NativeOptions) *Native {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Checkpoint <= 0 {
		o.Checkpoint = time.Minute
	}
	return &Native{
		o:          o,
		wrap:       func(s stepper) stepper { return s },
		write:      func(path string, c checkpoint) error { return c.write(path) },
		publishing: func() error { return nil },
	}
}

// Train implements Trainer. The last event is Finished or Broke.
func (n *Native) Train(ctx context.Context, r Request, report func(Event)) (Result, error) {
	ev := &events{report: report, log: n.o.Logger}
	res, err := n.train(ctx, r, ev)
	if err == nil {
		ev.finished(res)
		return res, nil
	}
	if ctx.Err() != nil && fault.KindOf(err) != fault.Canceled {
		err = fault.Wrap(fault.Canceled, errors.Join(context.Cause(ctx), err), "the training was stopped")
	}
	ev.failed(err)
	return Result{}, err
}

func (n *Native) train(ctx context.Context, r Request, ev *events) (res Result, err error) {
	begin := time.Now()
	if err := r.check(); err != nil {
		return res, err
	}
	data, err := n.o.OpenData(ctx, r)
	if err != nil {
		return res, err
	}
	cache := NewCache(data, cmp.Or(r.Config.CacheBytes, defaultCache))
	cache.Spill(r.Work, cmp.Or(r.Config.DiskBytes, defaultDisk))
	defer func() { err = errors.Join(err, cache.Close()) }()
	f, err := n.prepare(ctx, r, cache, ev)
	if err != nil {
		return res, err
	}
	f.clock.start = begin
	if res, ok, err := r.made(f.state.Request); ok || err != nil {
		return res, err
	}
	work, err := openWork(r.Work)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, work.close()) }()
	f.work = work
	defer f.close()
	if err := f.run(ctx); err != nil {
		return res, err
	}
	res, err = n.publish(r, f)
	if err != nil {
		return res, err
	}
	if cerr := work.clear(); cerr != nil {
		n.o.Logger.Warn("checkpoints could not be removed", "err", cerr)
	}
	return res, nil
}

// prepare checks everything that can be checked before a step runs: the
// network, the cases, the configuration.
func (n *Native) prepare(ctx context.Context, r Request, data Data, ev *events) (*fit, error) {
	spec := data.Spec()
	training := 0
	for _, c := range r.Cases {
		if c.Role == Train {
			training++
		}
	}
	if err := r.Config.fits(spec); err != nil {
		return nil, err
	}
	// The network is looked at first: cases may take long.
	if _, err := native.Compile(spec.Network, r.Config.WithDefaults(spec, training).stepOptions(spec)); err != nil {
		return nil, err
	}
	rt, err := n.runtime(ctx, r.Device)
	if err != nil {
		return nil, err
	}
	u, err := inspect(ctx, data, r, ev)
	if err != nil {
		return nil, err
	}
	c := r.Config.WithDefaults(spec, len(u.train))
	threads := r.Threads
	if threads == 0 {
		threads = ort.Cores()
	}
	e := &engine{runtime: rt, device: cmp.Or(r.Device, ort.CPU), threads: threads, c: c, spec: spec, data: data, train: u.train, wrap: n.wrap}
	if c.From == FromScratch {
		e.spec.Network = fromScratch(spec.Network, c.Seed, c.Freeze)
	}
	f := &fit{
		c: c, spec: spec, data: data, open: e.open, events: ev, log: n.o.Logger, every: n.o.Checkpoint,
		train: u.train, check: u.validate, bestSaved: -1, write: n.write,
	}
	e.warn = f.warn
	f.sources, err = sourcesOf(ctx, r, c, u, threads)
	if err != nil {
		return nil, err
	}
	f.library = Library{Version: rt.Library().Version, Variant: rt.Library().Variant}
	f.leftOut = u.out
	f.state.Request = f.sources.hash()
	f.state.Warnings = u.warnings
	return f, nil
}

// runtime returns the library, where a device loads.
func (n *Native) runtime(ctx context.Context, device string) (*ort.Runtime, error) {
	rt, err := n.o.Runtime(ctx)
	if err != nil {
		return nil, err
	}
	return rt, rt.ProviderError(cmp.Or(device, ort.CPU))
}

// engine opens steps and their batches.
type engine struct {
	runtime *ort.Runtime
	device  string
	threads int
	c       Config
	spec    Spec // with the network to begin from
	data    Data
	train   []Case
	warn    func(format string, args ...any)
	wrap    func(stepper) stepper
}

func (e *engine) open(ctx context.Context, size int, patch [3]int) (stepper, batches, error) {
	c := e.c
	c.Batch, c.Patch = size, patch
	o := e.suited(c.stepOptions(e.spec))
	p, err := e.compile(o)
	if err != nil {
		return nil, nil, err
	}
	s, err := p.OpenOn(e.runtime, e.device, e.threads)
	if err != nil {
		return nil, nil, err
	}
	b, err := e.batches(ctx, c, o.Repeat)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return e.wrap(nativeStep{s, p}), b, nil
}

// usualPerCall is how many steps a graphics card makes in one call: what the call
// and the way of the state over the bus cost is small then.
const usualPerCall = 8

// suited chooses what depends on the device: lanes on a CPU's threads, several
// steps in one call on a graphics card.
func (e *engine) suited(o native.Options) native.Options {
	o.Repeat = e.c.StepsPerCall
	if o.Repeat == 0 && e.device == ort.CUDA && o.Repeatable() {
		o.Repeat = usualPerCall
	}
	if o.Repeat < 2 && e.device == ort.CPU {
		o.Lanes = o.LanesFor(e.threads)
	}
	return o
}
