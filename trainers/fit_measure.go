package trainers

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/voxloop/voxloop/trainers/native"
)

// How the pace is measured: some steps to warm up, then steps until they have
// taken a share of the budget, and a few cases of a validation.
const (
	warmSteps     = 3
	leastMeasured = 5
	mostMeasured  = 30
	measureShare  = 0.03
	measureRate   = 1e-3 // share of the learning rate: what these steps learn is thrown away
	fewCases      = 4
)

// plan makes the plan: from the configuration, or from a time budget and the
// pace measured. The measured steps leave no trace, so that the same number of
// steps given outright makes the same model.
func (f *fit) plan(ctx context.Context) error {
	p, ok := fixedPlan(f.c, len(f.check) > 0)
	if ok {
		f.state.Plan = p
		return nil
	}
	budget := time.Duration(f.c.Minutes * float64(time.Minute))
	measured, err := f.measure(ctx, budget)
	if err != nil {
		return err
	}
	f.state.Plan = timedPlan(f.c, budget, f.clock.spent(), measured)
	f.log.Info("planned", "steps", f.state.Plan.Steps, "step", measured.step, "validation", measured.validate, "spent", f.clock.spent())
	return f.step.SetState(f.initial)
}

func (f *fit) measure(ctx context.Context, budget time.Duration) (pace, error) {
	var p pace
	var times []time.Duration
	var spent time.Duration
	limit := time.Duration(measureShare * float64(budget))
	for i := range warmSteps + mostMeasured {
		begin, n := time.Now(), f.step.Most()
		paces := slices.Repeat([]native.Pace{{Rate: f.c.Optimizer.Rate * measureRate}}, n)
		if _, err := f.try(ctx, i*n, paces); err != nil && !errors.Is(err, native.ErrNotFinite) && !errors.Is(err, native.ErrOverflow) {
			return p, err
		}
		if i < warmSteps {
			continue
		}
		took := time.Since(begin)
		times = append(times, took/time.Duration(n))
		if spent += took; spent > limit && len(times) >= leastMeasured {
			break
		}
	}
	slices.Sort(times)
	p.step = times[len(times)/2]
	var err error
	p.validate, err = f.measureValidation(ctx)
	return p, err
}

// measureValidation estimates the time of a whole validation from one case and
// a few: what opening the network takes, and what a case takes.
func (f *fit) measureValidation(ctx context.Context) (time.Duration, error) {
	n := len(f.check)
	if n == 0 {
		return 0, nil
	}
	network, err := f.step.Model(f.step.State())
	if err != nil {
		return 0, err
	}
	score := func(k int) (time.Duration, error) {
		begin := time.Now()
		err := f.data.Score(ctx, network, f.check[:k], func(Score) {})
		return time.Since(begin), err
	}
	one, err := score(1)
	if err != nil || n == 1 {
		return f.bothModels(one), err
	}
	k := min(n, fewCases+1)
	some, err := score(k)
	perCase := max(some-one, 0) / time.Duration(k-1)
	return f.bothModels(one + time.Duration(n-1)*perCase), err
}

// bothModels doubles the time of a validation where a moving average is judged,
// too.
func (f *fit) bothModels(d time.Duration) time.Duration {
	if f.c.EMA > 0 {
		return 2 * d
	}
	return d
}
