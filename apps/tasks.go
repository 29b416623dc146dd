package apps

import (
	"context"
	"path/filepath"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/jobs"
)

// Folders of tasks below the state folder: <id>/task.json.
const (
	scoringDir = "scoring"
	batchDir   = "batch"
)

// Tasks are the queues of long work, one per kind.
type Tasks struct {
	Train, Scoring, Batch *jobs.Queue
}

// openTasks opens the queues. What an earlier server did not finish goes on at
// once.
func (a *App) openTasks() (t Tasks, err error) {
	opts := jobs.Options{Logger: a.log, Changed: a.events.task}
	scoring, err := a.keptQueue("Scoring", scoringDir, a.score, opts)
	if err != nil {
		return t, err
	}
	batch, err := a.keptQueue("Batch_infer", batchDir, a.batch, opts)
	if err != nil {
		scoring.Close()
		return t, err
	}
	train, err := a.training.queue(opts)
	if err != nil {
		scoring.Close()
		batch.Close()
		return t, err
	}
	return Tasks{Train: train, Scoring: scoring, Batch: batch}, nil
}

// keptQueue opens a queue whose tasks outlive the process.
func (a *App) keptQueue(kind, dir string, run jobs.Runner, opts jobs.Options) (*jobs.Queue, error) {
	folder := jobs.Folder(filepath.Join(a.opts.State, dir))
	earlier, err := folder.Load(a.log)
	if err != nil {
		return nil, err
	}
	opts.Journal, opts.Earlier = folder, earlier
	return jobs.NewQueue(kind, run, opts), nil
}

// absent is the runner of a kind of work that the app does not have. key is
// the key of the request that names what was asked for.
func absent(what, key string) jobs.Runner {
	return func(_ context.Context, j *jobs.Job) (any, error) {
		return nil, fault.New(fault.NotFound, "this app has no %s %q", what, clip(j.Request.String(key)))
	}
}

func (t Tasks) all() []*jobs.Queue { return []*jobs.Queue{t.Train, t.Scoring, t.Batch} }

func (t Tasks) close() {
	for _, q := range t.all() {
		q.Close()
	}
}
