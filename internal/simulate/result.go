package simulate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Score is what a model reaches on one image of the test set.
type Score struct {
	ID   string             `json:"id"`
	Dice map[string]float64 `json:"dice"` // by class name; a class that neither the label nor the model has is absent
}

// Mean is the mean over the classes; false when there is none.
func (s Score) Mean() (float64, bool) {
	if len(s.Dice) == 0 {
		return 0, false
	}
	var sum float64
	for _, name := range slices.Sorted(maps.Keys(s.Dice)) {
		sum += s.Dice[name]
	}
	return sum / float64(len(s.Dice)), true
}

// Pick is an image that a strategy chose.
type Pick struct {
	ID  string `json:"id"`
	Why string `json:"why,omitempty"`
}

// Round is one finished round of one strategy: what was chosen, and what the
// model that was trained with it reaches.
type Round struct {
	Strategy string  `json:"strategy"` // "" in round 0, which all strategies share
	Seed     int     `json:"seed"`     // from 1
	Round    int     `json:"round"`    // from 0
	Labelled int     `json:"labelled"` // images that the model was trained on
	Picks    []Pick  `json:"picks"`    // new in this round
	Scored   int     `json:"scored"`   // images that were looked at for the choice
	Version  string  `json:"version"`  // of the model
	Test     []Score `json:"test"`

	ScoreSeconds float64 `json:"score_seconds"`
	TrainSeconds float64 `json:"train_seconds"`
	TestSeconds  float64 `json:"test_seconds"`
}

// Mean is the mean Dice over the test images, of their means over classes.
func (r Round) Mean() float64 {
	var sum float64
	n := 0
	for _, s := range r.Test {
		if m, ok := s.Mean(); ok {
			sum += m
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

// Classes returns the mean Dice of every class over the test images that have
// it.
func (r Round) Classes() map[string]float64 {
	sum, n := map[string]float64{}, map[string]int{}
	for _, s := range r.Test {
		for name, d := range s.Dice {
			sum[name] += d
			n[name]++
		}
	}
	for name := range sum {
		sum[name] /= float64(n[name])
	}
	return sum
}

// byPlace orders rounds by strategy, seed and round.
func byPlace(a, b Round) int {
	return cmp.Or(cmp.Compare(a.Strategy, b.Strategy), cmp.Compare(a.Seed, b.Seed), cmp.Compare(a.Round, b.Round))
}

func place(strategy string, seed, round int) string {
	if round == 0 {
		strategy = ""
	}
	return fmt.Sprintf("%s/%d/%d", strategy, seed, round)
}
