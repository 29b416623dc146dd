package trainers

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/trainers/native"
)

// stepper is a compiled training step in work; *native.Step is the real one.
type stepper interface {
	// Run makes one step on a batch and returns the loss before it; see
	// native.Step.RunAt.
	Run(ctx context.Context, b batch, p native.Pace) (float64, error)
	State() native.State
	SetState(native.State) error
	// Model returns the network with the values of a state.
	Model(native.State) (*onnx.Model, error)
	Close() error
}

// batch is what one step sees.
type batch struct {
	index  int       // of the step: what is random in it is a function of (seed, index)
	images []float32 // [N, C, spatial…]
	labels []float32 // [N, 1, spatial…], class indices
}

// batches makes the batches of a training: a pure function of the step's index.
type batches interface {
	Next(ctx context.Context, index int) (batch, error)
	Close() error
}

// opener readies a step and its batches for a batch size and a patch.
type opener func(ctx context.Context, size int, patch [3]int) (stepper, batches, error)

// fit is one training in work. Everything that it needs to go on after a kill
// is in state and in the step's state.
type fit struct {
	c       Config // defaults in place
	spec    Spec
	data    Data
	open    opener
	write   func(path string, c checkpoint) error
	work    *workDir
	events  *events
	log     *slog.Logger
	every   time.Duration // between two checkpoints
	train   []Case
	check   []Case // for validation; may be empty
	sources Sources
	library Library
	leftOut []LeftOut
	step    stepper
	batches batches
	initial native.State // before the first step

	state     state
	best      map[string][]float32 // values of the best model; nil before the first validation
	bestSaved int                  // step of the best model on disk, -1: none
	clock     clock
	saved     time.Time // of the last checkpoint
}

// clock is the time that a training has taken, over all its runs.
type clock struct {
	start  time.Time
	before time.Duration
}

func (c clock) spent() time.Duration { return c.before + time.Since(c.start) }

// maxInARow is how many steps in a row may have a loss that is not finite.
const maxInARow = 10

// run trains until the plan is done, patience is at its end or ctx ends; a
// checkpoint holds what there is in each case.
func (f *fit) run(ctx context.Context) error {
	defer f.close()
	if err := f.ready(ctx); err != nil {
		return err
	}
	f.events.started(f.state)
	for !f.over() {
		err := f.advance(ctx)
		if err != nil && ctx.Err() != nil {
			f.save()
			return fault.Wrap(fault.Canceled, context.Cause(ctx), "the training was stopped after %d of %d steps", f.state.Step, f.state.Plan.Steps)
		}
		if err != nil {
			return err
		}
		if time.Since(f.saved) >= f.every {
			f.save()
		}
	}
	f.save()
	return nil
}

// ready opens the step where the work folder left it, or anew with a plan.
func (f *fit) ready(ctx context.Context) error {
	found, vectors, err := f.load()
	if err != nil {
		return err
	}
	if !found {
		f.state.Size, f.state.Patch, f.state.Scale = f.c.Batch, f.c.Patch, 1
	}
	if err := f.reopen(ctx, nil); err != nil {
		return err
	}
	f.initial = f.step.State()
	if found {
		f.log.Info("training goes on", "step", f.state.Step, "steps", f.state.Plan.Steps)
		return f.step.SetState(native.State{Done: f.state.Done, Vectors: vectors})
	}
	if err := f.plan(ctx); err != nil {
		return err
	}
	f.save()
	return nil
}

// over tells whether nothing is left to be done.
func (f *fit) over() bool {
	return f.state.Stopped || f.state.Step >= f.state.Plan.Steps && !f.due()
}

// due tells whether the model is to be judged before the next step.
func (f *fit) due() bool {
	s := f.state
	return s.Step > s.Validated && s.Plan.validates(s.Step)
}

// advance judges the model or makes one step.
func (f *fit) advance(ctx context.Context) error {
	if f.due() {
		return f.validate(ctx)
	}
	index := f.state.Step
	pace := f.paceOf(index)
	rate := pace.Rate
	loss, err := f.try(ctx, index, pace)
	switch {
	case errors.Is(err, native.ErrNotFinite):
		if err := f.skip(rate); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		f.state.InARow = 0
		f.state.Sum += loss
		f.state.Count++
	}
	f.state.Step++
	f.state.Seconds = f.clock.spent().Seconds()
	f.events.progress(f.state, rate)
	if f.state.Plan.epochEnds(f.state.Step) {
		f.endEpoch(rate)
	}
	return nil
}

// try makes one step; when memory is short it makes the batch, then the patch,
// smaller and tries again.
func (f *fit) try(ctx context.Context, index int, p native.Pace) (float64, error) {
	for {
		b, err := f.batches.Next(ctx, index)
		if err != nil {
			return 0, err
		}
		loss, err := f.step.Run(ctx, b, p)
		if err == nil || !outOfMemory(err) || ctx.Err() != nil {
			return loss, err
		}
		if err := f.reopen(ctx, err); err != nil {
			return 0, err
		}
	}
}

// skip lowers the rate after a step whose loss or gradient was not finite.
func (f *fit) skip(rate float64) error {
	s := &f.state
	s.Skipped++
	s.InARow++
	if s.InARow >= maxInARow {
		return fault.New(fault.Invalid,
			"the loss was no finite number in %d steps in a row up to step %d, although the learning rate was lowered to %.3g: the images' intensities may be far from what the network expects, or optimizer.rate is too high",
			s.InARow, s.Step+1, rate)
	}
	s.Scale /= 2
	f.warn("step %d: the loss or its gradient was no finite number; the step was skipped and the learning rate halved, to %.3g", s.Step+1, rate/2)
	return nil
}

// endEpoch puts the epoch's loss on record.
func (f *fit) endEpoch(rate float64) {
	s := &f.state
	e := EpochRecord{Epoch: s.Plan.epochOf(s.Step - 1), Step: s.Step, Rate: rate, Seconds: s.Seconds}
	if s.Count > 0 {
		e.Loss = s.Sum / float64(s.Count)
	}
	s.Epochs = append(s.Epochs, e)
	s.Sum, s.Count = 0, 0
}

func (f *fit) warn(format string, args ...any) {
	f.state.Warnings = append(f.state.Warnings, f.events.warn(format, args...))
}

func (f *fit) close() {
	if f.batches != nil {
		_ = f.batches.Close() // what it still prepared is not needed
	}
	if f.step != nil {
		_ = f.step.Close() // frees memory only
	}
}
