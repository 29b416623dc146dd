package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newQueue(t *testing.T, run Runner, o Options) *Queue {
	t.Helper()
	o.Logger = quiet()
	q := NewQueue("Train", run, o)
	t.Cleanup(q.Close)
	return q
}

func TestLifeOfATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		q := newQueue(t, func(_ context.Context, j *Job) (any, error) {
			j.Log("one\n\ntwo\n")
			<-release
			return 7, nil
		}, Options{})
		first, err := q.Start(ordered.Of("model", "m", "z", 1, "a", 2), false)
		if err != nil || first.Status != Submitted {
			t.Fatalf("%+v, %v", first, err)
		}
		synctest.Wait()
		running, ok := q.Running()
		if !ok || running.ID != first.ID || strings.Join(running.Details, "|") != "one|two" {
			t.Fatalf("running: %+v", running)
		}
		if _, err := q.Start(&ordered.Map{}, false); fault.KindOf(err) != fault.Busy || err.Error() != "++++++++++ Train Task is Already Running" {
			t.Errorf("a second start: %v", err)
		}
		if _, err := q.Start(ordered.Of("n", 2), true); err != nil || q.Waiting() != 1 {
			t.Errorf("enqueue: %v, %d waiting", err, q.Waiting())
		}
		close(release)
		synctest.Wait()
		all := q.All()
		if len(all) != 2 || all[0].Status != Done || all[1].Status != Done {
			t.Fatalf("%+v", all)
		}
		if k := strings.Join(all[0].Object().Keys(), ","); k != "id,status,request,start_ts,details,end_ts" {
			t.Errorf("keys %s", k)
		}
		if k := strings.Join(first.Object().Keys(), ","); k != "id,status,request,start_ts" {
			t.Errorf("keys of a submitted task %s", k)
		}
		if k := strings.Join(all[0].Request.Keys(), ","); k != "model,z,a" {
			t.Errorf("request %s", k)
		}
	})
}

func TestFailureAndPanicEndAsErrorWithALine(t *testing.T) {
	for name, tt := range map[string]struct {
		run  Runner
		want string
	}{
		"fault": {func(context.Context, *Job) (any, error) {
			return nil, fault.New(fault.NotFound, "no trainer m")
		}, "no trainer m"},
		"unclassified": {func(context.Context, *Job) (any, error) { return nil, errors.New("/secret/path") }, "log says why"},
		"panic":        {func(context.Context, *Job) (any, error) { panic("boom") }, "log says why"},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(t, tt.run, Options{})
			_, err := q.Do(t.Context(), &ordered.Map{}, false)
			if err == nil {
				t.Error("Do reports no error")
			}
			task, _ := q.Latest()
			if task.Status != Failed || len(task.Details) != 1 || !strings.Contains(task.Details[0], tt.want) {
				t.Errorf("%+v", task)
			}
		})
	}
}

func TestStopEndsOnlyTheRunningTask(t *testing.T) {
	started := make(chan struct{}, 2)
	var stopAll atomic.Bool
	q := newQueue(t, func(ctx context.Context, _ *Job) (any, error) {
		started <- struct{}{}
		if stopAll.Load() {
			return "second", nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}, Options{})
	if _, ok := q.Stop(t.Context()); ok {
		t.Fatal("stopped a task although none ran")
	}
	if _, err := q.Start(&ordered.Map{}, false); err != nil {
		t.Fatal(err)
	}
	<-started
	stopAll.Store(true)
	second := make(chan any, 1)
	go func() {
		v, _ := q.Do(context.Background(), &ordered.Map{}, true)
		second <- v
	}()
	for q.Waiting() == 0 {
		runtime.Gosched()
	}
	stopped, ok := q.Stop(t.Context())
	if !ok || stopped.Status != Stopped || len(stopped.Details) == 0 || stopped.End.IsZero() {
		t.Errorf("%+v", stopped)
	}
	if v := <-second; v != "second" {
		t.Errorf("the waiting task gave %v", v)
	}
}

func TestOnlyOneOfManyStartsWins(t *testing.T) {
	hold := make(chan struct{})
	q := newQueue(t, func(context.Context, *Job) (any, error) {
		<-hold
		return nil, nil
	}, Options{})
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := q.Start(&ordered.Map{}, false); err == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	close(hold)
	if won.Load() != 1 {
		t.Errorf("%d starts were accepted", won.Load())
	}
}

func TestHistoryDetailsAndWaitingAreBounded(t *testing.T) {
	q := newQueue(t, func(_ context.Context, j *Job) (any, error) {
		for i := range 50 {
			j.Log(fmt.Sprintf("line %d", i))
		}
		j.Log(strings.Repeat("x", 10*maxLine))
		return nil, nil
	}, Options{History: 3, Waiting: 2})
	var last string
	for range 8 {
		if _, err := q.Do(t.Context(), &ordered.Map{}, false); err != nil {
			t.Fatal(err)
		}
		task, _ := q.Latest()
		last = task.ID
	}
	all := q.All()
	if len(all) != 3 || all[2].ID != last {
		t.Fatalf("%d tasks are remembered", len(all))
	}
	d := all[2].Details
	if len(d) != maxDetails || d[0] != "line 31" || len(d[maxDetails-1]) != maxLine {
		t.Errorf("%d details, first %q", len(d), d[0])
	}
	hold := make(chan struct{})
	full := newQueue(t, func(context.Context, *Job) (any, error) { <-hold; return nil, nil }, Options{Waiting: 2})
	var err error
	for range 4 {
		_, err = full.Start(&ordered.Map{}, true)
	}
	close(hold)
	if fault.KindOf(err) != fault.Busy {
		t.Errorf("a fourth task: %v", err)
	}
}

func TestCloseStopsEverythingTwice(t *testing.T) {
	started := make(chan struct{})
	q := NewQueue("Train", func(ctx context.Context, _ *Job) (any, error) {
		close(started)
		<-ctx.Done()
		return nil, ctx.Err()
	}, Options{Logger: quiet()})
	if _, err := q.Start(&ordered.Map{}, false); err != nil {
		t.Fatal(err)
	}
	<-started
	if _, err := q.Start(&ordered.Map{}, true); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		q.Close()
	}
	for _, task := range q.All() {
		if task.Status != Stopped || len(task.Details) == 0 {
			t.Errorf("%+v", task)
		}
	}
	if _, err := q.Start(&ordered.Map{}, true); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a start after Close: %v", err)
	}
}

func TestDoStopsWhenTheCallerLeaves(t *testing.T) {
	started := make(chan struct{})
	q := newQueue(t, func(ctx context.Context, _ *Job) (any, error) {
		close(started)
		<-ctx.Done()
		return nil, ctx.Err()
	}, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	if _, err := q.Do(ctx, &ordered.Map{}, false); fault.KindOf(err) != fault.Canceled {
		t.Errorf("%v", err)
	}
	for task, _ := q.Latest(); !task.Finished(); task, _ = q.Latest() {
		runtime.Gosched()
	}
}
