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
	// RunMany makes up to Most steps at once, on as many batches one after the
	// other in b; see native.Step.RunSteps.
	RunMany(ctx context.Context, b batch, paces []native.Pace) ([]float64, error)
	Most() int
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

// advance judges the model or makes a step, or as many as one call makes.
func (f *fit) advance(ctx context.Context) error {
	if f.due() {
		return f.validate(ctx)
	}
	paces := make([]native.Pace, f.together())
	for i := range paces {
		paces[i] = f.paceOf(f.state.Step + i)
	}
	losses, err := f.try(ctx, f.state.Step, paces)
	for i, loss := range losses {
		f.state.InARow, f.state.Overflows = 0, 0
		f.state.Sum += loss
		f.state.Count++
		f.stepped(paces[i].Rate)
	}
	if err == nil {
		return nil
	}
	rate := paces[len(losses)].Rate
	switch {
	case errors.Is(err, native.ErrOverflow):
		err = f.overflowed()
	case errors.Is(err, native.ErrNotFinite):
		err = f.skip(rate)
	}
	if err != nil {
		return err
	}
	f.stepped(rate)
	return nil
}

// together is how many steps may be made at once: none of them but the last may
// be followed by a validation.
func (f *fit) together() int {
	s, n := f.state, 1
	for n < f.step.Most() && s.Step+n < s.Plan.Steps && !s.Plan.validates(s.Step+n) {
		n++
	}
	return n
}

// stepped notes that a step is behind us, skipped or not.
func (f *fit) stepped(rate float64) {
	f.state.Step++
	f.state.Seconds = f.clock.spent().Seconds()
	f.events.progress(f.state, rate)
	if f.state.Plan.epochEnds(f.state.Step) {
		f.endEpoch(rate)
	}
}

// try makes steps from index on and returns the losses of those that counted; the
// error is about the one after them. When memory is short it makes the batch,
// then the patch, smaller and tries again.
func (f *fit) try(ctx context.Context, index int, paces []native.Pace) ([]float64, error) {
	for {
		b, err := f.gather(ctx, index, len(paces))
		if err != nil {
			return nil, err
		}
		losses, err := f.call(ctx, b, paces)
		if err == nil || !outOfMemory(err) || ctx.Err() != nil {
			return losses, err
		}
		if err := f.reopen(ctx, err); err != nil {
			return nil, err
		}
	}
}

// gather returns the batches of n steps, one after the other: each of them is good
// until the next one is asked for only.
func (f *fit) gather(ctx context.Context, index, n int) (batch, error) {
	if n == 1 {
		return f.batches.Next(ctx, index)
	}
	all := batch{index: index}
	for i := range n {
		b, err := f.batches.Next(ctx, index+i)
		if err != nil {
			return batch{}, err
		}
		all.images, all.labels = append(all.images, b.images...), append(all.labels, b.labels...)
	}
	return all, nil
}

func (f *fit) call(ctx context.Context, b batch, paces []native.Pace) ([]float64, error) {
	if len(paces) > 1 {
		return f.step.RunMany(ctx, b, paces)
	}
	loss, err := f.step.Run(ctx, b, paces[0])
	if err != nil {
		return nil, err
	}
	return []float64{loss}, nil
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

// mostOverflows is how many steps in a row may overflow in half precision. The
// scale of the loss is halved each time: by 40 from where it begins to its end.
const mostOverflows = 60

// overflowed notes a step that half precision could not hold. That is how the
// scale of the loss finds its height: neither a warning nor a lower rate.
func (f *fit) overflowed() error {
	s := &f.state
	s.Skipped++
	if s.Overflows++; s.Overflows >= mostOverflows {
		return fault.New(fault.Invalid,
			"the gradient overflowed in half precision in %d steps in a row up to step %d, although the scale of the loss was halved each time: train with precision single, or with a lower optimizer.rate", s.Overflows, s.Step+1)
	}
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
