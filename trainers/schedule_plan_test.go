package trainers

import (
	"math"
	"testing"
	"time"

	"github.com/voxloop/voxloop/trainers/native"
)

func TestFixedPlan(t *testing.T) {
	c := Config{StepsPerEpoch: 10}
	for _, tt := range []struct {
		steps, epochs, every int
		validating           bool
		want                 Plan
	}{
		{steps: 95, validating: true, want: Plan{95, 10, 10, 1}},
		{steps: 1000, validating: true, want: Plan{1000, 10, 100, 10}},
		{steps: 1000, every: 3, validating: true, want: Plan{1000, 10, 100, 3}},
		{steps: 1000, want: Plan{1000, 10, 100, 0}},
		{epochs: 7, validating: true, want: Plan{70, 10, 7, 1}},
		{steps: 25, epochs: 7, validating: true, want: Plan{25, 10, 3, 1}},
	} {
		c.Steps, c.Epochs, c.ValidateEvery = tt.steps, tt.epochs, tt.every
		if got, ok := fixedPlan(c, tt.validating); !ok || got != tt.want {
			t.Errorf("%+v: %+v", tt, got)
		}
	}
	if _, ok := fixedPlan(Config{Minutes: 1}, true); ok {
		t.Error("minutes gave a plan without measuring")
	}
}

// A timed plan fills its budget at the pace measured, validations included.
func TestTimedPlanFillsTheBudget(t *testing.T) {
	for _, tt := range []struct {
		c             Config
		budget, spent time.Duration
		p             pace
		validations   int
	}{
		{Config{StepsPerEpoch: 10}, 10 * time.Minute, 5 * time.Second, pace{step: 100 * time.Millisecond}, 0},
		{Config{StepsPerEpoch: 10}, 10 * time.Minute, 5 * time.Second, pace{100 * time.Millisecond, 2 * time.Second}, 10},
		{Config{StepsPerEpoch: 98}, 10 * time.Minute, 9 * time.Second, pace{80 * time.Millisecond, 30 * time.Second}, 2},
		{Config{StepsPerEpoch: 20, ValidateEvery: 5}, 10 * time.Minute, 0, pace{100 * time.Millisecond, 10 * time.Second}, 30},
		{Config{StepsPerEpoch: 50}, time.Minute, 10 * time.Second, pace{100 * time.Millisecond, 40 * time.Second}, 1},
	} {
		p := timedPlan(tt.c, tt.budget, tt.spent, tt.p)
		n := 0
		for done := 1; done <= p.Steps; done++ {
			if p.validates(done) {
				n++
			}
		}
		took := tt.spent + time.Duration(p.Steps)*tt.p.step + time.Duration(n)*tt.p.validate
		if share := took.Seconds() / tt.budget.Seconds(); share < 0.9 || share > 1.02 {
			t.Errorf("%+v: %+v takes %v of %v", tt, p, took, tt.budget)
		}
		if n < tt.validations-1 || n > tt.validations+1 || tt.validations == 0 && n > 0 || tt.validations > 0 && n == 0 {
			t.Errorf("%+v: %d validations", tt, n)
		}
	}
	if p := timedPlan(Config{StepsPerEpoch: 10}, time.Second, time.Minute, pace{time.Second, time.Second}); p.Steps != 1 || !p.validates(1) {
		t.Errorf("a budget that is gone: %+v", p)
	}
}

func TestPace(t *testing.T) {
	c := Config{Optimizer: OptimizerConfig{Name: "adamw", Rate: 2}}
	for _, tt := range []struct {
		s    ScheduleConfig
		i    int
		want float64
	}{
		{ScheduleConfig{Name: "constant", WarmUp: 4}, 0, 0.5},
		{ScheduleConfig{Name: "constant", WarmUp: 4}, 3, 2},
		{ScheduleConfig{Name: "constant", WarmUp: 50}, 4, 1}, // at most a tenth of 100 steps
		{ScheduleConfig{Name: "poly", Power: 1, WarmUp: -1}, 0, 2},
		{ScheduleConfig{Name: "poly", Power: 1, WarmUp: -1}, 75, 0.5},
		{ScheduleConfig{Name: "poly", Power: 2, WarmUp: 10}, 55, 0.5},
		{ScheduleConfig{Name: "cosine", Floor: 0.1, WarmUp: -1}, 50, 1.1},
		{ScheduleConfig{Name: "onecycle"}, 0, 0.08},
		{ScheduleConfig{Name: "onecycle"}, 29, 2},
		{ScheduleConfig{Name: "plateau", WarmUp: -1}, 50, 0.25},
	} {
		c.Schedule = tt.s
		got := c.pace(tt.i, 100, native.PlateauState{Scaled: true, Rate: 0.25})
		if math.Abs(got.Rate-tt.want) > 1e-12 {
			t.Errorf("%+v at %d: %g instead of %g", tt.s, tt.i, got.Rate, tt.want)
		}
		if one := tt.s.Name == "onecycle"; one != (got.Momentum > 0) {
			t.Errorf("%+v: momentum %g", tt.s, got.Momentum)
		}
	}
	c.Schedule, c.Optimizer.Name = ScheduleConfig{Name: "onecycle"}, "sgd"
	if got := c.pace(0, 100, native.PlateauState{}); got.Momentum != 0 {
		t.Errorf("SGD without momentum got %g", got.Momentum)
	}
}

// A time budget becomes a number of steps; that number given outright makes the
// same network.
func TestMinutesAreThePlanTheyBecame(t *testing.T) {
	timed := ballRequest(t, 6, 2)
	timed.Config.Steps, timed.Config.Minutes, timed.Config.ValidateEvery = 0, 1.5/60, 0
	begin := time.Now()
	res, err := newTrainer(t, &balls{}).Train(t.Context(), timed, func(Event) {})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := ReadRecord(timed.Out)
	if err != nil {
		t.Fatal(err)
	}
	if res.Steps != rec.Plan.Steps || res.Steps < 20 {
		t.Errorf("%d steps of %+v in %v", res.Steps, rec.Plan, time.Since(begin))
	}
	counted := timed
	counted.Out = t.TempDir() + "/out"
	counted.Config.Minutes, counted.Config.Steps, counted.Config.ValidateEvery = 0, rec.Plan.Steps, rec.Plan.ValidateEvery
	if _, err := newTrainer(t, &balls{}).Train(t.Context(), counted, func(Event) {}); err != nil {
		t.Fatal(err)
	}
	if string(readModel(t, timed.Out)) != string(readModel(t, counted.Out)) {
		t.Error("the same number of steps made another network")
	}
}
