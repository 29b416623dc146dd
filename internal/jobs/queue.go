package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// Options tune a Queue. The zero value is ready for use.
type Options struct {
	History int          // finished tasks that are remembered; 0 means 100
	Waiting int          // tasks that may wait; 0 means 100
	Logger  *slog.Logger // nil means slog.Default()
}

// Queue runs the tasks of one kind in the order of their submission, one at a
// time. It is safe for many goroutines.
type Queue struct {
	kind string // as it appears in texts for clients: "Train", "Scoring", "Batch_infer"
	run  Runner
	opts Options

	mu     sync.Mutex
	tasks  []*record // oldest first
	closed bool

	wake   chan struct{}
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// record is a task with what only the queue knows. Guarded by Queue.mu.
type record struct {
	task   Task
	cancel context.CancelFunc // while it runs
	stop   bool               // Stop was called while it ran
	result any
	err    error
	done   chan struct{}
}

// NewQueue starts the worker of a queue. Close ends it.
func NewQueue(kind string, run Runner, opts Options) *Queue {
	if opts.History <= 0 {
		opts.History = 100
	}
	if opts.Waiting <= 0 {
		opts.Waiting = 100
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	ctx, cancel := context.WithCancel(context.Background())
	q := &Queue{kind: kind, run: run, opts: opts, wake: make(chan struct{}, 1), cancel: cancel}
	q.wg.Go(func() { q.work(ctx) })
	return q
}

// Kind returns the name of the queue's work in texts for clients.
func (q *Queue) Kind() string { return q.kind }

// Start submits a task. While another one runs or waits it is refused with
// fault.Busy unless enqueue is set; a full queue refuses with fault.Busy too.
func (q *Queue) Start(request *ordered.Map, enqueue bool) (Task, error) {
	_, t, err := q.submit(request, enqueue)
	return t, err
}

// Do submits a task, waits for its end and returns its result. When ctx ends
// first the task is stopped.
func (q *Queue) Do(ctx context.Context, request *ordered.Map, enqueue bool) (any, error) {
	r, _, err := q.submit(request, enqueue)
	if err != nil {
		return nil, err
	}
	select {
	case <-r.done:
		return r.result, r.err
	case <-ctx.Done():
		q.abandon(r)
		return nil, fault.Wrap(fault.Canceled, ctx.Err(), "the caller went away")
	}
}

// submit adds a task and returns it as it was submitted: the worker may be
// quicker than the caller.
func (q *Queue) submit(request *ordered.Map, enqueue bool) (*record, Task, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, Task{}, fault.New(fault.Unavailable, "the server is shutting down")
	}
	waiting := 0
	for _, r := range q.tasks {
		if !r.task.Finished() {
			waiting++
		}
	}
	if waiting > 0 && !enqueue {
		return nil, Task{}, fault.New(fault.Busy, "++++++++++ %s Task is Already Running", q.kind)
	}
	if waiting > q.opts.Waiting {
		return nil, Task{}, fault.New(fault.Busy, "%d %s tasks are waiting already", q.opts.Waiting, q.kind)
	}
	r := &record{
		task: Task{ID: newID(), Status: Submitted, Request: request.Clone(), Start: time.Now()},
		done: make(chan struct{}),
	}
	q.tasks = append(q.tasks, r)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return r, r.task, nil
}

func (q *Queue) snapshot(r *record) Task {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := r.task
	t.Details = slices.Clone(t.Details)
	return t
}

func (q *Queue) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
		}
		for {
			r, rctx := q.next(ctx)
			if r == nil {
				break
			}
			result, err := q.call(rctx, r)
			q.finish(r, result, err)
		}
	}
}

// next marks the oldest waiting task as running; nil when there is none.
func (q *Queue) next(ctx context.Context) (*record, context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.tasks {
		if r.task.Status == Submitted && !q.closed {
			rctx, cancel := context.WithCancel(ctx)
			r.cancel, r.task.Status, r.task.Details = cancel, Running, []string{}
			return r, rctx
		}
	}
	return nil, nil
}

// call runs the work and turns a panic into an error.
func (q *Queue) call(ctx context.Context, r *record) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			q.opts.Logger.Error("task panicked", "kind", q.kind, "task", r.task.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			result, err = nil, fault.New(fault.Internal, "the %s task failed; the server's log says why", q.kind)
		}
	}()
	return q.run(ctx, r.task.Request.Clone(), func(line string) { q.log(r, line) })
}

func (q *Queue) log(r *record, line string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r.task.Details = appendDetail(r.task.Details, line)
}

func (q *Queue) finish(r *record, result any, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r.cancel()
	r.cancel = nil
	r.result, r.err = result, err
	switch {
	case r.stop || q.closed:
		q.end(r, Stopped, "stopped")
	case err != nil:
		q.opts.Logger.Warn("task failed", "kind", q.kind, "task", r.task.ID, "err", err)
		msg, ok := fault.Message(err)
		if !ok {
			msg = "the task failed; the server's log says why"
		}
		q.end(r, Failed, msg)
	default:
		q.end(r, Done, "")
	}
	q.forget()
}

// end closes a record. Clients take the last line of a stopped task without
// looking whether there is one, so there always is.
func (q *Queue) end(r *record, s Status, line string) {
	r.task.Status, r.task.End = s, time.Now()
	r.task.Details = appendDetail(r.task.Details, line)
	close(r.done)
}

// forget drops the oldest finished tasks beyond the history.
func (q *Queue) forget() {
	finished := 0
	for _, r := range q.tasks {
		if r.task.Finished() {
			finished++
		}
	}
	q.tasks = slices.DeleteFunc(q.tasks, func(r *record) bool {
		if finished <= q.opts.History || !r.task.Finished() {
			return false
		}
		finished--
		return true
	})
}

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
// stopping and returned as it is.
func (q *Queue) Stop(ctx context.Context) (t Task, ok bool) {
	q.mu.Lock()
	i := slices.IndexFunc(q.tasks, func(r *record) bool { return r.task.Status == Running })
	if i < 0 {
		q.mu.Unlock()
		return Task{}, false
	}
	r := q.tasks[i]
	r.stop = true
	r.cancel()
	q.mu.Unlock()
	select {
	case <-r.done:
	case <-ctx.Done():
	}
	return q.snapshot(r), true
}

// abandon stops a task whose caller left.
func (q *Queue) abandon(r *record) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch r.task.Status {
	case Submitted:
		r.err = context.Canceled
		q.end(r, Stopped, "the caller went away")
	case Running:
		r.stop = true
		r.cancel()
	case Done, Failed, Stopped:
	}
}

// Close stops the running task, drops the waiting ones and waits for the
// worker. It is safe to call twice.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed = true
	for _, r := range q.tasks {
		if r.task.Status == Submitted {
			r.err = fault.New(fault.Unavailable, "the server is shutting down")
			q.end(r, Stopped, "the server is shutting down")
		}
	}
	q.mu.Unlock()
	q.cancel()
	q.wg.Wait()
}
