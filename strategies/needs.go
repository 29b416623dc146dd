package strategies

import "github.com/voxloop/voxloop/internal/ordered"

// Needs says what a strategy has to know of images.
type Needs struct {
	Passes   []Passes // the kinds of passes that serve it; nil: any
	Features bool     // it works better with features
}

// Needs returns what the strategy has to know of images.
func (s Spec) Needs() Needs {
	s = s.withDefaults()
	n := Needs{Features: s.Kind == KindCoreset || s.Kind == KindKMeans}
	measures := []Measure{s.Measure}
	switch s.Kind {
	case KindForeground, KindCoreset:
		measures = nil
	case KindTTA:
		n.Passes = []Passes{Augmented}
		return n
	case KindWeighted:
		measures = nil
		for _, w := range s.Weights {
			if w.Of == componentDiversity {
				n.Features = true
			} else {
				measures = append(measures, Measure(w.Of))
			}
		}
	default:
	}
	for _, m := range measures {
		switch m {
		case BALD:
			n.Passes = []Passes{Dropout, EnsemblePass}
			return n
		case JS:
			n.Passes = []Passes{Augmented}
			return n
		case Variance, Dice:
			n.Passes = []Passes{Augmented, Dropout, EnsemblePass}
		default:
		}
	}
	return n
}

// Parameters returns what the strategy was made with, in order, as clients see
// it: seed and the fields that its kind uses.
func (s Spec) Parameters() *ordered.Map {
	s = s.withDefaults()
	m := ordered.Of("kind", string(s.Kind), "seed", s.Seed)
	if s.Model != "" {
		m.Set("model", s.Model)
	}
	switch s.Kind {
	case KindForeground:
		return m.Set("foreground", s.Foreground).Set("batch", s.Batch)
	case KindCoreset:
		return m.Set("batch", s.Batch).Set("subset", s.Subset)
	case KindPower:
		return m.Set("measure", string(s.Measure)).Set("noise", string(s.Noise)).Set("beta", s.Beta).Set("batch", s.Batch)
	case KindClasp:
		return m.Set("beta", s.Beta).Set("growth", s.Growth).Set("beta_most", s.BetaMost).Set("stratified", s.Stratified).Set("batch", s.Batch)
	case KindKMeans:
		return m.Set("measure", string(s.Measure)).Set("batch", s.Batch).Set("subset", s.Subset)
	case KindWeighted:
		w := &ordered.Map{}
		for _, c := range s.Weights {
			w.Set(c.Of, c.Weight)
		}
		return m.Set("weights", w).Set("batch", s.Batch).Set("subset", s.Subset)
	case KindCost:
		return m.Set("measure", string(s.Measure)).Set("least_times", s.LeastTimes).Set("batch", s.Batch)
	default:
		return m.Set("measure", string(s.Measure)).Set("diversity", string(s.Diversity)).Set("shortlist", s.Shortlist)
	}
}
