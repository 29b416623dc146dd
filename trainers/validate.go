package trainers

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/voxloop/voxloop/trainers/native"
)

// Judged is what a validation found.
type Judged struct {
	Step     int                `json:"step"`
	Epoch    int                `json:"epoch"`
	Mean     float64            `json:"mean_dice"`          // of Dice
	Dice     map[string]float64 `json:"dice"`               // per class name: the mean over the cases that have it
	Averaged bool               `json:"averaged,omitempty"` // the moving average of the weights, which was better than the weights
	Other    *float64           `json:"other,omitempty"`    // mean Dice of the other of the two, where an average is kept
	Cases    []Score            `json:"cases"`
}

// EpochRecord is what is kept of an epoch.
type EpochRecord struct {
	Epoch   int                `json:"epoch"`
	Step    int                `json:"step"` // steps at its end
	Loss    float64            `json:"loss"` // mean of its steps that were not skipped
	Rate    float64            `json:"rate"` // learning rate of its last step
	Seconds float64            `json:"seconds"`
	Mean    *float64           `json:"mean_dice,omitempty"` // of its validation
	Dice    map[string]float64 `json:"dice,omitempty"`
}

// validate judges the present weights, and their moving average where one is
// kept, by the pipeline that serves, and remembers the better of the two.
func (f *fit) validate(ctx context.Context) error {
	begin := time.Now()
	now := f.step.State()
	best, err := f.judge(ctx, now)
	if err != nil {
		return err
	}
	kept := now
	if average, ok := native.Averaged(now); ok {
		other, err := f.judge(ctx, average)
		if err != nil {
			return err
		}
		other.Averaged = true
		if other.Mean > best.Mean {
			best, other, kept = other, best, average
		}
		best.Other = &other.Mean
	}
	better := f.take(best, kept)
	f.events.validated(f.state, best, better, time.Since(begin))
	f.save()
	return nil
}

// take puts a judgement on record and tells whether it is the best so far.
func (f *fit) take(j *Judged, kept native.State) (better bool) {
	s := &f.state
	s.Validated, s.Last = s.Step, j
	better = s.Best == nil || j.Mean > s.Best.Mean
	if better {
		s.Best, s.Behind, f.best = j, 0, values(kept)
	} else {
		s.Behind++
	}
	if n := len(s.Epochs); n > 0 {
		s.Epochs[n-1].Mean, s.Epochs[n-1].Dice = &j.Mean, j.Dice
	}
	if f.c.Schedule.Name == schedulePlateau {
		p := f.c.Schedule.plateau(f.c.Optimizer.Rate, s.Plateau)
		p.Result(j.Mean)
		s.Plateau = p.State
	}
	if f.c.Patience > 0 && s.Behind >= f.c.Patience && s.Step < s.Plan.Steps {
		s.Stopped = true
		f.log.Info("no better model: training ends early", "validations", s.Behind, "step", s.Step)
	}
	return better
}

// judge scores the network with the values of a state.
func (f *fit) judge(ctx context.Context, s native.State) (*Judged, error) {
	network, err := f.step.Model(s)
	if err != nil {
		return nil, err
	}
	j := &Judged{Step: f.state.Step, Epoch: f.state.Plan.epochOf(max(f.state.Step-1, 0))}
	if err := f.data.Score(ctx, network, f.check, func(s Score) { j.Cases = append(j.Cases, s) }); err != nil {
		return nil, err
	}
	j.Dice, j.Mean = meanDice(j.Cases)
	return j, nil
}

// meanDice returns the mean per class over the cases that have it, and the mean
// of these; 0 where no case has any.
func meanDice(cases []Score) (map[string]float64, float64) {
	sums, counts := map[string]float64{}, map[string]float64{}
	for _, c := range cases {
		for class, d := range c.Dice {
			sums[class] += d
			counts[class]++
		}
	}
	return averages(sums, counts)
}

func averages(sums, counts map[string]float64) (map[string]float64, float64) {
	var total float64
	for _, class := range slices.Sorted(maps.Keys(sums)) { // in one order: equal bits in every run
		sums[class] /= counts[class]
		total += sums[class]
	}
	if len(sums) == 0 {
		return sums, 0
	}
	return sums, total / float64(len(sums))
}
