package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/testkit"
)

// restarted opens a queue on what a folder holds, as a new process does.
func restarted(t *testing.T, dir Folder, run Runner, o Options) *Queue {
	t.Helper()
	earlier, err := dir.Load(quiet())
	if err != nil {
		t.Fatal(err)
	}
	o.Journal, o.Earlier = dir, earlier
	return newQueue(t, run, o)
}

func onDisk(t *testing.T, dir Folder, id string) Task {
	t.Helper()
	k, err := dir.read(id)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func waitFor(t *testing.T, q *Queue, id string) Task {
	t.Helper()
	q.mu.Lock()
	i := slices.IndexFunc(q.tasks, func(r *record) bool { return r.task.ID == id })
	if i < 0 {
		t.Fatalf("task %s is unknown", id)
	}
	r := q.tasks[i]
	q.mu.Unlock()
	<-r.done
	return q.snapshot(r)
}

// hang runs until its context ends, and tells that it started.
func hang(started chan<- string) Runner {
	return func(ctx context.Context, j *Job) (any, error) {
		j.Log("begun")
		started <- j.ID
		<-ctx.Done()
		return nil, ctx.Err()
	}
}

func work(_ context.Context, j *Job) (any, error) { return j.ID, nil }

// What a process leaves unfinished, by a kill or by a stop, the next one takes
// up under the same ids and in the same order; what had ended stays.
func TestTasksOutliveTheProcess(t *testing.T) {
	for _, graceful := range []bool{true, false} {
		dir, started := Folder(t.TempDir()), make(chan string, 4)
		q := restarted(t, dir, work, Options{})
		if _, err := q.Do(t.Context(), ordered.Of("n", 0), false); err != nil {
			t.Fatal(err)
		}
		done, _ := q.Latest()
		q.Close()
		q = restarted(t, dir, hang(started), Options{})
		first, err := q.Start(ordered.Of("z", 1, "a", json.Number("2.0")), false)
		if err != nil {
			t.Fatal(err)
		}
		<-started
		second, err := q.Start(ordered.Of("n", 2), true)
		if err != nil {
			t.Fatal(err)
		}
		if graceful {
			q.Close()
		} // else: as after a kill, the files are all there is
		for _, id := range []string{first.ID, second.ID} {
			if s := onDisk(t, dir, id); s.Finished() {
				t.Errorf("graceful %v: on disk the task is %s", graceful, s.Status)
			}
		}
		q = restarted(t, dir, work, Options{})
		a, b := waitFor(t, q, first.ID), waitFor(t, q, second.ID)
		if a.Status != Done || b.Status != Done || !a.Start.Equal(first.Start) || a.Resumes != 1 || b.Resumes != 0 {
			t.Errorf("graceful %v: %+v\n%+v", graceful, a, b)
		}
		if r, err := ordered.Marshal(a.Request); err != nil || string(r) != `{"z":1,"a":2.0}` {
			t.Errorf("request %s, %v", r, err)
		}
		if !strings.Contains(strings.Join(a.Details, "|"), "taken up again after a restart") {
			t.Errorf("details %q", a.Details)
		}
		all := q.All()
		if len(all) != 3 || all[0].ID != done.ID || all[0].Status != Done || all[1].ID != first.ID || all[2].ID != second.ID || all[0].End.IsZero() {
			t.Errorf("all tasks: %+v", all)
		}
	}
}

func TestWhatIsNotTakenUpAgain(t *testing.T) {
	started := make(chan string, 4)
	dir := Folder(t.TempDir())
	q := restarted(t, dir, hang(started), Options{})
	gone := make(chan error, 1)
	go func() { _, err := q.Do(context.Background(), ordered.Of("n", 1), false); gone <- err }()
	attached := <-started
	q.Close()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the waiting caller got %v", err)
	}
	q = restarted(t, dir, hang(started), Options{})
	if s := waitFor(t, q, attached); s.Status != Stopped || !strings.Contains(s.Details[len(s.Details)-1], "the caller has gone") {
		t.Errorf("attached: %+v", s)
	}
	task, err := q.Start(ordered.Of("n", 2), false)
	if err != nil {
		t.Fatal(err)
	}
	<-started
	q.Close()
	q = restarted(t, dir, work, Options{Drop: true})
	if s := waitFor(t, q, task.ID); s.Status != Stopped || onDisk(t, dir, task.ID).Status != Stopped {
		t.Errorf("dropped: %+v", s)
	}
}

// A stop counts from the moment of the request: a kill while the work is still
// ending does not bring the task back.
func TestStopIsKeptBeforeTheWorkEnds(t *testing.T) {
	dir, started, release := Folder(t.TempDir()), make(chan string, 1), make(chan struct{})
	var cause error
	q := restarted(t, dir, func(ctx context.Context, j *Job) (any, error) {
		started <- j.ID
		<-ctx.Done()
		cause = context.Cause(ctx)
		j.Safe() // must not bring the record back to life
		<-release
		return nil, ctx.Err()
	}, Options{})
	if _, err := q.Start(&ordered.Map{}, false); err != nil {
		t.Fatal(err)
	}
	id := <-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, ok := q.Stop(ctx); !ok || s.Status != Running {
		t.Errorf("a stop whose caller does not wait: %+v", s)
	}
	if s := onDisk(t, dir, id); s.Status != Stopped || len(s.Details) == 0 {
		t.Errorf("on disk: %+v", s)
	}
	close(release)
	if s := waitFor(t, q, id); s.Status != Stopped || !errors.Is(cause, ErrStopped) {
		t.Errorf("%+v, cause %v", s, cause)
	}
}

// Work that ends the process again and again is given up, unless it gets on.
func TestTasksAreNotTakenUpForEver(t *testing.T) {
	for _, getsOn := range []bool{false, true} {
		dir, started := Folder(t.TempDir()), make(chan string, 1)
		run := func(ctx context.Context, j *Job) (any, error) {
			if getsOn {
				j.Safe()
			}
			started <- j.ID
			<-ctx.Done()
			return nil, ctx.Err()
		}
		q := restarted(t, dir, run, Options{})
		if _, err := q.Start(&ordered.Map{}, false); err != nil {
			t.Fatal(err)
		}
		id := <-started
		for range 2 {
			q.Close()
			q = restarted(t, dir, run, Options{Resumes: 2})
			<-started
		}
		q.Close()
		q = restarted(t, dir, run, Options{Resumes: 2})
		if getsOn {
			<-started
			q.Close()
			continue
		}
		if s := waitFor(t, q, id); s.Status != Failed || !strings.Contains(s.Details[len(s.Details)-1], "not taken up again") {
			t.Errorf("%+v", s)
		}
	}
}

// fullDisk is a journal without room.
type fullDisk struct{ Folder }

func (fullDisk) Save(Task) error { return diskFault(syscall.ENOSPC) }

func TestTaskWithoutRoomForItsRecordIsRefused(t *testing.T) {
	q := newQueue(t, work, Options{Journal: fullDisk{}})
	_, err := q.Start(&ordered.Map{}, false)
	if msg, _ := fault.Message(err); fault.KindOf(err) != fault.NoSpace || !strings.Contains(msg, "disk is full") {
		t.Errorf("%v", err)
	}
	if n := len(q.All()); n != 0 {
		t.Errorf("%d tasks", n)
	}
}

func TestOldRecordsAreForgottenWithTheirFiles(t *testing.T) {
	dir := Folder(t.TempDir())
	q := restarted(t, dir, work, Options{History: 2})
	for range 4 {
		if _, err := q.Do(t.Context(), &ordered.Map{}, false); err != nil {
			t.Fatal(err)
		}
	}
	q.Close()
	if left, err := os.ReadDir(string(dir)); err != nil || len(left) != 2 {
		t.Errorf("%d folders are left, %v", len(left), err)
	}
	if err := dir.Forget(".."); fault.KindOf(err) != fault.Invalid {
		t.Errorf("forgetting ..: %v", err)
	}
}

func TestRecordsThatCannotBeReadAreLeftAlone(t *testing.T) {
	dir, id := Folder(t.TempDir()), newID()
	for name, text := range map[string]string{
		newID(): "{", newID(): `{"id":"x"}`, id: `{"id":"` + id + `","status":"DONE","request":{},"start":"2026-01-02T03:04:05Z"}`,
		newID(): "", "notes": "x",
	} {
		if err := os.Mkdir(dir.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir.Dir(name), recordFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	tasks, err := dir.Load(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil || len(tasks) != 1 || tasks[0].ID != id || strings.Count(log.String(), "cannot be read") != 3 {
		t.Errorf("%+v, %v\n%s", tasks, err, log.String())
	}
	if tasks, err := Folder(filepath.Join(string(dir), "absent")).Load(quiet()); err != nil || len(tasks) != 0 {
		t.Errorf("an absent folder: %v, %v", tasks, err)
	}
}

// A record that has ended and finds no room must not stay as unfinished.
func TestEndedRecordWithoutRoomIsDropped(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.SkipOrFail(t, "mounting a small file system needs root: run as root")
	}
	root := t.TempDir()
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size=64k"); err != nil {
		testkit.SkipOrFail(t, "no tmpfs can be mounted here: "+err.Error())
	}
	t.Cleanup(func() { _ = syscall.Unmount(root, 2) })
	dir := Folder(filepath.Join(root, "tasks"))
	task := Task{ID: newID(), Status: Running, Request: &ordered.Map{}}
	if err := dir.Save(task); err != nil {
		t.Fatal(err)
	}
	filler, err := os.Create(filepath.Join(root, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 1024))
	}
	_ = filler.Close()
	task.Status = Stopped
	if err := dir.Save(task); fault.KindOf(err) != fault.NoSpace {
		t.Errorf("%v", err)
	}
	if tasks, err := dir.Load(quiet()); err != nil || len(tasks) != 0 {
		t.Errorf("%+v, %v", tasks, err)
	}
}

func TestProgressReplacesItself(t *testing.T) {
	q := newQueue(t, func(_ context.Context, j *Job) (any, error) {
		j.Progress("1 %")
		j.Progress("2 %")
		j.Log("a case was left out")
		j.Progress("3 %")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { j.Progress("100 %") })
		}
		wg.Wait()
		return nil, nil
	}, Options{})
	if _, err := q.Do(t.Context(), &ordered.Map{}, false); err != nil {
		t.Fatal(err)
	}
	task, _ := q.Latest()
	if got := strings.Join(task.Details, "|"); got != "2 %|a case was left out|100 %" {
		t.Errorf("details %q", got)
	}
}
