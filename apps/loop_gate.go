package apps

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	overlap "github.com/voxloop/voxloop/internal/imaging/metrics"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/trainers"
	proof "github.com/voxloop/voxloop/trainers/gate"
)

// Judgement is the verdict on a candidate, with what it rests on.
type Judgement struct {
	Model     string        `json:"model"`
	Version   string        `json:"version"`
	Against   string        `json:"against"` // the version in service then
	Time      time.Time     `json:"time"`
	Verdict   proof.Verdict `json:"verdict"`
	Corrected []string      `json:"corrected,omitempty"` // held-out cases whose label has changed since the judgement before
	Candidate []proof.Case  `json:"candidate"`
	Current   []proof.Case  `json:"current"`
}

// Judge compares a version of a model with the one in service on the held-out
// cases that are labelled. The judgement is kept.
func (a *App) Judge(ctx context.Context, model, version string) (Judgement, error) {
	l := a.loop
	l.judge.Lock()
	defer l.judge.Unlock()
	e, err := a.versions()
	if err != nil {
		return Judgement{}, err
	}
	all, err := e.Versions(model)
	if err != nil {
		return Judgement{}, err
	}
	j := Judgement{Model: model, Version: version, Time: time.Now().UTC()}
	if i := slices.IndexFunc(all, func(v infer.Version) bool { return v.InService }); i >= 0 {
		j.Against = all[i].ID
	}
	cases, err := l.holdOutCases(ctx)
	if err != nil {
		return j, err
	}
	j.Corrected = l.held.corrected(cases)
	candidate := os.DirFS(filepath.Join(a.opts.State, "models", model, version))
	current, _, _ := e.Folder(model)
	if j.Candidate, j.Current, err = l.both(ctx, candidate, current, j.Against != "", cases); err != nil {
		return j, err
	}
	j.Verdict = proof.Judge(j.Candidate, j.Current, l.rules.o.Gate)
	l.log.Info("candidate judged", "model", model, "version", version, "against", j.Against, "pass", j.Verdict.Pass, "reason", j.Verdict.Reason)
	return j, writeJSON(l.verdictFile(model, version), j)
}

func (l *loop) verdictFile(model, version string) string {
	return filepath.Join(l.dir, verdictsDir, model, version+".json")
}

// holdOutCases returns the held-out cases that are labelled.
func (l *loop) holdOutCases(ctx context.Context) ([]trainers.Case, error) {
	if err := l.held.decide(l.app.store); err != nil {
		return nil, err
	}
	found, err := l.app.TrainingCases(ctx)
	if err != nil {
		return nil, err
	}
	_, held := l.held.split(l.withSubjects(found.Cases))
	return held, nil
}

// both segments the cases with both models and compares with the classes of
// either: one that the candidate has lost counts against it. A model in service
// that cannot be run, or none, has failed on every case.
func (l *loop) both(ctx context.Context, candidate, current fs.FS, served bool, cases []trainers.Case) (a, b []proof.Case, err error) {
	if len(cases) == 0 {
		return nil, nil, nil // nothing to open the networks for
	}
	o := infer.PipelineOptions{MaxVoxels: l.app.opts.Limits.MaxVoxels}
	p, err := infer.OpenPipeline(candidate, o)
	if err != nil {
		return nil, nil, err
	}
	classes := p.Classes()
	var q *infer.Pipeline
	if served && current != nil {
		if q, err = infer.OpenPipeline(current, o); err != nil {
			l.log.Warn("the model in service cannot be judged; it counts as failed", "err", err)
		} else {
			classes = union(classes, q.Classes())
		}
	}
	if a, err = l.segment(ctx, p, classes, cases); err != nil {
		return nil, nil, err
	}
	if q != nil {
		if b, err = l.segment(ctx, q, classes, cases); err == nil {
			return a, b, nil
		}
		if ctx.Err() != nil {
			return nil, nil, err
		}
		l.log.Warn("the model in service cannot be run; it counts as failed", "err", err)
	}
	return a, failed(cases), nil
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

func failed(cases []trainers.Case) []proof.Case {
	out := make([]proof.Case, len(cases))
	for i, c := range cases {
		out[i] = proof.Case{ID: c.ID, LabelVersion: c.LabelVersion, LabelSum: c.LabelSum, Error: "there is no model in service that runs"}
	}
	return out
}

// segment runs a model's network over cases. A case that fails is told, not
// left out; that the caller is gone, or the network cannot be opened, is an
// error.
func (l *loop) segment(ctx context.Context, p *infer.Pipeline, classes []infer.CaseClass, cases []trainers.Case) (out []proof.Case, err error) {
	rt, err := l.runtime(ctx)
	if err != nil {
		return nil, err
	}
	e, err := p.Evaluator(ctx, rt, p.Network(), l.app.opts.Threads)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	d := &trainingData{o: TrainingDataOptions{MaxVoxels: l.app.opts.Limits.MaxVoxels}, p: p}
	for _, c := range cases {
		r := proof.Case{ID: c.ID, LabelVersion: c.LabelVersion, LabelSum: c.LabelSum}
		if r.Classes, err = l.measure(ctx, d, e, classes, c); err != nil {
			if ctx.Err() != nil {
				return nil, fault.Wrap(fault.Canceled, err, "judging was stopped")
			}
			r.Error = "the case could not be segmented"
			if msg, ok := fault.Message(err); ok {
				r.Error = msg
			}
		}
		out = append(out, r)
	}
	return out, nil
}

func (l *loop) runtime(ctx context.Context) (*ort.Runtime, error) {
	if l.app.opts.Runtime == nil {
		return nil, fault.New(fault.Unavailable, "no ONNX Runtime was given to judge networks with")
	}
	return l.app.opts.Runtime(ctx)
}

// measure compares the network's label map of one case with the truth.
func (l *loop) measure(ctx context.Context, d *trainingData, e *infer.Evaluator, classes []infer.CaseClass, c trainers.Case) (map[string]proof.Measure, error) {
	in, truth, err := d.read(ctx, c)
	if err != nil {
		return nil, err
	}
	found, err := e.Run(ctx, in, infer.Options{})
	if err != nil {
		return nil, err
	}
	aligned, ok := codec.Align(truth, found.Grid)
	if !ok {
		return nil, fault.New(fault.Invalid, "the label map does not lie on the image's grid")
	}
	return measures(ctx, found, aligned, classes)
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
