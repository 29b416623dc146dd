// Package evaluate compares a folder of predicted label maps with a folder of
// true ones: a table of metrics by case and class, summaries of the cohort with
// bootstrap intervals, pictures of the worst cases, and trials of
// post-processing rules.
//
// Files belong together when their names are equal without their endings.
package evaluate

import (
	"cmp"
	"context"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/metrics"
	"github.com/voxloop/voxloop/internal/imaging/morph"
)

// Class is a foreground class.
type Class struct {
	Label uint16
	Name  string // may be empty
}

// Options tunes an evaluation. The zero value is MONAI's convention for empty
// classes, 1 mm tolerance, every lesion that is touched, 2000 resamplings.
type Options struct {
	Classes      []Class            // foreground; empty: every label but 0 that occurs
	Empty        metrics.Empty      // convention for classes without voxels
	Tolerance    float64            // mm, of NSD; 0 means 1
	Area         bool               // NSD counts the area of the surface within voxels, not surface voxels
	Overlap      float64            // part of a lesion that must be covered; 0: one voxel
	Connectivity morph.Connectivity // of lesions; 0 means 26
	Resamples    int                // of the bootstrap; 0 means 2000
	Seed         uint64             // of the bootstrap
	Weight       metrics.Weight     // of the classes in the generalised Dice; 0: 1/v²
	Bins         int                // of the calibration; 0 means 15

	// Progress is told after every pair, by one goroutine; nil tells nobody.
	Progress func(done, total int)
}

func (o Options) withDefaults() Options {
	if o.Tolerance == 0 {
		o.Tolerance = 1
	}
	if o.Connectivity == 0 {
		o.Connectivity = morph.Corners
	}
	if o.Resamples == 0 {
		o.Resamples = 2000
	}
	if o.Bins == 0 {
		o.Bins = 15
	}
	return o
}

// Check reports settings that cannot be used (Invalid).
func (o Options) Check() error {
	switch {
	case !(o.Tolerance >= 0) || math.IsInf(o.Tolerance, 0):
		return fault.New(fault.Invalid, "a tolerance of %g mm", o.Tolerance)
	case !(o.Overlap >= 0 && o.Overlap <= 1):
		return fault.New(fault.Invalid, "a lesion overlap of %g is not within 0..1", o.Overlap)
	case o.Bins < 0 || o.Bins > maxBins:
		return fault.New(fault.Invalid, "%d bins are not within 1..%d", o.Bins, maxBins)
	case o.Resamples < 0 || o.Resamples > maxResamples:
		return fault.New(fault.Invalid, "%d resamplings are not within 1..%d", o.Resamples, maxResamples)
	}
	return o.withDefaults().Connectivity.Check()
}

// Row holds the metrics of one class in one case.
type Row struct {
	Case   string
	Class  Class
	Values Values
}

// Result is an evaluated cohort.
type Result struct {
	Options Options
	Classes []Class // by label
	Rows    []Row   // by case, then class: every class has a row in every case
	Cases   []Case  // by name
	Skipped []Skip  // by name

	Calibrated   bool   // probabilities were given
	Uncalibrated []Skip // cases without probabilities that can be used; by name
}

// Case is one evaluated pair.
type Case struct {
	Name  string
	Dice  float64 // mean over the classes where it is defined; else NaN
	Wrong int     // voxels whose labels differ

	// GeneralisedDice is over all foreground classes; 1 when both maps are empty.
	GeneralisedDice float64
	Calibration     *metrics.Calibration // nil without probabilities
	pair            Pair
}

// Cohort evaluates the pairs one after the other, reading one while the one
// before is measured. A pair that cannot be used is skipped with its reason.
// Errors: Invalid options, the context's.
func Cohort(ctx context.Context, pairs []Pair, skipped []Skip, o Options) (*Result, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	res := &Result{Options: o, Skipped: slices.Clone(skipped)}
	var cases []*measurement
	err := eachPair(ctx, pairs, o.Progress, func(ctx context.Context, p Pair, m *labelMaps, err error) error {
		var one *measurement
		if err == nil {
			one, err = measure(ctx, p, m, o)
		}
		if err == nil && p.Probabilities != "" {
			res.Calibrated = true
			var bad error
			if one.calibration, bad = calibrate(ctx, p.Probabilities, m, o); bad != nil {
				res.Uncalibrated = append(res.Uncalibrated, Skip{p.Case, reason(bad)})
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			res.Skipped = append(res.Skipped, Skip{p.Case, reason(err)})
			return nil
		}
		cases = append(cases, one)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(res.Skipped, func(a, b Skip) int { return cmp.Compare(a.Case, b.Case) })
	res.assemble(cases)
	return res, nil
}

// labelMaps are the label maps of a pair on the truth's grid.
type labelMaps struct{ pred, truth *imaging.LabelMap }

// eachPair reads pair after pair in one goroutine and hands them to fn in
// another; two are in memory at a time.
func eachPair(ctx context.Context, pairs []Pair, progress func(done, total int), fn func(context.Context, Pair, *labelMaps, error) error) error {
	type loaded struct {
		maps *labelMaps
		err  error
	}
	g, ctx := errgroup.WithContext(ctx)
	next := make(chan loaded)
	g.Go(func() error {
		defer close(next)
		for _, p := range pairs {
			m, err := p.read(ctx)
			select {
			case next <- loaded{m, err}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	g.Go(func() error {
		done := 0
		for l := range next {
			if err := fn(ctx, pairs[done], l.maps, l.err); err != nil {
				return err
			}
			if done++; progress != nil {
				progress(done, len(pairs))
			}
		}
		return nil
	})
	return g.Wait()
}

// assemble makes the table: every class that is known or occurs, in every case.
func (r *Result) assemble(cases []*measurement) {
	names := make(map[uint16]string)
	for _, c := range r.Options.Classes {
		names[c.Label] = c.Name
	}
	for _, m := range cases {
		for l := range m.rows {
			if _, ok := names[l]; !ok {
				names[l] = ""
			}
		}
	}
	for l, name := range names {
		if l != 0 {
			r.Classes = append(r.Classes, Class{l, name})
		}
	}
	slices.SortFunc(r.Classes, func(a, b Class) int { return cmp.Compare(a.Label, b.Label) })
	for _, m := range cases {
		var dice []float64
		for _, c := range r.Classes {
			v, ok := m.rows[c.Label]
			if !ok {
				v = m.absent(r.Options)
			}
			r.Rows = append(r.Rows, Row{m.pair.Case, c, v})
			dice = append(dice, v[Dice])
		}
		mean, n, _ := meanOf(dice)
		if n == 0 {
			mean = math.NaN()
		}
		r.Cases = append(r.Cases, Case{
			Name: m.pair.Case, Dice: mean, Wrong: m.wrong, GeneralisedDice: m.generalised, Calibration: m.calibration, pair: m.pair,
		})
	}
}

// WorstFirst returns the cases by rising mean Dice, then by falling number of
// wrong voxels; those without a Dice come last.
func (r *Result) WorstFirst() []Case {
	out := slices.Clone(r.Cases)
	slices.SortStableFunc(out, func(a, b Case) int {
		if an, bn := math.IsNaN(a.Dice), math.IsNaN(b.Dice); an != bn {
			if an {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.Dice, b.Dice), cmp.Compare(b.Wrong, a.Wrong))
	})
	return out
}
