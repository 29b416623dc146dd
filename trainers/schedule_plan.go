package trainers

import (
	"math"
	"time"
)

// Plan is how long a training is. Once made it stands: a resumed training
// follows it, and training with Config.Steps = Plan.Steps gives the same model.
type Plan struct {
	Steps         int `json:"steps"`
	StepsPerEpoch int `json:"steps_per_epoch"`
	Epochs        int `json:"epochs"`         // the last one may be shorter
	ValidateEvery int `json:"validate_every"` // epochs; 0: there are no validation cases
}

// usualValidations is how often a training validates when nothing is said.
const usualValidations = 10

// newPlan plans a number of steps. validations bounds how often is validated
// when c does not say it; 0 means there is nothing to validate on.
func newPlan(c Config, steps, validations int) Plan {
	p := Plan{Steps: steps, StepsPerEpoch: c.StepsPerEpoch}
	p.Epochs = (steps + p.StepsPerEpoch - 1) / p.StepsPerEpoch
	switch {
	case validations == 0:
	case c.ValidateEvery > 0:
		p.ValidateEvery = c.ValidateEvery
	default:
		p.ValidateEvery = max((p.Epochs+validations-1)/validations, 1)
	}
	return p
}

// fixedPlan is the plan that follows from c alone, and false where c gives
// minutes.
func fixedPlan(c Config, validating bool) (Plan, bool) {
	validations := 0
	if validating {
		validations = usualValidations
	}
	switch {
	case c.Steps > 0:
		return newPlan(c, c.Steps, validations), true
	case c.Epochs > 0:
		return newPlan(c, c.Epochs*c.StepsPerEpoch, validations), true
	}
	return Plan{}, false
}

// pace is what was measured of a training.
type pace struct {
	step     time.Duration // one step with its batch
	validate time.Duration // one validation; 0: there are no validation cases
}

// validationShare bounds the part of a time budget that goes into validations
// when their number is not given.
const validationShare = 0.15

// timedPlan is the plan that fills a time budget, of which spent is gone, at a
// measured pace. It has at least one step, and one validation where there are
// validation cases.
func timedPlan(c Config, budget, spent time.Duration, p pace) Plan {
	left := (budget - spent).Seconds()
	step := max(p.step.Seconds(), 1e-6)
	if p.validate == 0 {
		return newPlan(c, stepsIn(left, step), 0)
	}
	once := p.validate.Seconds()
	if c.ValidateEvery > 0 { // every so many steps, and once at the end
		block := float64(c.ValidateEvery*c.StepsPerEpoch)*step + once
		return newPlan(c, stepsIn((left-once)*(block-once)/block, step), usualValidations)
	}
	n := min(max(math.Floor(left*validationShare/once), 1), usualValidations)
	return newPlan(c, stepsIn(left-n*once, step), int(n))
}

func stepsIn(seconds, step float64) int { return int(min(max(seconds/step, 1), maxSteps)) }

// epochOf is the epoch, from 1, of the step with index i.
func (p Plan) epochOf(i int) int { return i/p.StepsPerEpoch + 1 }

// epochEnds tells whether an epoch is over after so many steps.
func (p Plan) epochEnds(done int) bool { return done%p.StepsPerEpoch == 0 || done == p.Steps }

// validates tells whether the model is judged after so many steps.
func (p Plan) validates(done int) bool {
	if p.ValidateEvery == 0 || !p.epochEnds(done) {
		return false
	}
	return done == p.Steps || (done/p.StepsPerEpoch)%p.ValidateEvery == 0
}
