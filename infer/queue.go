package infer

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/voxloop/voxloop/internal/fault"
)

// queue lets one inference at a time onto a device, in the order of arrival.
// Each of them uses all cores, so a second one beside it would gain nothing
// and need its memory too.
type queue struct {
	turn    *semaphore.Weighted
	limit   int64
	waiting atomic.Int64 // those in turn included
}

func newQueue(limit int) *queue {
	return &queue{turn: semaphore.NewWeighted(1), limit: int64(limit)}
}

// enter waits for its turn. It returns how long that took and what to call
// afterwards. Errors: fault.Busy when too many wait, ctx's when it ends.
func (q *queue) enter(ctx context.Context) (leave func(), waited time.Duration, err error) {
	if q.waiting.Add(1) > q.limit+1 {
		q.waiting.Add(-1)
		return nil, 0, fault.New(fault.Busy, "%d inferences are waiting already; try again later", q.limit)
	}
	start := time.Now()
	if err := q.turn.Acquire(ctx, 1); err != nil {
		q.waiting.Add(-1)
		return nil, 0, err
	}
	return func() {
		q.turn.Release(1)
		q.waiting.Add(-1)
	}, time.Since(start), nil
}
