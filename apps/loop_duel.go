package apps

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"slices"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	overlap "github.com/voxloop/voxloop/internal/imaging/metrics"
	"github.com/voxloop/voxloop/trainers"
	proof "github.com/voxloop/voxloop/trainers/gate"
)

// duel runs a candidate and the model in service over the same cases, in turns:
// whatever else the machine does meets both.
type duel struct {
	loop               *loop
	candidate, current fighter
	classes            []infer.CaseClass // of either: one that the candidate has lost counts against it
}

// fighter is one side.
type fighter struct {
	pipeline *infer.Pipeline
	network  *infer.Evaluator // nil: not to be run
	why      string           // it is not run
	cases    []proof.Case
}

// openDuel opens both models. One in service that cannot be opened, or none, has
// failed on every case; a candidate that would take far more memory, or that
// does not pass test, is not run at all. Without cases nothing is opened.
func (l *loop) openDuel(ctx context.Context, candidate, current fs.FS, test func() error, cases []trainers.Case) (_ *duel, err error) {
	d := &duel{loop: l, current: fighter{why: "there is no model in service that runs"}}
	if len(cases) == 0 {
		return d, nil
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if current != nil {
		if err := d.open(ctx, &d.current, current); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			l.log.Warn("the model in service cannot be judged; it counts as failed", "err", err)
		}
	}
	o := infer.PipelineOptions{MaxVoxels: l.app.opts.Limits.MaxVoxels}
	if d.candidate.pipeline, err = infer.OpenPipeline(candidate, o); err != nil {
		return nil, err
	}
	if d.classes = d.candidate.pipeline.Classes(); d.current.pipeline != nil {
		d.classes = union(d.classes, d.current.pipeline.Classes())
	}
	if proof.TooMuch(d.bytes(), l.rules.o.Gate) {
		d.candidate.why = "it takes too much memory"
		return d, nil
	}
	if err := test(); err != nil {
		var ok bool
		if d.candidate.why, ok = fault.Message(err); !ok {
			d.candidate.why = "it could not be loaded"
		}
		if k := fault.KindOf(err); ctx.Err() != nil || k == fault.Canceled || k == fault.Busy || k == fault.NoSpace {
			return nil, err
		}
		return d, nil
	}
	return d, d.start(ctx, &d.candidate)
}

func (d *duel) open(ctx context.Context, f *fighter, fsys fs.FS) error {
	p, err := infer.OpenPipeline(fsys, infer.PipelineOptions{MaxVoxels: d.loop.app.opts.Limits.MaxVoxels})
	if err != nil {
		return err
	}
	f.pipeline = p
	return d.start(ctx, f)
}

func (d *duel) start(ctx context.Context, f *fighter) error {
	rt, err := d.loop.runtime(ctx)
	if err != nil {
		return err
	}
	f.network, err = f.pipeline.Evaluator(ctx, rt, f.pipeline.Network(), d.loop.app.opts.Threads)
	return err
}

func (d *duel) close() error {
	var errs []error
	for _, f := range []*fighter{&d.candidate, &d.current} {
		if f.network != nil {
			errs = append(errs, f.network.Close())
		}
	}
	return errors.Join(errs...)
}

// bytes are what an inference takes with each of both.
func (d *duel) bytes() (b [2]int64) {
	for i, f := range []*fighter{&d.candidate, &d.current} {
		if f.pipeline != nil {
			b[i] = f.pipeline.Memory()
		}
	}
	return b
}

// run segments all cases with both. A case that cannot be read is left out of
// both; one on which a model fails is told. That the caller is gone is an error.
func (d *duel) run(ctx context.Context, cases []trainers.Case) error {
	files := &trainingData{o: TrainingDataOptions{MaxVoxels: d.loop.app.opts.Limits.MaxVoxels}}
	for _, c := range cases {
		in, truth, err := files.read(ctx, c)
		if err == nil {
			b := d.segment(ctx, &d.current, c, in, truth, 0)
			patience := 0.0
			if b.Seconds > 0 && b.Error == "" {
				patience = proof.Patience(b.Seconds, d.loop.rules.o.Gate)
			}
			a := d.segment(ctx, &d.candidate, c, in, truth, time.Duration(patience*float64(time.Second)))
			d.candidate.cases, d.current.cases = append(d.candidate.cases, a), append(d.current.cases, b)
		}
		if ctx.Err() != nil {
			return fault.Wrap(fault.Canceled, ctx.Err(), "judging was stopped")
		}
		if err != nil {
			d.loop.log.Warn("a held-out case cannot be read; it judges nobody", "image", c.ID, "err", err)
		}
	}
	return nil
}

// segment runs one side on a case, for at most patience; 0: as long as it
// takes.
func (d *duel) segment(ctx context.Context, f *fighter, c trainers.Case, in infer.Input, truth *imaging.LabelMap, patience time.Duration) proof.Case {
	r := proof.Case{ID: c.ID, LabelVersion: c.LabelVersion, LabelSum: c.LabelSum, Error: f.why}
	if f.network == nil {
		return r
	}
	r.Error = ""
	limited, cancel := ctx, context.CancelFunc(func() {})
	if patience > 0 {
		limited, cancel = context.WithTimeout(ctx, patience)
	}
	defer cancel()
	begin := time.Now()
	found, ece, err := f.network.RunAgainst(limited, in, truth, infer.Options{})
	r.ECE = ece
	r.Seconds = time.Since(begin).Seconds()
	if err == nil {
		r.Classes, err = d.measure(ctx, found, truth)
	} else if limited.Err() != nil && ctx.Err() == nil {
		err = fault.New(fault.Unavailable, "broken off after %s", patience.Round(time.Second))
	}
	if err != nil {
		r.Error = "the case could not be segmented"
		if msg, ok := fault.Message(err); ok {
			r.Error = msg
		}
	}
	return r
}

// measure compares a label map with the truth.
func (d *duel) measure(ctx context.Context, found, truth *imaging.LabelMap) (map[string]proof.Measure, error) {
	aligned, ok := codec.Align(truth, found.Grid)
	if !ok {
		return nil, fault.New(fault.Invalid, "the label map does not lie on the image's grid")
	}
	return measures(ctx, found, aligned, d.classes)
}

// union returns the classes of both lists, by their value in label files.
func union(a, b []infer.CaseClass) []infer.CaseClass {
	a = slices.Clone(a)
	for _, c := range b {
		if !slices.ContainsFunc(a, func(k infer.CaseClass) bool { return k.Value == c.Value }) {
			a = append(a, c)
		}
	}
	return a
}

// measures returns Dice and HD95 per class name; classes that neither map has
// are left out.
func measures(ctx context.Context, found, truth *imaging.LabelMap, classes []infer.CaseClass) (map[string]proof.Measure, error) {
	cmp, err := overlap.Compare(ctx, found, truth)
	if err != nil {
		return nil, err
	}
	out := map[string]proof.Measure{}
	for _, k := range classes {
		value := uint16(k.Value) //nolint:gosec // the manifest bounds it
		dice := cmp.Counts(value).Dice(overlap.NNUNet)
		if math.IsNaN(dice) {
			continue
		}
		m := proof.Measure{Dice: dice}
		s, err := cmp.Surfaces(ctx, value, overlap.SurfaceOptions{})
		if err != nil {
			return nil, err
		}
		if len(s.Predicted) > 0 && len(s.True) > 0 {
			h, err := s.Percentile(ctx, 95)
			if err != nil {
				return nil, err
			}
			m.HD95 = &h
		}
		out[k.Name] = m
	}
	return out, nil
}
