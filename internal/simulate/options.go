package simulate

import (
	"fmt"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/strategies"
)

// Options are everything that decides a simulation.
type Options struct {
	Strategies []string `json:"strategies"`
	Seeds      int      `json:"seeds"`
	Start      int      `json:"start"`   // labelled images in round 0
	Query      int      `json:"query"`   // more in each round
	Rounds     int      `json:"rounds"`  // after round 0
	Scratch    bool     `json:"scratch"` // every round trains anew; otherwise it goes on from the model before
	Look       int      `json:"look"`    // images of the pool that are offered in each round, drawn at random, the same for all strategies; 0: all

	Passes  int     `json:"passes"`            // of Monte-Carlo dropout
	Steps   int     `json:"steps"`             // of each training; 0: as many as Minutes are worth in the first one
	Minutes float64 `json:"minutes,omitempty"` // used where Steps is 0

	PoolIDs []string `json:"pool"`  // images that can be chosen
	TestIDs []string `json:"tests"` // images that judge

	Model string `json:"model"` // version of the model to begin from
	Code  string `json:"code"`  // version of the program
	// Config is the configuration of the trainings, for the record.
	Config any `json:"config,omitempty"`
}

// SpecOf returns the strategy of a name: a kind of strategies.New, "random", or
// one of the forms of tta and powerbald that have a name of their own.
func SpecOf(name string, seed uint64) (strategies.Spec, error) {
	switch name {
	case "tta-js":
		return strategies.Spec{Kind: strategies.KindTTA, Measure: strategies.JS, Name: name, Seed: seed}, nil
	case "tta-dice":
		return strategies.Spec{Kind: strategies.KindTTA, Measure: strategies.Dice, Name: name, Seed: seed}, nil
	}
	k := strategies.Kind(name)
	if name != Random && !slices.Contains(strategies.Kinds(), k) {
		return strategies.Spec{}, fault.New(fault.Invalid, "there is no strategy %q; there are %s, %v, tta-js and tta-dice", name, Random, strategies.Kinds())
	}
	return strategies.Spec{Kind: k, Name: name, Seed: seed}, nil
}

// Random is the strategy that draws with equal chances.
const Random = "random"

func (o Options) check() error {
	for i, name := range o.Strategies {
		if _, err := SpecOf(name, 0); err != nil {
			return err
		}
		if slices.Contains(o.Strategies[:i], name) {
			return fault.New(fault.Invalid, "strategy %s is named twice", name)
		}
	}
	if len(o.Strategies) == 0 {
		return fault.New(fault.Invalid, "no strategy is named")
	}
	for _, c := range []struct {
		what  string
		value int
		least int
	}{{"seeds", o.Seeds, 1}, {"start", o.Start, 1}, {"query", o.Query, 1}, {"rounds", o.Rounds, 1}, {"look", o.Look, 0}, {"steps", o.Steps, 0}} {
		if c.value < c.least {
			return fault.New(fault.Invalid, "%s must be at least %d: %d", c.what, c.least, c.value)
		}
	}
	if o.Steps == 0 && !(o.Minutes > 0) {
		return fault.New(fault.Invalid, "neither steps nor minutes say how long a round trains")
	}
	if len(o.TestIDs) == 0 {
		return fault.New(fault.Invalid, "no image is kept for judging; a larger share or more labelled images are needed")
	}
	if need := o.Start + o.Query*o.Rounds; need > len(o.PoolIDs) {
		return fault.New(fault.Invalid, "%d labelled images are needed (start %d, %d rounds of %d), and the pool has %d", need, o.Start, o.Rounds, o.Query, len(o.PoolIDs))
	}
	if o.Look > 0 && o.Look < o.Query {
		return fault.New(fault.Invalid, "%d images are offered in a round, and %d are to be chosen", o.Look, o.Query)
	}
	return nil
}

// Trainings is how many trainings a simulation makes.
func (o Options) Trainings() int { return o.Seeds * (1 + len(o.Strategies)*o.Rounds) }

func (o Options) String() string {
	return fmt.Sprintf("%v, %d seeds, %d + %d × %d labels, %d trainings", o.Strategies, o.Seeds, o.Start, o.Rounds, o.Query, o.Trainings())
}

// PassesOf says which passes a strategy is served with.
func PassesOf(s strategies.Spec) strategies.Passes {
	if p := s.Needs().Passes; len(p) > 0 {
		return p[0]
	}
	return strategies.SinglePass
}
