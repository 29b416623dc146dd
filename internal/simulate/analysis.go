package simulate

import (
	"cmp"
	"maps"
	"slices"
)

// Analysis is what a simulation says about its strategies.
type Analysis struct {
	Curves []Curve `json:"curves"` // in the order in which the strategies were asked for
	// Pairs compares strategies with those that they are measured against.
	Pairs []Pair `json:"pairs"`
	// Penalties is the pairwise penalty matrix (Ash et al., 2020): row i, column j
	// is the share of the rounds after the first in which strategy i was better than
	// j, by a two-sided paired t-test over seeds at 5 %. Rows and columns are in the
	// order of Curves.
	Penalties [][]float64 `json:"penalties"`
	Seeds     int         `json:"seeds"`    // that all strategies have finished
	Complete  bool        `json:"complete"` // no round is missing
}

// Curve is how a strategy's Dice grows with labels.
type Curve struct {
	Strategy string  `json:"strategy"`
	Points   []Point `json:"points"`
	// Area is the area under the curve divided by the range of labels: the mean Dice
	// over the budget.
	Area Interval `json:"area"`

	areas []float64 // per seed
}

// Point is a place on a curve.
type Point struct {
	Labelled int                 `json:"labelled"`
	Dice     Interval            `json:"dice"`
	Classes  map[string]Interval `json:"classes"`

	seeds []float64 // per seed
}

// Pair compares a strategy with another one, seed by seed.
type Pair struct {
	Strategy string   `json:"strategy"`
	Against  string   `json:"against"`
	Area     Interval `json:"area_difference"`
	Final    Interval `json:"final_difference"`
	Saved    Saving   `json:"labels_saved"`
	// Verdict is "better", "worse" or "none": what the interval of the area's
	// difference says.
	Verdict string `json:"verdict"`
}

// Saving is how many labels fewer a strategy needed for the Dice that it ends
// with, on the curves of means: the other strategy's curve, never falling and
// straight between its points, against its own.
type Saving struct {
	Labels float64 `json:"labels"` // negative: more were needed
	// AtLeast tells that the other strategy never got that far: the true number is
	// this one or more.
	AtLeast bool `json:"at_least"`
}

// references are the strategies that others are measured against.
var references = []string{"random", "fgrandom"}

// Analyse evaluates finished rounds. Strategies that lack a round are compared
// over the rounds and seeds that all have.
func Analyse(order []string, rounds []Round) Analysis {
	a := Analysis{Complete: true}
	seeds, last := common(order, rounds, &a.Complete)
	a.Seeds = len(seeds)
	if len(seeds) == 0 {
		return a
	}
	find := map[string]Round{}
	for _, r := range rounds {
		find[place(r.Strategy, r.Seed, r.Round)] = r
	}
	for _, name := range order {
		a.Curves = append(a.Curves, curveOf(name, seeds, last, find))
	}
	for _, c := range a.Curves {
		for _, ref := range references {
			if i := slices.IndexFunc(a.Curves, func(o Curve) bool { return o.Strategy == ref }); i >= 0 && c.Strategy != ref {
				a.Pairs = append(a.Pairs, pairOf(c, a.Curves[i]))
			}
		}
	}
	for i := range a.Curves {
		a.Penalties = append(a.Penalties, make([]float64, len(a.Curves)))
		for j := range a.Curves {
			a.Penalties[i][j] = penalty(a.Curves[i], a.Curves[j])
		}
	}
	return a
}

// common returns the seeds in which every strategy has at least round 1, and the
// last round that all of them have there.
func common(order []string, rounds []Round, complete *bool) (seeds []int, last int) {
	reached := map[int]map[string]int{} // seed → strategy → rounds in a row
	most := 0
	sorted := slices.SortedFunc(slices.Values(rounds), byPlace)
	zero := map[int]bool{}
	for _, r := range sorted {
		if reached[r.Seed] == nil {
			reached[r.Seed] = map[string]int{}
		}
		most = max(most, r.Round)
		if r.Round == 0 {
			zero[r.Seed] = true
		} else if reached[r.Seed][r.Strategy] == r.Round-1 {
			reached[r.Seed][r.Strategy] = r.Round
		}
	}
	last = most
	for _, seed := range slices.Sorted(maps.Keys(reached)) {
		least := most
		for _, s := range order {
			least = min(least, reached[seed][s])
		}
		*complete = *complete && least == most
		if zero[seed] && least > 0 {
			seeds, last = append(seeds, seed), min(last, least)
		}
	}
	return seeds, last
}

func curveOf(name string, seeds []int, last int, find map[string]Round) Curve {
	c := Curve{Strategy: name, areas: make([]float64, len(seeds))}
	for k := range last + 1 {
		p := Point{Classes: map[string]Interval{}}
		classes := map[string][]float64{}
		for _, seed := range seeds {
			r := find[place(name, seed, k)]
			if k == 0 {
				r = find[place("", seed, 0)]
			}
			p.Labelled = r.Labelled
			p.seeds = append(p.seeds, r.Mean())
			for class, d := range r.Classes() {
				classes[class] = append(classes[class], d)
			}
		}
		p.Dice = intervalOf(p.seeds)
		for class, v := range classes {
			p.Classes[class] = intervalOf(v)
		}
		c.Points = append(c.Points, p)
	}
	span := float64(c.Points[last].Labelled - c.Points[0].Labelled)
	for i := range seeds {
		for k := 1; k <= last; k++ {
			a, b := c.Points[k-1], c.Points[k]
			c.areas[i] += float64(b.Labelled-a.Labelled) * (a.seeds[i] + b.seeds[i]) / 2 / span
		}
	}
	c.Area = intervalOf(c.areas)
	return c
}

func pairOf(c, other Curve) Pair {
	end, ref := c.End(), other.End()
	p := Pair{
		Strategy: c.Strategy, Against: other.Strategy, Verdict: "none",
		Area:  intervalOf(differences(c.areas, other.areas)),
		Final: intervalOf(differences(end.seeds, ref.seeds)),
		Saved: saving(c, other),
	}
	if p.Area.Differs() {
		p.Verdict = "better"
		if p.Area.Mean < 0 {
			p.Verdict = "worse"
		}
	}
	return p
}

// saving compares the labels that two strategies need for the Dice that the
// first one ends with.
func saving(c, other Curve) Saving {
	target := c.End().Dice.Mean
	need := func(c Curve) (float64, bool) {
		best, at := c.Points[0].Dice.Mean, float64(c.Points[0].Labelled)
		if best >= target {
			return at, true
		}
		for _, p := range c.Points[1:] {
			if d := p.Dice.Mean; d >= target {
				return at + (float64(p.Labelled)-at)*(target-best)/(d-best), true
			} else if d > best {
				best = d
			}
			at = float64(p.Labelled)
		}
		return at, false
	}
	own, _ := need(c)
	theirs, reached := need(other)
	return Saving{Labels: theirs - own, AtLeast: !reached}
}

// penalty is the share of rounds after the first in which a beats b.
func penalty(a, b Curve) float64 {
	n := len(a.Points) - 1
	wins := 0
	for k := 1; k <= n; k++ {
		if d := intervalOf(differences(a.Points[k].seeds, b.Points[k].seeds)); d.Differs() && d.Mean > 0 {
			wins++
		}
	}
	return float64(wins) / float64(n)
}

// Ranking lists the strategies by their area, best first.
func (a Analysis) Ranking() []Curve {
	return slices.SortedStableFunc(slices.Values(a.Curves), func(x, y Curve) int { return cmp.Compare(y.Area.Mean, x.Area.Mean) })
}

// End is the last point.
func (c Curve) End() Point { return c.Points[len(c.Points)-1] }
