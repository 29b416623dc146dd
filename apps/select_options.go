package apps

import (
	"context"
	"slices"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/uncertainty"
	"github.com/voxloop/voxloop/strategies"
)

// SelectionOptions say how images are scored and handed out. With the zero
// value images are scored only when somebody asks for it, nobody has a lease
// and nothing is drawn for control.
type SelectionOptions struct {
	Model    string // whose uncertainty counts; "": the app's first
	Strategy string // shown to clients first; "": random
	Seed     uint64

	Sampling    string   // tta, mc, ensemble or single; "": tta
	Flips       []string // mirrorings of tta, as "", "x", "xy"; none: all
	Passes      int      // of mc; 0 means 10
	Aggregation string   // foreground, top, patch, class or whole; "": foreground

	Budget    float64       // share of the time for scoring in the background; 0: none
	Control   float64       // share of the picks that is drawn at random
	Lease     time.Duration // how long an image is kept for the client that got it; 0: not at all
	PerClient int           // images that a client may hold; 0 means 64
	ColdStart int           // labels that it takes until scores choose; 0 means 5, negative none
}

// samplings are the values of SelectionOptions.Sampling.
var samplings = map[string]strategies.Passes{
	"tta": strategies.Augmented, "mc": strategies.Dropout, "ensemble": strategies.EnsemblePass, "single": strategies.SinglePass,
}

// Samplings lists the ways of sampling.
func Samplings() []string { return []string{"tta", "mc", "ensemble", "single"} }

// LookRules say how an image is looked at.
type LookRules struct {
	Passes   strategies.Passes
	Sampling infer.Sampling
	observe  strategies.ObserveOptions
}

// Rules checks the options that say how an image is looked at.
func (o SelectionOptions) Rules() (LookRules, error) {
	if o.Sampling == "" {
		o.Sampling = "tta"
	}
	if o.Passes == 0 {
		o.Passes = 10
	}
	passes, ok := samplings[o.Sampling]
	how := uncertainty.Aggregation(o.Aggregation)
	switch {
	case !ok:
		return LookRules{}, fault.New(fault.Invalid, "selection.sampling: %q is none of %v", o.Sampling, Samplings())
	case how != "" && !slices.Contains(uncertainty.Aggregations(), how):
		return LookRules{}, fault.New(fault.Invalid, "selection.aggregation: %q is none of %v", o.Aggregation, uncertainty.Aggregations())
	case o.Passes < 2 || o.Passes > uncertainty.MaxPasses:
		return LookRules{}, fault.New(fault.Invalid, "selection.passes: %d is not within 2..%d", o.Passes, uncertainty.MaxPasses)
	case !(o.Budget >= 0 && o.Budget <= 1):
		return LookRules{}, fault.New(fault.Invalid, "selection.budget: %g is not within 0..1", o.Budget)
	}
	r := LookRules{Passes: passes, observe: strategies.ObserveOptions{Aggregate: uncertainty.AggregateOptions{How: how}}}
	r.Sampling = infer.Sampling{Features: true, Seed: o.Seed}
	switch passes {
	case strategies.Augmented:
		if r.Sampling.Flips = o.Flips; len(o.Flips) == 0 {
			r.Sampling.Flips = []string{infer.AllMirrorings}
		}
	case strategies.Dropout:
		r.Sampling.Dropout = o.Passes
	case strategies.EnsemblePass:
		r.Sampling.Members = true
	case strategies.SinglePass:
	}
	return r, nil
}

// Seen is a measurement of an image.
type Seen struct {
	Image, Model string
	Volume       *imaging.Volume // of the image's first file
	Measured     *infer.Measured
	Took         time.Duration
}

// Observe sums up a measurement.
func (r LookRules) Observe(ctx context.Context, s Seen) (*strategies.Observation, error) {
	fingerprint, corrupt := fingerprint(s.Volume)
	return r.sumUp(ctx, s, s.Volume.Affine, fingerprint, corrupt)
}

func (r LookRules) sumUp(ctx context.Context, s Seen, world imaging.Affine, fingerprint []float32, corrupt string) (*strategies.Observation, error) {
	m := s.Measured
	return strategies.Observe(ctx, strategies.Look{
		Image: s.Image, Model: s.Model, Version: m.Model.Version, Passes: r.Passes, Maps: m.Maps, Size: m.Size, Voxel: m.Voxel,
		ToImage: m.ToImage, World: world, Features: m.Features, Fingerprint: fingerprint, Corrupt: corrupt, Took: s.Took,
	}, r.observe)
}

// fingerprint is that of a volume's first channel.
func fingerprint(v *imaging.Volume) (numbers []float32, corrupt string) {
	voxels := make([]float32, v.Voxels())
	v.Float32s(voxels, 0, 0)
	return strategies.Fingerprint(voxels, v.Size, v.Affine.Spacing())
}

// index makes the index of the images.
func (o SelectionOptions) index(r LookRules) (*strategies.Index, error) {
	x := strategies.Options{
		Lease: o.Lease, PerClient: o.PerClient, Control: o.Control, ColdStart: o.ColdStart, Seed: o.Seed,
		Passes: r.Passes, Aggregation: r.observe.Aggregation(),
		ScoreLabelled: o.Budget > 0, // there is time for more than what a task asks for
	}
	if err := x.Validate(); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "selection: %v", err)
	}
	return strategies.Open(x), nil
}

// offered makes all strategies over x, in the order in which clients show them:
// one of every kind, and the app's own, in the place of one with the same name
// or behind the others.
func (o SelectionOptions) offered(x *strategies.Index, model string, tuned []strategies.Spec) ([]strategies.Strategy, error) {
	specs := []strategies.Spec{}
	for _, k := range strategies.Kinds() {
		specs = append(specs, strategies.Spec{Kind: k, Name: string(k), Seed: o.Seed})
	}
	specs = append(specs, strategies.Spec{Kind: strategies.KindEpistemic, Name: model + epistemicSuffix, Model: model, Seed: o.Seed})
	for i, s := range tuned {
		if s.Model != "" && s.Model != model {
			return nil, fault.New(fault.Invalid, "%s: tuned_strategies[%d].model %q: only images of %s are scored (selection.model)", FileName, i, s.Model, model)
		}
		if s.Seed == 0 {
			s.Seed = o.Seed
		}
		if _, err := strategies.New(strategies.NewIndex(), s); err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "%s: tuned_strategies[%d]: %v", FileName, i, err)
		}
		if k := slices.IndexFunc(specs, func(o strategies.Spec) bool { return o.Name == s.Name }); k >= 0 {
			specs[k] = s
		} else {
			specs = append(specs, s)
		}
	}
	all := strategies.Builtin(x)
	for _, s := range specs {
		made, err := strategies.New(x, s)
		if err != nil {
			return nil, err
		}
		all = append(all, made)
	}
	return all, nil
}

// openSelection makes the index and the strategies of the app.
func (a *App) openSelection() error {
	o := a.opts.Selection
	if o.Model != "" && !slices.ContainsFunc(a.refs, func(m ModelRef) bool { return m.Name == o.Model }) {
		return fault.New(fault.Invalid, "selection.model: the app serves no model %q", o.Model)
	}
	rules, err := o.Rules()
	if err != nil {
		return err
	}
	x, err := o.index(rules)
	if err != nil {
		return err
	}
	a.selection = newSelection(a, rules, x)
	all, err := o.offered(x, a.selection.model, a.file.Tuned)
	if err != nil {
		return err
	}
	if all, err = chooseStrategies(a.file, all); err != nil {
		return err
	}
	a.strategies, err = o.ordered(all)
	return err
}

// ordered puts the strategy that was asked for in front: clients preselect it.
func (o SelectionOptions) ordered(all []strategies.Strategy) ([]strategies.Strategy, error) {
	if o.Strategy == "" {
		return all, nil
	}
	i := slices.IndexFunc(all, func(s strategies.Strategy) bool { return s.Name() == o.Strategy })
	if i < 0 {
		return nil, fault.New(fault.Invalid, "selection.strategy: the app offers no strategy %q", o.Strategy)
	}
	first := all[i]
	return slices.Insert(slices.Delete(all, i, i+1), 0, first), nil
}

func chooseStrategies(f File, all []strategies.Strategy) ([]strategies.Strategy, error) {
	if len(f.Strategies) == 0 {
		return all, nil
	}
	var out []strategies.Strategy
	for i, name := range f.Strategies {
		k := slices.IndexFunc(all, func(s strategies.Strategy) bool { return s.Name() == name })
		if k < 0 {
			return nil, fault.New(fault.Invalid, "%s: strategies[%d] %q is unknown", FileName, i, name)
		}
		out = append(out, all[k])
	}
	return out, nil
}

// epistemicSuffix ends the names of the strategy and the scoring method that the
// reference has for a model.
const epistemicSuffix = "_epistemic"
