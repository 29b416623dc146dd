// Package jobs runs long work one task at a time: a queue per kind, one worker,
// a bounded history.
//
// A task goes Submitted → Running → Done, Failed or Stopped. Its record carries
// the last lines that the work wrote. Records live in memory; with a Journal
// they outlive the process, and what it left unfinished is taken up again.
package jobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/voxloop/voxloop/internal/ordered"
)

// Status is where a task is in its life, spelled as the protocol does.
type Status string

// The states of a task.
const (
	Submitted Status = "SUBMITTED"
	Running   Status = "RUNNING"
	Done      Status = "DONE"
	Failed    Status = "ERROR"
	Stopped   Status = "STOPPED"
)

// Task is a snapshot of one task.
type Task struct {
	ID      string // random UUID
	Status  Status
	Request *ordered.Map
	Start   time.Time // when it was submitted
	End     time.Time // zero while it is not finished
	Details []string  // the last lines of its output; nil before it runs

	Attached bool // a caller waits for it: it ends when that one leaves
	Resumes  int  // how often it was taken up again since its work was last safe
}

// Finished reports whether the task has ended.
func (t Task) Finished() bool { return t.Status != Submitted && t.Status != Running }

// Object returns the task as clients see it: id, status, request, start_ts,
// details once it runs, end_ts once it has ended. Times are local.
func (t Task) Object() *ordered.Map {
	const layout = "2006-01-02 15:04:05"
	m := ordered.Of("id", t.ID, "status", string(t.Status), "request", t.Request, "start_ts", t.Start.Format(layout))
	if t.Details != nil {
		m.Set("details", t.Details)
	}
	if !t.End.IsZero() {
		m.Set("end_ts", t.End.Format(layout))
	}
	return m
}

// Runner does the work of a task. The result is any value that JSON can hold;
// nil means that the work has none. A Runner stops when ctx ends; the cause of
// that is ErrStopped or ErrClosing.
type Runner func(ctx context.Context, j *Job) (any, error)

// Why the context of a running task ends.
var (
	ErrStopped = errors.New("the task was stopped")
	ErrClosing = errors.New("the server is shutting down")
)

// Job is a running task as its Runner sees it. Its methods may be called from
// any goroutine while the Runner runs.
type Job struct {
	ID      string
	Request *ordered.Map // the Runner's own copy
	Start   time.Time    // when the task was submitted, perhaps to an earlier process

	Attached bool // a caller waits for the result

	queue  *Queue
	record *record
}

// Log adds the lines of a text to the task's details.
func (j *Job) Log(text string) { j.queue.log(j.record, text, false) }

// Progress adds a line in place of the present one, if that came from Progress.
func (j *Job) Progress(line string) { j.queue.log(j.record, line, true) }

// Safe says that the work so far survives a kill: the task may be taken up as
// often again as a new one.
func (j *Job) Safe() { j.queue.safe(j.record) }

// Journal keeps the records of tasks beyond the process. Its methods are called
// one at a time and must be quick: the queue waits.
type Journal interface {
	// Save keeps a record in place of an earlier one with its ID.
	Save(t Task) error
	// Forget drops the record and everything beside it.
	Forget(id string) error
}

// newID returns a random UUID (RFC 9562, version 4).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

const (
	maxDetails = 20   // lines that a task keeps
	maxLine    = 2000 // bytes of one line
)

// appendDetail adds the non-empty lines of text, keeping the last maxDetails.
func appendDetail(details []string, text string) []string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if len(line) > maxLine {
			line = strings.ToValidUTF8(line[:maxLine], "")
		}
		details = append(details, line)
	}
	if n := len(details) - maxDetails; n > 0 {
		details = append([]string{}, details[n:]...)
	}
	return details
}
