package apps

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
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

	Shadow *ShadowSummary `json:"shadow,omitempty"` // what it has done on live cases since
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
	cases, done, err := l.fixed(cases)
	if err != nil {
		return j, err
	}
	defer done()
	candidate := os.DirFS(filepath.Join(a.opts.State, "models", model, version))
	current, _, _ := e.Folder(model)
	if j.Against == "" {
		current = nil
	}
	d, err := l.openDuel(ctx, candidate, current, func() error { return e.Test(ctx, model, version) }, cases)
	if err != nil {
		return j, err
	}
	err = errors.Join(d.run(ctx, cases), d.close())
	if err != nil {
		return j, err
	}
	j.Candidate, j.Current = d.candidate.cases, d.current.cases
	j.Verdict = proof.Judge(j.Candidate, j.Current, d.bytes(), l.rules.o.Gate)
	l.log.Info("candidate judged", "model", model, "version", version, "against", j.Against, "pass", j.Verdict.Pass, "reason", j.Verdict.Reason)
	if err := writeJSON(l.verdictFile(model, version), j); err != nil {
		return j, err
	}
	a.events.judged(j)
	return j, nil
}

// fixed keeps the labels of cases as they are now, so that both models are
// compared with the same ones whatever is saved or deleted meanwhile. done lets
// go of them.
func (l *loop) fixed(cases []trainers.Case) (kept []trainers.Case, done func(), err error) {
	dir, err := os.MkdirTemp(l.app.tmp, "judge-")
	if err != nil {
		return nil, nil, diskFault(err, "judging a candidate")
	}
	for _, c := range cases {
		to := filepath.Join(dir, filepath.Base(c.Label))
		if err := linkOrCopy(c.Label, to); errors.Is(err, fs.ErrNotExist) {
			continue // it was deleted a moment ago
		} else if err != nil {
			return nil, nil, errors.Join(diskFault(err, "keeping the label of "+c.ID), os.RemoveAll(dir))
		}
		c.Label = to
		kept = append(kept, c)
	}
	return kept, func() {
		if err := os.RemoveAll(dir); err != nil {
			l.log.Warn("links to labels are left", "err", err)
		}
	}, nil
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

func (l *loop) runtime(ctx context.Context) (*ort.Runtime, error) {
	if l.app.opts.Runtime == nil {
		return nil, fault.New(fault.Unavailable, "no ONNX Runtime was given to judge networks with")
	}
	return l.app.opts.Runtime(ctx)
}
