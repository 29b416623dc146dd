package apps

import (
	"context"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/jobs"
)

// Tasks are the queues of long work, one per kind.
type Tasks struct {
	Train, Scoring, Batch *jobs.Queue
}

// newTasks makes the queues. This app has no scoring methods or batch runners: a
// task of theirs is accepted, as the protocol wants, and ends as an error that
// says so.
func newTasks(t *training, opts jobs.Options) (Tasks, error) {
	train, err := t.queue(opts)
	if err != nil {
		return Tasks{}, err
	}
	return Tasks{
		Train:   train,
		Scoring: jobs.NewQueue("Scoring", absent("scoring method", "method"), opts),
		Batch:   jobs.NewQueue("Batch_infer", absent("batch inference for model", "model"), opts),
	}, nil
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
