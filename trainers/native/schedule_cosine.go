package native

import "math"

// half falls from 1 at t = 0 to 0 at t = 1 along half a cosine.
func half(t float64) float64 { return (1 + math.Cos(math.Pi*t)) / 2 }

// Cosine rises in a straight line for WarmUp steps and then falls from Base to
// Min along half a cosine until step Steps (Loshchilov and Hutter, 2016). After
// Steps it goes on along the cosine, which rises again.
type Cosine struct {
	Base   float64
	Min    float64 // where the cosine ends
	Floor  float64 // the rate never falls below it after warm-up
	Steps  int     // warm-up included
	WarmUp int     // steps
	From   float64 // share of Base at which warm-up starts
	Waves  float64 // of the cosine until Steps; 0 means one half
}

// Rate implements Schedule.
func (c Cosine) Rate(step int) float64 {
	if step < c.WarmUp {
		return c.Base * (c.From + (1-c.From)*float64(step)/float64(c.WarmUp))
	}
	waves := c.Waves
	if waves == 0 {
		waves = 0.5
	}
	t := float64(step-c.WarmUp) / float64(max(c.Steps-c.WarmUp, 1))
	return max(c.Min+(c.Base-c.Min)*half(2*waves*t), c.Floor)
}

// Restarts falls from Base to Min along half a cosine again and again; the
// first fall takes First steps, every next one Factor times as many
// (Loshchilov and Hutter, 2016).
type Restarts struct {
	Base, Min float64
	First     int
	Factor    int // 0 means 1
}

// Rate implements Schedule.
func (r Restarts) Rate(step int) float64 {
	length := max(r.First, 1)
	if r.Factor <= 1 {
		step %= length
	}
	for step >= length {
		step -= length
		length *= r.Factor
	}
	return r.Min + (r.Base-r.Min)*half(float64(step)/float64(length))
}

// OneCycle rises to Max and falls far below where it began, once in a training
// (Smith and Topin, 2018). Momentum goes the other way.
type OneCycle struct {
	Max        float64
	Steps      int
	Rise       float64 // share of the steps in which the rate rises; 0 means 0.3
	Start      float64 // Max/Start is the first rate; 0 means 25
	End        float64 // the first rate/End is the last; 0 means 10000
	Straight   bool    // straight lines instead of half cosines
	ThreePhase bool    // the fall to the first rate takes as long as the rise; then comes the rest

	LowMomentum, HighMomentum float64 // both 0 means 0.85 and 0.95
}

// point is a place on the way: the step and what holds there.
type point struct{ step, rate, momentum float64 }

func (c OneCycle) points() []point {
	rise, start, end := orElse(c.Rise, 0.3), orElse(c.Start, 25), orElse(c.End, 1e4)
	low, high := c.LowMomentum, c.HighMomentum
	if low == 0 && high == 0 {
		low, high = 0.85, 0.95
	}
	first, n := c.Max/start, float64(c.Steps)
	path := []point{{0, first, high}, {rise*n - 1, c.Max, low}}
	if c.ThreePhase {
		path = append(path, point{2*rise*n - 2, first, high})
	}
	return append(path, point{n - 1, first / end, high})
}

func orElse(v, def float64) float64 {
	if v == 0 {
		return def
	}
	return v
}

// at returns the place on the way at a step.
func (c OneCycle) at(step int) point {
	path, s := c.points(), float64(step)
	for i, to := range path[1:] {
		from := path[i]
		if s > to.step {
			continue
		}
		t := 1.0
		if to.step > from.step {
			t = (s - from.step) / (to.step - from.step)
		}
		w := t
		if !c.Straight {
			w = 1 - half(t)
		}
		return point{s, from.rate + (to.rate-from.rate)*w, from.momentum + (to.momentum-from.momentum)*w}
	}
	return path[len(path)-1]
}

// Rate implements Schedule. After Steps the rate stays at its end.
func (c OneCycle) Rate(step int) float64 { return c.at(step).rate }

// Momentum is what goes with the step's rate, for Pace.Momentum.
func (c OneCycle) Momentum(step int) float64 { return c.at(step).momentum }
