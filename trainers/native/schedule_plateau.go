package native

import "math"

// Plateau lowers the rate when validation results stop getting better. It is
// not safe for concurrent use. PlateauState is what it remembers.
type Plateau struct {
	Base      float64
	Factor    float64 // what the rate is multiplied by; 0 means 0.1
	Patience  int     // results in a row without a better one that are borne
	CoolDown  int     // results after a lowering that do not count as bad
	Min       float64 // the rate never falls below
	Threshold float64 // by how much a better result is better; relative to the best unless Absolute
	Absolute  bool
	Higher    bool // higher results are better (Dice); otherwise lower ones (a loss)

	State PlateauState
}

// PlateauState is the changing part of a Plateau, for checkpoints. The zero
// value is the state before the first result.
type PlateauState struct {
	Judged  bool    `json:"judged"` // there is a Best
	Best    float64 `json:"best"`
	Bad     int     `json:"bad"` // results in a row without a better one
	Cooling int     `json:"cooling"`
	Scaled  bool    `json:"scaled"` // Rate counts; otherwise Base does
	Rate    float64 `json:"rate"`
}

// Rate implements Schedule: the rate that the results so far have left.
func (p *Plateau) Rate(int) float64 {
	if !p.State.Scaled {
		return p.Base
	}
	return p.State.Rate
}

// smallestDrop is the least lowering that is worth it.
const smallestDrop = 1e-8

// Result takes a validation's result in; one that is not a number counts as
// bad.
func (p *Plateau) Result(v float64) {
	s := &p.State
	if p.better(v) {
		s.Judged, s.Best, s.Bad = true, v, 0
	} else {
		s.Bad++
	}
	if s.Cooling > 0 {
		s.Cooling--
		s.Bad = 0
	}
	if s.Bad <= p.Patience {
		return
	}
	s.Bad, s.Cooling = 0, p.CoolDown
	rate := p.Rate(0)
	if lower := max(rate*orElse(p.Factor, 0.1), p.Min); rate-lower > smallestDrop {
		s.Scaled, s.Rate = true, lower
	}
}

func (p *Plateau) better(v float64) bool {
	if math.IsNaN(v) {
		return false
	}
	if !p.State.Judged {
		return true
	}
	margin := p.Threshold
	if !p.Absolute {
		margin *= math.Abs(p.State.Best)
	}
	if p.Higher {
		return v > p.State.Best+margin
	}
	return v < p.State.Best-margin
}
