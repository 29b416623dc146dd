package native

import (
	"encoding/json"
	"math"
	"testing"
)

// scheduleSettings are the reference's parameters of a schedule.
type scheduleSettings struct {
	Base       float64 `json:"base_lr"`
	Total      int     `json:"total_iters"`
	Power      float64
	Size       int `json:"step_size"`
	Gamma      float64
	Milestones []int
	TMax       int     `json:"T_max"`
	EtaMin     float64 `json:"eta_min"`
	T0         int     `json:"T_0"`
	TMult      int     `json:"T_mult"`
	WarmUp     int     `json:"warmup_steps"`
	TTotal     int     `json:"t_total"`
	End        float64 `json:"end_lr"`
	Cycles     float64
	Multiplier float64 `json:"warmup_multiplier"`
	Iterations int     `json:"num_iter"`
	Start      float64 `json:"start_factor"`
	Finish     float64 `json:"end_factor"`
	Max        float64 `json:"max_lr"`
	Steps      int     `json:"total_steps"`
	Rise       float64 `json:"pct_start"`
	Strategy   string  `json:"anneal_strategy"`
	Div        float64 `json:"div_factor"`
	FinalDiv   float64 `json:"final_div_factor"`
	ThreePhase bool    `json:"three_phase"`
	Epochs     int
	Exponent   float64
}

// referenceSchedules makes the schedule of an operation.
var referenceSchedules = map[string]func(p scheduleSettings) Schedule{
	"PolynomialLR":  func(p scheduleSettings) Schedule { return Poly{Base: p.Base, Steps: p.Total, Power: p.Power} },
	"nnU-Net poly":  func(p scheduleSettings) Schedule { return Poly{Base: p.Base, Steps: p.Epochs, Power: p.Exponent} },
	"StepLR":        func(p scheduleSettings) Schedule { return Staircase{Base: p.Base, Every: p.Size, Gamma: p.Gamma} },
	"MultiStepLR":   func(p scheduleSettings) Schedule { return Milestones{Base: p.Base, At: p.Milestones, Gamma: p.Gamma} },
	"ExponentialLR": func(p scheduleSettings) Schedule { return Exponential{Base: p.Base, Gamma: p.Gamma} },
	"CosineAnnealingLR": func(p scheduleSettings) Schedule {
		return Cosine{Base: p.Base, Min: p.EtaMin, Steps: p.TMax}
	},
	"CosineAnnealingWarmRestarts": func(p scheduleSettings) Schedule {
		return Restarts{Base: p.Base, Min: p.EtaMin, First: p.T0, Factor: p.TMult}
	},
	"monai WarmupCosineSchedule": func(p scheduleSettings) Schedule {
		return Cosine{Base: p.Base, Floor: p.End, Steps: p.TTotal, WarmUp: p.WarmUp, From: p.Multiplier, Waves: p.Cycles}
	},
	"monai LinearLR": func(p scheduleSettings) Schedule { return Ramp{From: p.Base, To: p.End, Steps: p.Iterations - 1} },
	"monai ExponentialLR": func(p scheduleSettings) Schedule {
		return Ramp{From: p.Base, To: p.End, Steps: p.Iterations - 1, Factors: true}
	},
	"LinearLR": func(p scheduleSettings) Schedule {
		return Ramp{From: p.Base * p.Start, To: p.Base * p.Finish, Steps: p.Total}
	},
	"OneCycleLR": func(p scheduleSettings) Schedule {
		return OneCycle{
			Max: p.Max, Steps: p.Steps, Rise: p.Rise, Start: p.Div, End: p.FinalDiv, Straight: p.Strategy == "linear", ThreePhase: p.ThreePhase,
		}
	},
}

func checkSchedule(t *testing.T, c numericCase) float64 {
	var p scheduleSettings
	c.read(t, c.Parameters, &p)
	s, want := referenceSchedules[c.Operation](p), c.numbers(t, c.Expected["learning_rates"])
	used := c.compare(rates(s, len(want)), want)
	if raw := c.Expected["momentums"]; raw != nil {
		var got []float64
		for i := range want {
			got = append(got, s.(OneCycle).Momentum(i))
		}
		used = max(used, c.compare(got, c.numbers(t, raw)))
	}
	return used
}

// checkPlateau takes every other result through a checkpoint.
func checkPlateau(t *testing.T, c numericCase) float64 {
	var p struct {
		Base      float64 `json:"base_lr"`
		Mode      string
		Threshold float64
		Kind      string `json:"threshold_mode"`
		CoolDown  int
		Min       float64 `json:"min_lr"`
		Factor    float64
		Patience  int
	}
	c.read(t, c.Parameters, &p)
	s := &Plateau{
		Base: p.Base, Factor: p.Factor, Patience: p.Patience, CoolDown: p.CoolDown, Min: p.Min, Threshold: p.Threshold,
		Absolute: p.Kind == "abs", Higher: p.Mode == "max",
	}
	var got, bad []float64
	for i, v := range c.numbers(t, c.Inputs["losses"]) {
		s.Result(v)
		got, bad = append(got, s.Rate(i)), append(bad, float64(s.State.Bad))
		if i%2 == 0 {
			text, err := json.Marshal(s.State)
			if err != nil {
				t.Fatal(err)
			}
			s.State = PlateauState{}
			c.read(t, text, &s.State)
		}
	}
	return max(c.compare(got, c.numbers(t, c.Expected["learning_rates_after_step"])), c.compare(bad, c.numbers(t, c.Expected["num_bad_epochs"])))
}

// Results that are no numbers are bad ones, from the first on.
func TestPlateauWithoutNumbers(t *testing.T) {
	p := &Plateau{Base: 1, Factor: 0.5, Patience: 1}
	p.Result(math.NaN())
	p.Result(5)
	if p.Rate(0) != 1 || p.State.Best != 5 || p.State.Bad != 0 {
		t.Errorf("after NaN and 5: %+v", p.State)
	}
	p.Result(math.NaN())
	p.Result(math.NaN())
	if p.Rate(0) != 0.5 {
		t.Errorf("after two more: %+v", p.State)
	}
}

// Schedules without a length do not divide by it.
func TestSchedulesWithoutLength(t *testing.T) {
	for _, s := range []Schedule{
		Poly{Base: 1}, Staircase{Base: 1, Gamma: 0.5}, Ramp{From: 1, To: 1}, Cosine{Base: 1}, Restarts{Base: 1}, OneCycle{Max: 1}, OneCycle{Max: 1, Steps: 1},
	} {
		for step := range 3 {
			if r := s.Rate(step); !(r >= 0 && r <= 1) {
				t.Errorf("%+v: rate %g at step %d", s, r, step)
			}
		}
	}
}
