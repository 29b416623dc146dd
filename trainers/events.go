package trainers

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
)

// progressEvery is the least time between two Progress events.
const progressEvery = 250 * time.Millisecond

// events reports what happens in a training. It is used by one goroutine.
type events struct {
	report func(Event)
	log    *slog.Logger

	told     time.Time     // of the last progress
	mark     time.Time     // end of the last step or pause
	step     time.Duration // one step, smoothed
	validate time.Duration // the last validation
}

// weightOfStep is the share of the newest step in the smoothed time.
const weightOfStep = 0.1

func (e *events) started(s state) {
	e.mark = time.Now()
	e.report(Event{
		Kind: Started, Step: s.Step, Steps: s.Plan.Steps, Epochs: s.Plan.Epochs, Batch: s.Size, Patch: s.Patch[:],
	})
}

// progress tells of a step, a few times a second.
func (e *events) progress(s state, rate float64) {
	now := time.Now()
	took := now.Sub(e.mark)
	e.mark = now
	if e.step == 0 {
		e.step = took
	}
	e.step += time.Duration(weightOfStep * float64(took-e.step))
	if now.Sub(e.told) < progressEvery && s.Step < s.Plan.Steps {
		return
	}
	e.told = now
	ev := Event{
		Kind: Progress, Step: s.Step, Steps: s.Plan.Steps, Epoch: s.Plan.epochOf(s.Step - 1), Epochs: s.Plan.Epochs,
		Rate: rate, ETA: e.left(s).Seconds(),
	}
	if s.Count > 0 {
		ev.Loss = s.Sum / float64(s.Count)
	}
	if e.step > 0 {
		ev.Samples = float64(s.Size) / e.step.Seconds()
	}
	e.report(ev)
}

// left estimates the time to the end of the plan.
func (e *events) left(s state) time.Duration {
	d := time.Duration(s.Plan.Steps-s.Step) * e.step
	if p := s.Plan; p.ValidateEvery > 0 {
		block := p.ValidateEvery * p.StepsPerEpoch
		n := (p.Steps+block-1)/block - s.Step/block
		d += time.Duration(max(n, 0)) * e.validate
	}
	return d
}

func (e *events) validated(s state, j *Judged, best bool, took time.Duration) {
	e.validate = took
	ev := Event{
		Kind: Validated, Step: s.Step, Steps: s.Plan.Steps, Epoch: j.Epoch, Epochs: s.Plan.Epochs,
		Dice: j.Dice, Mean: j.Mean, Best: best, ETA: e.left(s).Seconds(),
	}
	if n := len(s.Epochs); n > 0 {
		ev.Loss, ev.Rate = s.Epochs[n-1].Loss, s.Epochs[n-1].Rate
	}
	e.report(ev)
	e.mark = time.Now()
}

func (e *events) checkpoint(s state) {
	e.report(Event{Kind: Checkpoint, Step: s.Step, Steps: s.Plan.Steps})
	e.mark = time.Now()
}

// warn reports a warning and returns its text.
func (e *events) warn(format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	e.report(Event{Kind: Warned, Message: text})
	return text
}

func (e *events) finished(r Result) {
	e.report(Event{Kind: Finished, Step: r.Steps, Epoch: r.Epochs, Dice: r.Dice, Mean: r.Mean, Result: &r})
}

// failed reports the end of a training that made nothing.
func (e *events) failed(err error) {
	e.report(FailedEvent(err))
}

// FailedEvent is the last event of a training that ended with err. Errors that
// are no faults are not shown.
func FailedEvent(err error) Event {
	text, ok := fault.Message(err)
	if !ok {
		text = "the training failed; the log says why"
	}
	return Event{Kind: Broke, Message: text, Fault: fault.KindOf(err).String()}
}
