package apps

import (
	"regexp"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/trainers"
	proof "github.com/voxloop/voxloop/trainers/gate"
	"github.com/voxloop/voxloop/trainers/schedule"
)

// LoopOptions say when trainings start by themselves and how candidates are
// judged. The zero value starts none.
type LoopOptions struct {
	Models   []string        // trainers that the schedule runs, one after the other; none: all
	Minutes  float64         // length of a scheduled training; 0 means 10
	Config   trainers.Config // of scheduled trainings; its zero values are the defaults
	Schedule schedule.Options
	HoldOut  HoldOutOptions
	Gate     proof.Options
	Rollback RollbackOptions
	Shadow   ShadowOptions
}

// HoldOutOptions say which subjects are kept for judging models.
type HoldOutOptions struct {
	Share float64 // of the subjects, in (0, 0.5]; 0 means 0.2
	Least int     // fewest subjects, as long as half of all remain; 0 means 5
	// Subject finds the subject in an image's id: the first group of the regular
	// expression, or all that it matches. It counts where the image's info has no
	// key "subject" or "PatientID". "": the id is the subject.
	Subject string
}

// loopRules are checked options.
type loopRules struct {
	o       LoopOptions
	rules   *schedule.Rules
	pattern *regexp.Regexp // nil: the id is the subject
}

func (o LoopOptions) check() (*loopRules, error) {
	r := &loopRules{}
	if o.Minutes == 0 {
		o.Minutes = 10
	}
	if o.HoldOut.Share == 0 {
		o.HoldOut.Share = 0.2
	}
	if o.HoldOut.Least == 0 {
		o.HoldOut.Least = 5
	}
	switch {
	case o.Minutes < 0:
		return nil, fault.New(fault.Invalid, "loop.minutes: %g is negative", o.Minutes)
	case o.HoldOut.Share < 0 || o.HoldOut.Share > 0.5:
		return nil, fault.New(fault.Invalid, "loop.holdout.share: %g does not lie in (0, 0.5]", o.HoldOut.Share)
	case o.HoldOut.Least < 0:
		return nil, fault.New(fault.Invalid, "loop.holdout.least: %d is negative", o.HoldOut.Least)
	}
	if o.HoldOut.Subject != "" {
		re, err := regexp.Compile(o.HoldOut.Subject)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "loop.holdout.subject: %q is no regular expression: %s", o.HoldOut.Subject, err.Error())
		}
		r.pattern = re
	}
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	var err error
	if o.Rollback, err = o.Rollback.check(); err != nil {
		return nil, err
	}
	if o.Shadow.Cases < 0 {
		return nil, fault.New(fault.Invalid, "loop.shadow.cases: %d is negative", o.Shadow.Cases)
	}
	if r.rules, err = schedule.New(o.Schedule); err != nil {
		return nil, err
	}
	r.o = o
	return r, nil
}
