package jobs

import "time"

// save keeps the present record of a task. A journal that fails is no reason to
// stop the work.
func (q *Queue) save(r *record) { q.keep(r.task) }

func (q *Queue) keep(t Task) {
	if q.opts.Journal == nil {
		return
	}
	if err := q.opts.Journal.Save(t); err != nil {
		q.opts.Logger.Warn("record of a task is not kept", "kind", q.kind, "task", t.ID, "status", string(t.Status), "err", err)
	}
}

// restore takes up the tasks of an earlier process.
func (q *Queue) restore(earlier []Task) {
	for _, t := range earlier {
		r, begun := &record{task: t, done: make(chan struct{})}, t.Status == Running
		q.tasks = append(q.tasks, r)
		switch {
		case t.Finished():
			close(r.done)
		case t.Attached:
			q.end(r, Stopped, "the server was restarted, and the caller has gone")
		case q.opts.Drop:
			q.end(r, Stopped, "the server was restarted")
		case begun && t.Resumes >= q.opts.Resumes:
			q.end(r, Failed, "the server ended too often during this task; it is not taken up again")
		default:
			if begun {
				r.task.Resumes++
				r.task.Details = appendDetail(r.task.Details, "taken up again after a restart of the server")
			}
			r.task.Status = Submitted
			q.save(r)
			q.opts.Logger.Info("task is taken up again", "kind", q.kind, "task", t.ID)
			q.nudge()
		}
	}
	q.forget()
}

// suspend closes the record of a task that the next process takes up again. The
// journal keeps it as it is.
func (q *Queue) suspend(r *record) {
	r.task.Status, r.task.End = Stopped, time.Now()
	r.task.Details = appendDetail(r.task.Details, "the server is shutting down")
	close(r.done)
}

func (q *Queue) safe(r *record) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.task.Resumes > 0 && !r.task.Finished() && !r.stop {
		r.task.Resumes = 0
		q.save(r)
	}
}
