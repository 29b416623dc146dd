package trainers

import (
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/trainers/native"
)

// state is what a training has to remember beside the values of its step.
type state struct {
	Request string `json:"request"` // hash of what decides the result
	Plan    Plan   `json:"plan"`
	Size    int    `json:"batch"` // may be smaller than asked for, where memory was short
	Patch   [3]int `json:"patch"`

	Step      int `json:"step"`      // steps behind us, skipped ones included
	Done      int `json:"done"`      // steps that changed the weights
	Skipped   int `json:"skipped"`   // the others
	InARow    int `json:"in_a_row"`  // of the last steps, skipped ones without a break
	Validated int `json:"validated"` // Step of the last validation
	Overflows int `json:"overflows"` // of the last steps, without a break, that overflowed in half precision

	Scale float64 `json:"scale"` // of the learning rate, after losses that were not finite
	Sum   float64 `json:"sum"`   // of the epoch's losses
	Count int     `json:"count"`

	Best    *Judged             `json:"best,omitempty"`
	Last    *Judged             `json:"last,omitempty"`
	Behind  int                 `json:"behind"` // validations since Best
	Plateau native.PlateauState `json:"plateau"`
	Stopped bool                `json:"stopped"` // by patience
	Epochs  []EpochRecord       `json:"epochs"`

	Seconds  float64  `json:"seconds"`
	Warnings []string `json:"warnings,omitempty"`
}

// save writes a checkpoint. A failure is a warning: the earlier checkpoint
// stays, and training goes on.
func (f *fit) save() {
	f.saved = time.Now()
	values := f.step.State()
	f.state.Done = values.Done
	f.state.Seconds = f.clock.spent().Seconds()
	err := f.saveBest()
	if err == nil {
		err = f.write(f.work.last(), checkpoint{head: &f.state, vectors: values.Vectors})
	}
	if err == nil {
		err = f.work.prune(f.bestStep())
	}
	if err != nil {
		f.log.Warn("checkpoint failed", "err", err)
		f.warnOnce(checkpointWarning(err))
		return
	}
	f.events.checkpoint(f.state)
}

func checkpointWarning(err error) string {
	text := "a checkpoint could not be written"
	if fault.KindOf(err) == fault.NoSpace {
		text += ": the disk is full"
	}
	return text + "; the earlier one stays, and training goes on"
}

// warnOnce says the same thing once in a training.
func (f *fit) warnOnce(text string) {
	if !slices.Contains(f.state.Warnings, text) {
		f.warn("%s", text)
	}
}

// bestStep is the step of the best model so far, -1 without one.
func (f *fit) bestStep() int {
	if f.state.Best == nil {
		return -1
	}
	return f.state.Best.Step
}

// saveBest writes the best model so far beside the checkpoint, once. It is
// written first: a checkpoint never names a model that is not there.
func (f *fit) saveBest() error {
	if f.best == nil || f.bestSaved == f.bestStep() {
		return nil
	}
	head := bestHead{Request: f.state.Request, Step: f.bestStep()}
	if err := f.write(f.work.best(f.bestStep()), checkpoint{head: &head, vectors: f.best}); err != nil {
		return err
	}
	f.bestSaved = f.bestStep()
	return nil
}

// bestHead goes with the best model's values.
type bestHead struct {
	Request string `json:"request"`
	Step    int    `json:"step"`
}

// load reads the work folder's checkpoint into f.state; false when there is
// none. One of another request is refused, a damaged one is put aside with a
// warning.
func (f *fit) load() (found bool, vectors map[string][]float32, err error) {
	var s state
	vectors, err = readCheckpoint(f.work.last(), &s)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil, nil
	case errors.Is(err, errDamaged):
		f.log.Warn("checkpoint is damaged", "err", err)
		f.warn("the checkpoint in the work folder is damaged; training starts again")
		return false, nil, nil
	case err != nil:
		return false, nil, diskFault(err, "the checkpoint cannot be read")
	case s.Request != f.state.Request:
		return false, nil, fault.New(fault.Conflict,
			"the work folder holds a checkpoint of another training (other cases, labels, model, configuration or number of threads): name another folder, or remove its %s", lastFile)
	}
	if s.Best != nil {
		var head bestHead
		best, err := readCheckpoint(f.work.best(s.Best.Step), &head)
		if err != nil || head.Request != s.Request || head.Step != s.Best.Step {
			f.log.Warn("best model is damaged", "err", err)
			f.warn("the best model in the work folder is damaged; training starts again")
			return false, nil, nil
		}
		f.best, f.bestSaved = best, s.Best.Step
	}
	s.Warnings = append(f.state.Warnings, newWarnings(f.state.Warnings, s.Warnings)...)
	f.state = s
	f.clock.before = time.Duration(s.Seconds * float64(time.Second))
	return true, vectors, nil
}

// newWarnings returns those of list that are not in have: the cases are looked
// at again in every run.
func newWarnings(have, list []string) []string {
	seen := map[string]bool{}
	for _, w := range have {
		seen[w] = true
	}
	var out []string
	for _, w := range list {
		if !seen[w] {
			out = append(out, w)
		}
	}
	return out
}

// kept is the state whose values are published, and the judgement of them;
// nil when they were not judged.
func (f *fit) kept() (native.State, *Judged) {
	now := f.step.State()
	last := f.state.Last
	judged := last != nil && last.Step == f.state.Step
	switch {
	case f.c.Keep == KeepBest && f.best != nil:
		return native.State{Done: now.Done, Vectors: f.best}, f.state.Best
	case judged && !last.Averaged:
		return now, last
	}
	average, ok := native.Averaged(now)
	if !ok {
		average = now
	}
	if !judged {
		last = nil
	}
	return average, last
}
