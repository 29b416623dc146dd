package jobs

import (
	"context"
	"slices"
	"time"
)

// All returns the known tasks, oldest first.
func (q *Queue) All() []Task {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]Task, 0, len(q.tasks))
	for _, r := range q.tasks {
		t := r.task
		t.Details = slices.Clone(t.Details)
		out = append(out, t)
	}
	return out
}

// Latest returns the task that was submitted last.
func (q *Queue) Latest() (Task, bool) {
	all := q.All()
	if len(all) == 0 {
		return Task{}, false
	}
	return all[len(all)-1], true
}

// Running returns the task that runs now.
func (q *Queue) Running() (Task, bool) {
	for _, t := range q.All() {
		if t.Status == Running {
			return t, true
		}
	}
	return Task{}, false
}

// Waiting returns how many tasks are submitted and not yet running.
func (q *Queue) Waiting() int {
	n := 0
	for _, t := range q.All() {
		if t.Status == Submitted {
			n++
		}
	}
	return n
}

// Stop ends the running task and returns it once it has ended; waiting tasks
// go on. ok is false when nothing runs. When ctx ends first the task is still
// stopping and returned as it is. A task that was told to stop is not taken up
// again, even when the process is killed before it has ended.
func (q *Queue) Stop(ctx context.Context) (t Task, ok bool) {
	q.mu.Lock()
	i := slices.IndexFunc(q.tasks, func(r *record) bool { return r.task.Status == Running })
	if i < 0 {
		q.mu.Unlock()
		return Task{}, false
	}
	r := q.tasks[i]
	if !r.stop {
		r.stop = true
		kept := r.task
		kept.Status, kept.End = Stopped, time.Now()
		kept.Details = appendDetail(slices.Clone(kept.Details), "stopped")
		q.keep(kept)
		r.cancel(ErrStopped)
	}
	q.mu.Unlock()
	select {
	case <-r.done:
	case <-ctx.Done():
	}
	return q.snapshot(r), true
}
