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

	// Changed is told a task that has begun to run or has ended. It must be quick
	// and must not call the queue: that waits. nil: nobody is told.
	Changed func(kind string, t Task)

	Journal Journal // keeps the records beyond the process; nil: nothing does
	Earlier []Task  // what the journal holds, in the order of submission
	Drop    bool    // Earlier tasks that did not finish end as Stopped; else they run again
	Resumes int     // how often a task may be taken up without a word that its work is safe; 0 means 3
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
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
}

// record is a task with what only the queue knows. Guarded by Queue.mu.
type record struct {
	task     Task
	cancel   context.CancelCauseFunc // while it runs
	stop     bool                    // Stop was called while it ran
	progress bool                    // the last line of the details may be replaced
	result   any
	err      error
	done     chan struct{}
}

// NewQueue starts the worker of a queue. Close ends it.
func NewQueue(kind string, run Runner, opts Options) *Queue {
	if opts.History <= 0 {
		opts.History = 100
	}
	if opts.Waiting <= 0 {
		opts.Waiting = 100
	}
	if opts.Resumes <= 0 {
		opts.Resumes = 3
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	q := &Queue{kind: kind, run: run, opts: opts, wake: make(chan struct{}, 1), cancel: cancel}
	q.restore(opts.Earlier)
	q.wg.Go(func() { q.work(ctx) })
	return q
}

// Kind returns the name of the queue's work in texts for clients.
func (q *Queue) Kind() string { return q.kind }

// Start submits a task. While another one runs or waits it is refused with
// fault.Busy unless enqueue is set; a full queue refuses with fault.Busy too,
// and a journal that cannot keep it with the journal's fault.
func (q *Queue) Start(request *ordered.Map, enqueue bool) (Task, error) {
	_, t, err := q.submit(request, enqueue, false)
	return t, err
}

// Do submits a task, waits for its end and returns its result. When ctx ends
// first the task is stopped.
func (q *Queue) Do(ctx context.Context, request *ordered.Map, enqueue bool) (any, error) {
	r, _, err := q.submit(request, enqueue, true)
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
func (q *Queue) submit(request *ordered.Map, enqueue, attached bool) (*record, Task, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, Task{}, fault.Wrap(fault.Unavailable, ErrClosing, "the server is shutting down")
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
		task: Task{ID: newID(), Status: Submitted, Request: request.Clone(), Start: time.Now(), Attached: attached},
		done: make(chan struct{}),
	}
	if q.opts.Journal != nil {
		if err := q.opts.Journal.Save(r.task); err != nil {
			return nil, Task{}, err
		}
	}
	q.tasks = append(q.tasks, r)
	q.nudge()
	return r, r.task, nil
}

// nudge wakes the worker.
func (q *Queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
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
			rctx, cancel := context.WithCancelCause(ctx)
			r.cancel, r.task.Status = cancel, Running
			if r.task.Details == nil {
				r.task.Details = []string{}
			}
			q.save(r)
			q.changed(r)
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
	return q.run(ctx, &Job{ID: r.task.ID, Request: r.task.Request.Clone(), Start: r.task.Start, Attached: r.task.Attached, queue: q, record: r})
}

func (q *Queue) log(r *record, text string, progress bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.task.Finished() {
		return
	}
	if n := len(r.task.Details); progress && r.progress && n > 0 {
		r.task.Details = r.task.Details[: n-1 : n-1] // a snapshot may share the array
	}
	r.progress = progress
	r.task.Details = appendDetail(r.task.Details, text)
}

func (q *Queue) finish(r *record, result any, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r.cancel(nil)
	r.cancel = nil
	r.result, r.err = result, err
	switch {
	case r.stop:
		q.end(r, Stopped, "stopped")
	case q.closed && err != nil:
		q.suspend(r)
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
	q.save(r)
	close(r.done)
	q.changed(r)
}

func (q *Queue) changed(r *record) {
	if q.opts.Changed != nil {
		t := r.task
		t.Details = slices.Clone(t.Details)
		q.opts.Changed(q.kind, t)
	}
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
		if q.opts.Journal != nil {
			if err := q.opts.Journal.Forget(r.task.ID); err != nil {
				q.opts.Logger.Warn("record of an old task is left", "kind", q.kind, "task", r.task.ID, "err", err)
			}
		}
		return true
	})
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
		r.cancel(ErrStopped)
	case Done, Failed, Stopped:
	}
}

// Close stops the running task, drops the waiting ones and waits for the
// worker. With a journal both are taken up again by the next process, unless
// Drop is set then. It is safe to call twice.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed = true
	for _, r := range q.tasks {
		if r.task.Status == Submitted {
			r.err = fault.Wrap(fault.Unavailable, ErrClosing, "the server is shutting down")
			q.suspend(r)
		}
	}
	q.mu.Unlock()
	q.cancel(ErrClosing)
	q.wg.Wait()
}
