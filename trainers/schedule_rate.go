package trainers

import "github.com/voxloop/voxloop/trainers/native"

// pace is what the step with index i is made with.
func (f *fit) paceOf(i int) native.Pace {
	p := f.c.pace(i, f.state.Plan.Steps, f.state.Plateau)
	p.Rate *= f.state.Scale
	return p
}

// pace is the rate of step i of n: in the warm-up (i+1)/WarmUp of the highest
// rate, then what the schedule says for the steps that are left. On a plateau
// the validations have a say, too.
func (c Config) pace(i, n int, plateau native.PlateauState) native.Pace {
	warm := c.Schedule.warmUp(n)
	if i < warm {
		return native.Pace{Rate: c.Optimizer.Rate * float64(i+1) / float64(warm)}
	}
	s := c.schedule(n-warm, plateau)
	p := native.Pace{Rate: s.Rate(i - warm)}
	if one, ok := s.(native.OneCycle); ok && c.Optimizer.hasMomentum() {
		p.Momentum = one.Momentum(i - warm)
	}
	return p
}

// schedule is the schedule of n steps after the warm-up.
func (c Config) schedule(n int, plateau native.PlateauState) native.Schedule {
	s, rate := c.Schedule, c.Optimizer.Rate
	switch s.Name {
	case schedulePoly:
		return native.Poly{Base: rate, Steps: n, Power: s.Power}
	case scheduleCosine:
		return native.Cosine{Base: rate, Min: s.Floor * rate, Steps: n}
	case scheduleOneCycle:
		return native.OneCycle{Max: rate, Steps: n}
	case schedulePlateau:
		return s.plateau(rate, plateau)
	}
	return native.Constant(rate)
}

func (s ScheduleConfig) plateau(rate float64, state native.PlateauState) *native.Plateau {
	return &native.Plateau{Base: rate, Factor: s.Factor, Patience: s.Patience, Min: s.Floor * rate, Higher: true, State: state}
}

// warmUp is the number of steps in which the rate rises: at most a tenth of a
// training. One cycle has its own rise.
func (s ScheduleConfig) warmUp(n int) int {
	if s.Name == scheduleOneCycle {
		return 0
	}
	return min(max(s.WarmUp, 0), n/10)
}

// hasMomentum tells whether a step's momentum has a meaning.
func (o OptimizerConfig) hasMomentum() bool { return o.Name != optSGD || o.Momentum > 0 }
