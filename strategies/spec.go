package strategies

import (
	"fmt"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
)

// Kind names an algorithm that chooses.
type Kind string

// The kinds that New knows; docs/active-learning.md has formulas and sources.
const (
	KindForeground Kind = "fgrandom"  // random, mostly where a class is predicted
	KindEntropy    Kind = "entropy"   // predictive entropy
	KindBALD       Kind = "bald"      // mutual information, of mc or ensemble passes
	KindTTA        Kind = "tta"       // disagreement of test-time augmentations
	KindVariance   Kind = "variance"  // variance over passes
	KindMargin     Kind = "margin"    // small margin between the two likeliest classes
	KindPower      Kind = "powerbald" // a measure with noise: stochastic batch acquisition
	KindClasp      Kind = "clasp"     // class-stratified, with noise that fades over rounds
	KindCoreset    Kind = "coreset"   // greedy k-centre on features
	KindKMeans     Kind = "kmeans"    // uncertainty-weighted k-means on features
	KindWeighted   Kind = "weighted"  // weighted sum of ranks
	KindCost       Kind = "cost"      // score per predicted second of annotation
	KindEpistemic  Kind = "epistemic" // entropy, as MONAI Label's <model>_epistemic answers
)

// Noise says how noise enters scores (Kirsch et al., 2021).
type Noise string

// The kinds of noise; g is standard Gumbel.
const (
	Power    Noise = "power"    // β·ln(score) + g
	Softmax  Noise = "softmax"  // β·score + g
	Softrank Noise = "softrank" // -β·ln(rank) + g
)

// Diversity says how a batch of a score-based strategy is spread.
type Diversity string

// The kinds of diversity.
const (
	ByFeatures Diversity = "features" // farthest first among the best; by classes where there are no features
	ByClasses  Diversity = "classes"  // the classes' least sure images in turn
	Undiverse  Diversity = "none"     // the best, whatever they are
)

// Spec describes a strategy. Only Kind is required; the zero value of a field
// means the default in brackets.
type Spec struct {
	Kind  Kind   `yaml:"kind"`
	Name  string `yaml:"name"`  // what clients call it [the kind]
	Model string `yaml:"model"` // whose observations count [the index's; see Index.UseModel]
	Seed  uint64 `yaml:"seed"`

	Measure    Measure  `yaml:"measure"`     // tta: variance, js or dice [variance]; powerbald [bald]; kmeans, cost [entropy]
	Noise      Noise    `yaml:"noise"`       // powerbald [power]
	Beta       float64  `yaml:"beta"`        // powerbald, clasp: weight of the score against the noise [1]
	Growth     float64  `yaml:"growth"`      // clasp: factor of Beta per round, ≥ 1 [2]
	BetaMost   float64  `yaml:"beta_most"`   // clasp: Beta's largest value [64]
	Stratified float64  `yaml:"stratified"`  // clasp: share of a batch that is spread over the classes; negative: none [2/3]
	Foreground float64  `yaml:"foreground"`  // fgrandom: share of the picks for a predicted class; negative: none [2/3]
	Weights    []Weight `yaml:"weights"`     // weighted [entropy 0.5, diversity 0.5]
	LeastTimes int      `yaml:"least_times"` // cost: recorded times from which on effort is predicted [12]

	Batch     int       `yaml:"batch"`     // images chosen together when they are asked for one by one [8]
	Subset    int       `yaml:"subset"`    // coreset, kmeans, weighted diversity: images looked at, a random part of a larger pool [2048]
	Diversity Diversity `yaml:"diversity"` // of batches of score-based strategies [features]
	Shortlist int       `yaml:"shortlist"` // the best so many times the batch from which diversity chooses [4]
}

// Weight is the share of one component in a weighted sum: a measure, or
// "diversity", the distance to the nearest labelled image.
type Weight struct {
	Of     string  `yaml:"of"`
	Weight float64 `yaml:"weight"`
}

// componentDiversity is the component of a weighted sum that is no measure.
const componentDiversity = "diversity"

// Kinds lists the kinds in the order in which clients show them.
func Kinds() []Kind {
	return []Kind{
		KindForeground, KindEntropy, KindBALD, KindTTA, KindVariance, KindMargin, KindPower, KindClasp, KindCoreset,
		KindKMeans, KindWeighted, KindCost,
	}
}

func (s Spec) withDefaults() Spec {
	if s.Name == "" {
		s.Name = string(s.Kind)
	}
	if s.Measure == "" {
		switch s.Kind {
		case KindTTA, KindVariance:
			s.Measure = Variance
		case KindBALD, KindPower:
			s.Measure = BALD
		case KindMargin:
			s.Measure = Margin
		default:
			s.Measure = Entropy
		}
	}
	if s.Noise == "" {
		s.Noise = Power
	}
	if s.Diversity == "" {
		s.Diversity = ByFeatures
	}
	if len(s.Weights) == 0 {
		s.Weights = []Weight{{string(Entropy), 0.5}, {componentDiversity, 0.5}}
	}
	s.Beta = orDefault(s.Beta, 1)
	s.Growth = orDefault(s.Growth, 2)
	s.BetaMost = orDefault(s.BetaMost, 64)
	s.Stratified = max(orDefault(s.Stratified, 2.0/3), 0)
	s.Foreground = max(orDefault(s.Foreground, 2.0/3), 0)
	s.LeastTimes = orDefault(s.LeastTimes, 12)
	s.Batch = orDefault(s.Batch, 8)
	s.Subset = orDefault(s.Subset, 2048)
	s.Shortlist = orDefault(s.Shortlist, 4)
	return s
}

// allowed lists the measures that a kind can use; nil: any.
func (s Spec) allowed() []Measure {
	switch s.Kind {
	case KindEntropy, KindEpistemic, KindClasp:
		return []Measure{Entropy}
	case KindBALD:
		return []Measure{BALD}
	case KindTTA:
		return []Measure{Variance, JS, Dice}
	case KindVariance:
		return []Measure{Variance}
	case KindMargin:
		return []Measure{Margin}
	default:
		return nil
	}
}

// validate reports the first field of a Spec with its defaults that makes no
// sense.
func (s Spec) validate() error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "strategy %s: %s", s.Name, fmt.Sprintf(format, args...))
	}
	if s.Kind != KindEpistemic && !slices.Contains(Kinds(), s.Kind) {
		return bad("%q is none of %v", string(s.Kind), Kinds())
	}
	if measureIndex(s.Measure) < 0 {
		return bad("measure %q is none of %v", string(s.Measure), Measures())
	}
	if a := s.allowed(); a != nil && !slices.Contains(a, s.Measure) {
		return bad("measure %q; it must be one of %v", string(s.Measure), a)
	}
	if !slices.Contains([]Noise{Power, Softmax, Softrank}, s.Noise) {
		return bad("noise %q is none of power, softmax, softrank", string(s.Noise))
	}
	if !slices.Contains([]Diversity{ByFeatures, ByClasses, Undiverse}, s.Diversity) {
		return bad("diversity %q is none of features, classes, none", string(s.Diversity))
	}
	if !(s.Beta > 0) || !(s.Growth >= 1) || !(s.BetaMost >= s.Beta) {
		return bad("beta %g, growth %g, largest beta %g; beta must be positive, growth at least 1", s.Beta, s.Growth, s.BetaMost)
	}
	if !(s.Stratified <= 1) || !(s.Foreground <= 1) {
		return bad("shares must not be above 1")
	}
	if s.LeastTimes < 4 || s.Batch < 1 || s.Subset < 1 || s.Shortlist < 1 {
		return bad("batch, subset and shortlist must be at least 1, least times at least 4")
	}
	if s.Batch > 1000 || s.Subset > 100_000 || s.Shortlist > 1000 {
		return bad("batch and shortlist must be at most 1000, subset at most 100000")
	}
	var sum float64
	for _, w := range s.Weights {
		if w.Of != componentDiversity && measureIndex(Measure(w.Of)) < 0 {
			return bad("weights of %q; there are %v and diversity", w.Of, Measures())
		}
		if !(w.Weight >= 0) {
			return bad("weight %g of %s is negative", w.Weight, w.Of)
		}
		sum += w.Weight
	}
	if !(sum > 0) {
		return bad("all weights are 0")
	}
	return nil
}
