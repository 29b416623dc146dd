package apps

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/internal/ordered"
)

// Folders below the state folder.
const (
	trainingDir   = "training"   // <task id>/: the task's record, its request, its checkpoints; stats/: one file per trainer
	candidatesDir = "candidates" // <model>/<task id>/: trained model folders
)

// training is an app's side of learning: its trainers, the trainings that run or
// ran, and what became of them. It is safe for many goroutines.
type training struct {
	app   *App
	o     TrainingOptions
	log   *slog.Logger
	state string      // absolute path of the state folder
	tasks jobs.Folder // records of tasks
	stats *trainingStats
	count *trainMetrics

	ctx    context.Context //nolint:containedctx // ends the look at the networks; close cancels it
	cancel context.CancelFunc
	wg     sync.WaitGroup
	known  chan struct{} // closed when all trainers are known

	external []trainer
	mu       sync.Mutex
	native   []trainer // guarded by mu
}

// openTraining reads what earlier servers left. Trainers are known later.
func openTraining(a *App) (*training, error) {
	o, err := a.opts.Training.withDefaults()
	if err != nil {
		return nil, err
	}
	state, err := filepath.Abs(a.opts.State)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the state folder cannot be found")
	}
	t := &training{
		app: a, o: o, log: a.log, state: state, tasks: jobs.Folder(filepath.Join(state, trainingDir)),
		count: newTrainMetrics(), known: make(chan struct{}),
	}
	for _, c := range t.count.collectors() {
		if a.opts.Metrics == nil {
			break
		}
		if err := a.opts.Metrics.Register(c); err != nil {
			return nil, fault.Wrap(fault.Internal, err, "the metrics cannot be registered")
		}
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	if !o.Enabled {
		close(t.known)
		t.stats = newTrainingStats("", a.log)
		return t, nil
	}
	t.stats = newTrainingStats(filepath.Join(state, trainingDir, "stats"), a.log)
	t.findTrainers()
	return t, nil
}

// queue opens the queue of trainings. What an earlier server did not finish
// goes on at once.
func (t *training) queue(opts jobs.Options) (*jobs.Queue, error) {
	if !t.o.Enabled {
		return jobs.NewQueue("Train", absent("trainer", "model"), opts), nil
	}
	earlier, err := t.tasks.Load(t.log)
	if err != nil {
		return nil, err
	}
	opts.Journal, opts.Earlier, opts.Drop = t.tasks, earlier, !t.o.Resume
	return jobs.NewQueue("Train", t.run, opts), nil
}

func (t *training) close() {
	t.cancel()
	t.wg.Wait()
}

// CheckTraining reports whether a request for a training makes sense, before it
// becomes a task: fault.Missing for options that cannot be used, fault.Conflict
// when there is nothing to train on. An unknown trainer is no error here: its
// task ends as one, as the protocol has it.
func (a *App) CheckTraining(ctx context.Context, request *ordered.Map) error {
	t, err := a.training.find(ctx, request.String("model"))
	switch {
	case err != nil && fault.KindOf(err) == fault.NotFound:
		return nil
	case err != nil:
		return err
	}
	if _, err := parseTraining(request); err != nil {
		return err
	}
	if len(a.TrainingPairs()) == 0 {
		return fault.New(fault.Conflict, "no image has a final label yet: there is nothing to train %s on; save labels first", t.name)
	}
	return nil
}

// Trainers returns the names of the trainers. It waits until all are known.
func (a *App) Trainers(ctx context.Context) ([]string, error) {
	select {
	case <-a.training.known:
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Canceled, ctx.Err(), "the caller went away")
	}
	var names []string
	for _, t := range a.training.trainers() {
		names = append(names, t.name)
	}
	return names, nil
}

// run is the jobs.Runner of trainings.
func (t *training) run(ctx context.Context, j *jobs.Job) (any, error) {
	tr, err := t.find(ctx, j.Request.String("model"))
	if err != nil {
		return nil, err
	}
	w, err := parseTraining(j.Request)
	if err != nil {
		return nil, err
	}
	l := &lesson{training: t, job: j, trainer: tr, wanted: w, dir: t.tasks.Dir(j.ID), log: t.log.With("task", j.ID, "trainer", tr.name)}
	t.count.now.Add(1)
	begin := time.Now()
	result, err := l.train(ctx)
	t.count.now.Add(-1)
	t.count.ended(tr.name, time.Since(begin).Seconds(), err)
	if !errors.Is(context.Cause(ctx), jobs.ErrClosing) || err == nil {
		l.clear()
	}
	return result, err
}

// clear drops what only an unfinished training needs.
func (l *lesson) clear() {
	for _, name := range []string{workDir, modelDir, labelsDir} {
		if err := os.RemoveAll(filepath.Join(l.dir, name)); err != nil {
			l.log.Warn("files of a training are left", "folder", name, "err", err)
		}
	}
}
