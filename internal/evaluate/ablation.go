package evaluate

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/metrics"
	"github.com/voxloop/voxloop/internal/imaging/morph"
)

// Trial is a post-processing rule to be tried on each class by itself.
type Trial struct {
	Name string
	Rule morph.Rule // its Label is filled in
}

// Trials returns the rules that are tried: the largest component, the given
// smallest volumes (mm³), hole filling, Gaussian smoothing by the given widths
// (mm), and filling together with the largest component.
func Trials(volumes, widths []float64) []Trial {
	out := []Trial{
		{"largest component, 26-connected", morph.Rule{Largest: 1, Connectivity: morph.Corners}},
		{"largest component, 6-connected", morph.Rule{Largest: 1, Connectivity: morph.Faces}},
		{"two largest components", morph.Rule{Largest: 2, Connectivity: morph.Corners}},
	}
	for _, v := range volumes {
		out = append(out, Trial{"components from " + number(v) + " mm³", morph.Rule{MinVolume: v}})
	}
	out = append(out, Trial{"holes filled", morph.Rule{FillHoles: true}})
	for _, w := range widths {
		out = append(out, Trial{"smoothed by " + number(w) + " mm", morph.Rule{Smooth: w}})
	}
	return append(out, Trial{"holes filled, largest component", morph.Rule{FillHoles: true, Largest: 1}})
}

// minCases is how many cases a verdict needs: of five, all may get better by
// chance (a sign test's p is 2·2⁻⁵ = 0.06, of six 0.03), and the bootstrap knows
// nothing beyond the cases at hand.
const minCases = 6

// Verdict says what a rule does to a class, by the interval of the mean
// difference of Dice.
type Verdict string

// The verdicts.
const (
	TooFew   Verdict = "too few"   // fewer than six cases have the class
	Helps    Verdict = "helps"     // the interval lies above 0
	Harms    Verdict = "harms"     // below 0
	Unclear  Verdict = "unclear"   // 0 is within
	NoEffect Verdict = "no effect" // nothing changes in any case
)

// Ablation tells, per class, what each rule does to labelled cases.
type Ablation struct {
	Cases     int             `json:"cases"`
	Skipped   []Skip          `json:"skipped"`
	Resamples int             `json:"bootstrap_resamples"`
	Seed      uint64          `json:"bootstrap_seed"`
	MinCases  int             `json:"min_cases"` // of a class, for a verdict
	Classes   []ClassAblation `json:"classes"`
}

// ClassAblation holds the trials of one class.
type ClassAblation struct {
	Label  uint16        `json:"label"`
	Name   string        `json:"name,omitempty"`
	Dice   Statistics    `json:"dice"`    // as predicted
	HD95   Statistics    `json:"hd95_mm"` // as predicted
	Trials []TrialResult `json:"trials"`
	Best   string        `json:"best,omitempty"` // of those that help, the one with the largest gain
}

// TrialResult holds paired differences: with the rule minus as predicted.
type TrialResult struct {
	Name    string     `json:"rule"`
	Dice    Statistics `json:"dice_difference"`
	HD95    Statistics `json:"hd95_mm_difference"` // of cases with a distance before and after
	Better  int        `json:"cases_better"`
	Worse   int        `json:"cases_worse"`
	Same    int        `json:"cases_same"`
	Verdict Verdict    `json:"verdict"`
}

// score is what a trial is judged by.
type score struct{ dice, hd95 float64 }

// outcome holds the scores of one class over the cases: as predicted, and
// under every trial.
type outcome struct {
	base  []score
	after [][]score // by trial, then case
}

// Ablate tries every rule on every class of every pair. Dice counts 1 where a
// class is rightly absent, so that removing a false one shows. A pair that
// cannot be used is skipped. Of o the classes, the bootstrap and Progress are
// used. Errors: Invalid for a rule that cannot be applied, the context's.
func Ablate(ctx context.Context, pairs []Pair, skipped []Skip, trials []Trial, o Options) (*Ablation, error) {
	for _, t := range trials {
		t.Rule.Label = 1
		if err := t.Rule.Check(); err != nil {
			return nil, err
		}
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	out := &Ablation{Skipped: append([]Skip{}, skipped...), Resamples: o.Resamples, Seed: o.Seed, MinCases: minCases, Classes: []ClassAblation{}}
	outcomes := make(map[uint16]*outcome)
	err := eachPair(ctx, pairs, o.Progress, func(ctx context.Context, p Pair, m *labelMaps, err error) error {
		if err == nil {
			err = tryAll(ctx, m, trials, outcomes)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			out.Skipped = append(out.Skipped, Skip{p.Case, reason(err)})
		default:
			out.Cases++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(out.Skipped, func(a, b Skip) int { return cmp.Compare(a.Case, b.Case) })
	names := make(map[uint16]string)
	for _, c := range o.Classes {
		names[c.Label] = c.Name
	}
	for _, label := range slices.Sorted(maps.Keys(outcomes)) {
		c, err := outcomes[label].sum(ctx, Class{label, names[label]}, trials, o.bootstrap())
		if err != nil {
			return nil, err
		}
		out.Classes = append(out.Classes, c)
	}
	return out, nil
}

// tryAll adds the scores of one pair.
func tryAll(ctx context.Context, m *labelMaps, trials []Trial, to map[uint16]*outcome) error {
	boxes := morph.Boxes(m.truth.Data, m.truth.Size)
	for l, b := range morph.Boxes(m.pred.Data, m.pred.Size) {
		if t, ok := boxes[l]; ok {
			b = b.Union(t)
		}
		boxes[l] = b
	}
	if err := checkLabels(len(boxes)); err != nil {
		return err
	}
	for _, label := range slices.Sorted(maps.Keys(boxes)) {
		if label == 0 {
			continue
		}
		base, after, err := tryClass(ctx, m.crop(boxes[label], trials), label, trials)
		if err != nil {
			return err
		}
		r := to[label]
		if r == nil {
			r = &outcome{after: make([][]score, len(trials))}
			to[label] = r
		}
		r.base = append(r.base, base)
		for i, s := range after {
			r.after[i] = append(r.after[i], s)
		}
	}
	return nil
}

// crop cuts both maps to the box around a class, with the room that smoothing
// needs.
func (m *labelMaps) crop(b morph.Box, trials []Trial) *labelMaps {
	var reach [3]int
	for _, t := range trials {
		for a, s := range m.truth.Spacing() {
			reach[a] = max(reach[a], int(math.Ceil(min(8*t.Rule.Smooth/s, 1<<20))))
		}
	}
	b = b.Grow(reach, m.truth.Size)
	g := imaging.Grid{Size: b.Size(), Affine: m.truth.Affine}
	origin := g.Affine.Apply([3]float64{float64(b.Min[0]), float64(b.Min[1]), float64(b.Min[2])})
	for i := range 3 {
		g.Affine[i][3] = origin[i]
	}
	return &labelMaps{
		pred:  &imaging.LabelMap{Grid: g, Data: b.Crop(m.pred.Data, m.pred.Size)},
		truth: &imaging.LabelMap{Grid: g, Data: b.Crop(m.truth.Data, m.truth.Size)},
	}
}

// tryClass scores one class of one pair, as predicted and under every trial.
func tryClass(ctx context.Context, m *labelMaps, label uint16, trials []Trial) (base score, after []score, err error) {
	if base, err = judge(ctx, m.pred, m.truth, label); err != nil {
		return base, nil, err
	}
	for _, t := range trials {
		t.Rule.Label = label
		changed := &imaging.LabelMap{Grid: m.pred.Grid, Data: slices.Clone(m.pred.Data)}
		if err := morph.Apply(ctx, changed, t.Rule); err != nil {
			return base, nil, err
		}
		s := base
		if !slices.Equal(changed.Data, m.pred.Data) {
			if s, err = judge(ctx, changed, m.truth, label); err != nil {
				return base, nil, err
			}
		}
		after = append(after, s)
	}
	return base, after, nil
}

func judge(ctx context.Context, pred, truth *imaging.LabelMap, label uint16) (score, error) {
	c, err := metrics.Compare(ctx, pred, truth)
	if err != nil {
		return score{}, err
	}
	s, err := c.Surfaces(ctx, label, metrics.SurfaceOptions{})
	if err != nil {
		return score{}, err
	}
	hd, err := s.Percentile(ctx, 95)
	return score{c.Counts(label).Dice(metrics.MONAIKeep), hd}, err
}

// sum turns the scores of a class into statistics and verdicts. All rules are
// judged by the same draws of cases.
func (r *outcome) sum(ctx context.Context, c Class, trials []Trial, b bootstrap) (ClassAblation, error) {
	stream := uint64(c.Label) << 2
	out := ClassAblation{Label: c.Label, Name: c.Name, Trials: []TrialResult{}}
	var dice, hd []float64
	for _, s := range r.base {
		dice, hd = append(dice, s.dice), append(hd, s.hd95)
	}
	var err error
	if out.Dice, err = b.describe(ctx, dice, stream); err != nil {
		return out, err
	}
	if out.HD95, err = b.describe(ctx, hd, stream+1); err != nil {
		return out, err
	}
	best := 0.0
	for i, t := range trials {
		res := TrialResult{Name: t.Name}
		var dd, dh []float64
		for j, s := range r.after[i] {
			d := s.dice - r.base[j].dice
			dd, dh = append(dd, d), append(dh, s.hd95-r.base[j].hd95)
			switch {
			case d > 0:
				res.Better++
			case d < 0:
				res.Worse++
			default:
				res.Same++
			}
		}
		if res.Dice, err = b.describe(ctx, dd, stream+2); err != nil {
			return out, err
		}
		if res.HD95, err = b.describe(ctx, dh, stream+3); err != nil {
			return out, err
		}
		if res.Verdict = verdict(res); res.Verdict == Helps && *res.Dice.Mean > best {
			best, out.Best = *res.Dice.Mean, t.Name
		}
		out.Trials = append(out.Trials, res)
	}
	return out, nil
}

func verdict(r TrialResult) Verdict {
	switch {
	case r.Better+r.Worse == 0 || r.Dice.Mean == nil:
		return NoEffect
	case r.Dice.N < minCases:
		return TooFew
	case *r.Dice.Low > 0:
		return Helps
	case *r.Dice.High < 0:
		return Harms
	}
	return Unclear
}
