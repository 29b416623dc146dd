package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/trainers"
)

func newTrain(s streams) *cobra.Command {
	var f trainFlags
	c := &cobra.Command{
		Use:   "train --studies DIR --model NAME|DIR --out DIR",
		Short: "Train a model on the labelled images of a folder",
		Long: `Train a model on the labelled images of a folder: the images at its top whose labels
lie in labels/final. The model to begin from is one of the app's, by name, or any
folder with model.onnx and manifest.yaml. The trained model is a new folder of the same
kind, with training.json beside: voxloop infer --model takes it as it is. Nothing else
is changed, and nothing is published.

A training that was stopped or killed goes on when the same command is given again.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.changed = c.Flags().Changed
			return runTrain(c.Context(), s, f)
		},
	}
	f.register(c)
	c.Flags().BoolVar(&f.child, "child", false, "read one request from standard input and write events to standard output")
	if err := c.Flags().MarkHidden("child"); err != nil {
		panic(err) // the flag was registered one line above
	}
	return c
}

func runTrain(ctx context.Context, s streams, f trainFlags) error {
	if f.child {
		return runTrainChild(ctx, s, f)
	}
	if err := f.check("train"); err != nil {
		return err
	}
	if err := lowerPriority(f.nice); err != nil {
		return err
	}
	j, err := f.job(ctx, s)
	if err != nil {
		return err
	}
	defer j.close()
	if n := j.folds(); n > 1 && !f.changed("fold") {
		_, err := j.trainFolds(ctx, n)
		return err
	}
	res, err := j.train(ctx, j.config, f.out, f.workDir(f.out))
	if err != nil {
		return err
	}
	return j.show.done(res)
}

// trainJob is what all trainings of a command have in common.
type trainJob struct {
	f       trainFlags
	config  trainers.Config
	cases   []trainers.Case
	splits  *trainers.Splits // of --cases
	model   string
	show    *trainView
	trainer trainers.Trainer
	cleanup func() error
}

func (j *trainJob) close() {
	j.show.close()
	if err := j.cleanup(); err != nil {
		j.show.warn("a temporary folder could not be removed")
	}
}

// job reads what the flags name.
func (f trainFlags) job(ctx context.Context, s streams) (*trainJob, error) {
	config, err := f.configuration()
	if err != nil {
		return nil, &usageError{err}
	}
	log := quietLogger(s.err)
	j := &trainJob{f: f, config: config, show: newTrainView(s, f.json)}
	if j.splits, err = f.readSplits(); err != nil {
		return nil, err
	}
	if j.cases, err = f.labelled(ctx, log, j.show); err != nil {
		return nil, err
	}
	if j.model, j.cleanup, err = modelFolder(f.app, f.model); err != nil {
		return nil, err
	}
	j.trainer = nativeTrainer(f.ort, f.device, s, log)
	return j, nil
}

// nativeTrainer is the trainer of this program, for trainings on a device.
func nativeTrainer(path, device string, s streams, log *slog.Logger) trainers.Trainer {
	rt := lazyRuntime(path, device, s.err, log)
	b := build()
	return trainers.NewNative(trainers.NativeOptions{
		Runtime: rt,
		OpenData: func(ctx context.Context, r trainers.Request) (trainers.Data, error) {
			return apps.OpenTrainingData(ctx, os.DirFS(r.Model), apps.TrainingDataOptions{
				Runtime: rt, Device: r.Device, Threads: r.Threads, IgnoreValue: r.Config.IgnoreLabel,
			})
		},
		Version: b.Version, Commit: b.Commit, Logger: log,
	})
}

// train makes one model.
func (j *trainJob) train(ctx context.Context, c trainers.Config, out, work string) (trainers.Result, error) {
	cases, err := j.roles(c)
	if err != nil {
		return trainers.Result{}, err
	}
	for _, dir := range []*string{&out, &work} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return trainers.Result{}, err
		}
	}
	res, err := j.trainer.Train(ctx, trainers.Request{
		Protocol: trainers.ProtocolVersion, Model: j.model, Out: out, Work: work, Cases: cases, Config: c,
		Device: j.f.device, Threads: j.f.threads, Library: j.f.ort,
	}, j.show.event)
	j.show.close()
	if fault.KindOf(err) == fault.Canceled && ctx.Err() != nil {
		j.show.note("the same command goes on from here")
		return res, context.Canceled
	}
	return res, err
}

// modelFolder returns a folder on disk for what the user calls a model. One of
// a built-in app is copied into a temporary folder, which cleanup removes.
func modelFolder(app, model string) (dir string, cleanup func() error, err error) {
	none := func() error { return nil }
	fsys, dir, err := findModel(app, model)
	if err != nil || dir != "" {
		return dir, none, err
	}
	tmp, err := os.MkdirTemp("", "voxloop-model-")
	if err != nil {
		return "", none, err
	}
	remove := func() error { return os.RemoveAll(tmp) }
	if err := os.CopyFS(tmp, fsys); err != nil {
		return "", none, errors.Join(err, remove())
	}
	return tmp, remove, nil
}
