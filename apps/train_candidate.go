package apps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/trainers"
)

// Candidate is a trained model that is not in service.
type Candidate struct {
	Model   string // the model of the app that it is a candidate for
	Trainer string
	Task    string // id of the training's task
	Name    string // of the run, as its caller named it
	Dir     string // the model folder, with training.json
	Request trainers.Request
	Result  trainers.Result
}

// publish decides what becomes of a candidate, and says it in one line. A model
// never comes into service silently: unless the app's options say otherwise it
// stays a candidate.
func (a *App) publish(ctx context.Context, c Candidate) (string, error) {
	if a.training.o.Publish != nil {
		return a.training.o.Publish(ctx, c)
	}
	v, published, err := a.OfferModel(ctx, c.Model, os.DirFS(c.Dir), infer.Cause{Origin: infer.OriginTraining, Reason: "training " + c.Task})
	switch {
	case err != nil:
		return "", err
	case published:
		return fmt.Sprintf("version %s is in service", v.ID), nil
	}
	fate := fmt.Sprintf("version %s is a candidate, not in service", v.ID)
	if j, ok := a.LastJudgement(c.Model); ok && j.Version == v.ID {
		fate += ": " + j.Verdict.Reason
	}
	return fate, nil
}

// offer makes a finished training a candidate.
func (l *lesson) offer(ctx context.Context, r trainers.Request, res trainers.Result) error {
	if err := l.explain(r, res); err != nil {
		return err
	}
	what := fmt.Sprintf("finished: %d steps", res.Steps)
	if res.Dice != nil || res.Mean > 0 {
		what += ", " + diceText(res.Mean, res.Dice)
	}
	l.job.Log(stamped(fmt.Sprintf("%s; model %s/%s", what, l.trainer.model, l.job.ID)))
	c := Candidate{Model: l.trainer.model, Trainer: l.trainer.name, Task: l.job.ID, Name: l.wanted.name, Dir: r.Out, Request: r, Result: res}
	fate, err := l.training.app.publish(ctx, c)
	if err != nil {
		// The training itself is done and its model is kept.
		msg, ok := fault.Message(err)
		if !ok {
			msg = "the server's log says why"
		}
		l.log.Error("candidate was not published", "err", err)
		fate = "it is a candidate, not in service: " + msg
	}
	l.log.Info("training finished", "model", l.trainer.model, "steps", res.Steps, "mean_dice", res.Mean, "fate", fate)
	l.job.Log(stamped(fate))
	l.prune(filepath.Dir(r.Out))
	return nil
}

// explain writes training.json beside a model whose trainer did not.
func (l *lesson) explain(r trainers.Request, res trainers.Result) error {
	name := filepath.Join(r.Out, infer.TrainingFile)
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return diskFault(err, "keeping the model")
	}
	info, _ := l.training.app.engine.Model(l.trainer.model)
	data, err := json.MarshalIndent(struct {
		Format  int             `json:"format"`
		Trainer string          `json:"trainer"`
		Run     string          `json:"run"`
		Parent  string          `json:"parent,omitempty"`
		Cases   []trainers.Case `json:"cases"`
		Config  trainers.Config `json:"config"`
		Result  trainers.Result `json:"result"`
		Device  string          `json:"device"`
		Written time.Time       `json:"written"`
	}{1, l.trainer.name, l.wanted.name, info.Version, withoutFolders(r.Cases), r.Config, res, r.Device, time.Now().UTC()}, "", "  ")
	if err != nil {
		return fault.Wrap(fault.Internal, err, "the record of the training cannot be written")
	}
	err = atomicfile.Write(name, 0o640, func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
	return diskFault(err, "keeping the model")
}

// withoutFolders leaves out where the files lay: a model folder travels.
func withoutFolders(cases []trainers.Case) []trainers.Case {
	out := slices.Clone(cases)
	for i := range out {
		out[i].Label = filepath.Base(out[i].Label)
		out[i].Images = slices.Clone(out[i].Images)
		for k := range out[i].Images {
			out[i].Images[k] = filepath.Base(out[i].Images[k])
		}
	}
	return out
}

// prune removes the oldest candidates of a model beyond those to be kept.
func (l *lesson) prune(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		l.log.Warn("old candidates are left", "err", err)
		return
	}
	age := map[string]time.Time{}
	var names []string
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(dir, e.Name(), infer.TrainingFile))
		if err != nil {
			continue // not one of ours, or one that is being made
		}
		age[e.Name()] = info.ModTime()
		names = append(names, e.Name())
	}
	slices.SortFunc(names, func(a, b string) int { return age[b].Compare(age[a]) })
	for _, name := range names[min(l.training.o.Keep, len(names)):] {
		l.log.Info("old candidate is removed", "candidate", name)
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			l.log.Warn("old candidate is left", "candidate", name, "err", err)
		}
	}
}
