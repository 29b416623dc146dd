package apps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/trainers"
)

// What lies in a task's folder beside its record.
const (
	requestFile = "request.json" // trainers.Request: everything that decides the training
	modelDir    = "model"        // the model to start from, as it was when the training began
	labelsDir   = "labels"       // the labels as they were then
	workDir     = "work"         // checkpoints
)

// lesson is one training on its way.
type lesson struct {
	training *training
	job      *jobs.Job
	trainer  trainer
	wanted   wanted
	dir      string // the task's folder
	log      *slog.Logger
}

// train runs the training and returns its statistics.
func (l *lesson) train(ctx context.Context) (any, error) {
	t := l.training
	r, err := l.request(ctx)
	if err != nil {
		return nil, err
	}
	// What a killed server left there is not complete.
	if err := os.RemoveAll(r.Out); err != nil {
		return nil, diskFault(err, "preparing the training")
	}
	if err := os.MkdirAll(filepath.Dir(r.Out), 0o750); err != nil {
		return nil, diskFault(err, "preparing the training")
	}
	t.stats.begin(l.trainer.name)
	say := &teller{lesson: l, request: r}
	res, err := l.trainer.trainer.Train(ctx, r, say.event)
	t.stats.end(l.trainer.name, err == nil)
	if err != nil {
		return nil, err
	}
	if err := l.offer(ctx, r, res); err != nil {
		return nil, err
	}
	return t.stats.object(l.trainer.name), nil
}

// request returns the request of an interrupted training, or makes and keeps a
// new one.
func (l *lesson) request(ctx context.Context) (trainers.Request, error) {
	data, err := os.ReadFile(filepath.Join(l.dir, requestFile))
	var r trainers.Request
	if err == nil && json.Unmarshal(data, &r) == nil && r.Protocol == trainers.ProtocolVersion {
		l.job.Log("going on from the last checkpoint")
		r.Threads, r.Library = l.training.o.Threads, l.training.o.Library
		return r, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, diskFault(err, "reading the interrupted training")
	}
	l.clear()
	if r, err = l.newRequest(ctx); err != nil {
		return r, err
	}
	data, err = json.MarshalIndent(r, "", "  ")
	if err != nil {
		return r, fault.Wrap(fault.Internal, err, "the request of the training cannot be written")
	}
	err = atomicfile.Write(filepath.Join(l.dir, requestFile), 0o640, func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
	return r, diskFault(err, "preparing the training")
}

// newRequest takes the cases, their labels and the model as they are now. The
// training sees these and no later ones, however often it is interrupted.
func (l *lesson) newRequest(ctx context.Context) (trainers.Request, error) {
	t := l.training
	device, note := l.trainer.chooseDevice(l.wanted.device)
	if note != "" {
		l.job.Log(note)
	}
	if len(l.wanted.ignored) > 0 {
		l.log.Info("options without a meaning here were left alone", "options", strings.Join(l.wanted.ignored, ", "))
	}
	cases, err := l.cases(ctx)
	if err != nil {
		return trainers.Request{}, err
	}
	fsys, err := t.app.modelFS(l.trainer.model)
	if err != nil {
		return trainers.Request{}, err
	}
	model := filepath.Join(l.dir, modelDir)
	if err := copyModel(fsys, model); err != nil {
		return trainers.Request{}, err
	}
	return trainers.Request{
		Protocol: trainers.ProtocolVersion, Model: model, Cases: cases, Config: l.wanted.config,
		Out:    filepath.Join(t.state, candidatesDir, l.trainer.model, l.job.ID),
		Work:   filepath.Join(l.dir, workDir),
		Device: device, Threads: t.o.Threads, Library: t.o.Library,
	}, nil
}

// cases returns the labelled images with their roles. Label files are kept as
// they are now: a save replaces a label's file, it does not write into it, so
// that a link is enough.
func (l *lesson) cases(ctx context.Context) ([]trainers.Case, error) {
	found, err := l.training.app.TrainingCases(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range found.Warnings {
		l.job.Log(w)
	}
	cases, held, err := l.training.app.loop.trainable(found.Cases)
	if err != nil {
		return nil, err
	}
	if held > 0 {
		l.job.Log(fmt.Sprintf("%d labelled cases are held out for judging models", held))
	}
	if len(cases) == 0 {
		return nil, fault.New(fault.Conflict, "no image has a final label that fits and is not held out: there is nothing to train on")
	}
	dir := filepath.Join(l.dir, labelsDir)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, diskFault(err, "preparing the training")
	}
	for i := range cases {
		c := &cases[i]
		to := filepath.Join(dir, filepath.Base(c.Label))
		if err := linkOrCopy(c.Label, to); err != nil {
			return nil, diskFault(err, "preparing the label of "+c.ID)
		}
		c.Label = to
	}
	return trainers.Split(cases, l.wanted.config)
}

func linkOrCopy(from, to string) error {
	if err := os.Link(from, to); err == nil {
		return nil
	}
	src, err := os.Open(from) //nolint:gosec // a file of the data store
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	return atomicfile.Write(to, 0o640, func(w io.Writer) error {
		_, err := io.Copy(w, src)
		return err
	})
}

// copyModel copies a model folder to dir, without what was written about it: a
// trained model is another one.
func copyModel(fsys fs.FS, dir string) error {
	err := os.CopyFS(dir, fsys)
	for _, name := range []string{infer.TrainingFile, "version.json"} {
		if rerr := os.Remove(filepath.Join(dir, name)); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	if err != nil {
		return diskFault(errors.Join(err, os.RemoveAll(dir)), "copying the model")
	}
	return nil
}
