package native

import "math"

// Schedule gives every step its learning rate. Steps count from 0. All
// implementations but *Plateau are pure functions of the step.
type Schedule interface {
	Rate(step int) float64
}

// Constant is the same rate for every step.
type Constant float64

// Rate implements Schedule.
func (c Constant) Rate(int) float64 { return float64(c) }

// Poly falls from Base to 0 in Steps: Base·(1 - step/Steps)^Power, 0 afterwards.
type Poly struct {
	Base  float64
	Steps int
	Power float64 // 0 means 0.9
}

// Rate implements Schedule.
func (p Poly) Rate(step int) float64 {
	power := p.Power
	if power == 0 {
		power = 0.9
	}
	return p.Base * math.Pow(1-fraction(step, p.Steps), power)
}

// fraction is step/steps within [0, 1]; a span without length is over.
func fraction(step, steps int) float64 {
	if step >= steps {
		return 1
	}
	return max(float64(step)/float64(steps), 0)
}

// Staircase multiplies the rate by Gamma at every multiple of Every steps.
type Staircase struct {
	Base  float64
	Every int // below 1 means that the rate stays
	Gamma float64
}

// Rate implements Schedule.
func (s Staircase) Rate(step int) float64 {
	if s.Every < 1 {
		return s.Base
	}
	return s.Base * math.Pow(s.Gamma, float64(step/s.Every))
}

// Milestones multiplies the rate by Gamma at each of the steps At.
type Milestones struct {
	Base  float64
	At    []int
	Gamma float64
}

// Rate implements Schedule.
func (m Milestones) Rate(step int) float64 {
	rate := m.Base
	for _, at := range m.At {
		if step >= at {
			rate *= m.Gamma
		}
	}
	return rate
}

// Exponential is Base·Gamma^step.
type Exponential struct{ Base, Gamma float64 }

// Rate implements Schedule.
func (e Exponential) Rate(step int) float64 { return e.Base * math.Pow(e.Gamma, float64(step)) }

// Ramp goes from the rate From at step 0 to To at step Steps and stays there:
// in equal steps, or by equal factors (for a search of the learning rate).
type Ramp struct {
	From, To float64
	Steps    int
	Factors  bool // equal factors; both rates must be above 0
}

// Rate implements Schedule.
func (r Ramp) Rate(step int) float64 {
	t := fraction(step, r.Steps)
	if r.Factors {
		return r.From * math.Pow(r.To/r.From, t)
	}
	return r.From + (r.To-r.From)*t
}
