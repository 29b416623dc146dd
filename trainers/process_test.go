package trainers

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/testkit"
)

// outcome is what a training with a fake program came to.
type outcome struct {
	res    Result
	err    error
	events []Event
	log    string
	out    string
	took   time.Duration
}

// train runs a fake and checks that nothing is left running. change may alter
// the trainer and the request; each is called for every event.
func train(t *testing.T, ctx context.Context, act string, change func(*Process, *Request), each func(Event)) outcome { //nolint:revive // t first
	t.Helper()
	before := goleak.IgnoreCurrent()
	p, log := fake(t, act), &testkit.Log{}
	p.Logger = slog.New(slog.NewTextHandler(log, nil))
	r := Request{Protocol: ProtocolVersion, Model: "m", Out: filepath.Join(t.TempDir(), "out"), Work: "w", Device: "cpu"}
	if change != nil {
		change(p, &r)
	}
	o := outcome{out: r.Out}
	begin := time.Now()
	o.res, o.err = p.Train(ctx, r, func(e Event) {
		o.events = append(o.events, e)
		if each != nil {
			each(e)
		}
	})
	o.took, o.log = time.Since(begin), log.String()
	goleak.VerifyNone(t, before)
	return o
}

func kinds(events []Event) string {
	var s []string
	for _, e := range events {
		s = append(s, string(e.Kind))
	}
	return strings.Join(s, " ")
}

func TestProcessReportsAndReturnsTheModel(t *testing.T) {
	o := train(t, t.Context(), "train", nil, nil)
	if o.err != nil {
		t.Fatal(o.err)
	}
	if got, want := kinds(o.events), "started progress progress progress progress warning validated finished"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
	if e := o.events[6]; e.Dice["a"] != 0.5 || !e.Best || e.Mean != 0.5 {
		t.Errorf("validated: %+v", e)
	}
	r := o.res
	if r.Model != o.out || r.Steps != 4 || r.Epochs != 2 || r.Mean != 0.5 || r.Took <= 0 || strings.Join(r.Warnings, "|") != "case c3 was left out" {
		t.Errorf("result %+v", r)
	}
}

// A finished event needs no result: what was reported before fills it in.
func TestProcessFillsInAResult(t *testing.T) {
	o := train(t, t.Context(), "terse", nil, nil)
	if o.err != nil || o.res.Steps != 7 || o.res.Epochs != 3 || len(o.res.Warnings) != 1 || o.res.Model != o.out {
		t.Errorf("%+v, %v", o.res, o.err)
	}
}

func TestProcessGivesRequestFolderAndLowPriority(t *testing.T) {
	dir := t.TempDir()
	own, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	o := train(t, t.Context(), "echo", func(p *Process, r *Request) {
		p.Dir = dir
		r.Cases, r.Config.Epochs = make([]Case, 3), 12
	}, nil)
	if o.err != nil {
		t.Fatal(o.err)
	}
	want := "1 cpu 3 cases, epochs 12, in " + filepath.Base(dir) + ", priority " + strconv.Itoa(min(20-own+10, 19)) + ", group true"
	if got := o.events[0].Message; got != want {
		t.Errorf("the program saw %q, want %q", got, want)
	}
	if now, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err != nil || now != own {
		t.Errorf("our own priority became %d, was %d (%v)", 20-now, 20-own, err)
	}
}

// However a program ends, the fault says what happened, and a half-written model
// is gone.
func TestProcessEnds(t *testing.T) {
	for _, tt := range []struct {
		act  string
		kind fault.Kind
		msg  string
		log  string // in the error's text, not in the message
	}{
		{"refuse", fault.NoSpace, "the disk is full at step 7", "the last words"},
		{"refuse strangely", fault.Internal, "the training failed; the log says why", ""},
		{"silent", fault.Internal, "without a finished event", ""},
		{"exit:3", fault.Internal, "exit status 3", "No module named 'monai'"},
		{"signal:9", fault.Internal, "probably because memory ran out", ""},
		{"signal:15", fault.Internal, "ended by a signal (terminated)", ""},
		{"half", fault.Internal, "exit status 3", ""},
		{"liar", fault.Internal, "its model folder has no manifest.yaml", ""},
		{"garbage:101", fault.Invalid, `more than 100 of its lines are no events, for example "progress 100 % [====>   ]"`, ""},
		{"endless line", fault.Invalid, `for example "AAAAAAAA`, ""},
	} {
		t.Run(tt.act, func(t *testing.T) {
			o := train(t, t.Context(), tt.act, nil, nil)
			msg, _ := fault.Message(o.err)
			if fault.KindOf(o.err) != tt.kind || !strings.Contains(msg, tt.msg) || len(msg) > 300 {
				t.Errorf("%v: %q, want %v: … %q …", fault.KindOf(o.err), msg, tt.kind, tt.msg)
			}
			if strings.Contains(msg, tt.log) && tt.log != "" || !strings.Contains(o.err.Error(), tt.log) || !strings.Contains(o.log, tt.log) {
				t.Errorf("the program's own words %q belong into the cause and the log only: %v\n%s", tt.log, o.err, o.log)
			}
			if _, err := os.Lstat(o.out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the model folder is left: %v", err)
			}
		})
	}
}

func TestProcessToleratesSomeGarbage(t *testing.T) {
	o := train(t, t.Context(), "garbage:100", func(p *Process, _ *Request) { p.Settle = 50 * time.Millisecond }, nil)
	if o.err != nil || !strings.Contains(o.log, "progress 99 %") {
		t.Errorf("%v; log %.300s", o.err, o.log)
	}
}

func TestProcessTakesHostileEventsInItsStride(t *testing.T) {
	o := train(t, t.Context(), "hostile", nil, nil)
	if o.err != nil {
		t.Fatal(o.err)
	}
	if got, want := kinds(o.events), "progress warning invented finished"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
	if e := o.events[0]; e.Step != 0 || e.Epoch != 0 || e.Loss != 1e308 {
		t.Errorf("%+v", e)
	}
	if m := o.events[1].Message; len(m) > maxText+3 || strings.Contains(m, "\n") || !utf8.ValidString(m) || !strings.HasPrefix(m, "\uFFFD m") {
		t.Errorf("message %.40q of %d bytes", m, len(m))
	}
}

// TestProcessStops ends trainings of all tempers within a second; nothing of
// their process groups is left.
func TestProcessStops(t *testing.T) {
	for _, act := range []string{"obedient", "polite", "stubborn", "lingering"} {
		t.Run(act, func(t *testing.T) {
			pidFile := filepath.Join(t.TempDir(), "pid")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var stop time.Time
			o := train(t, ctx, act+":"+pidFile, nil, func(e Event) {
				if e.Kind == Started || e.Kind == Finished {
					stop = time.Now()
					cancel()
				}
			})
			if d := time.Since(stop); d > 1500*time.Millisecond { // one second and a loaded machine
				t.Errorf("it took %v to stop", d)
			}
			if act == "lingering" { // it had finished
				if o.err != nil || !strings.Contains(o.log, "had to be killed") {
					t.Errorf("a training that had finished: %v; %s", o.err, o.log)
				}
			} else if msg, _ := fault.Message(o.err); fault.KindOf(o.err) != fault.Canceled || msg != "the training was stopped" {
				t.Errorf("%v", o.err)
			}
			if act == "stubborn" {
				outlived(t, pidFile)
			}
		})
	}
}

// outlived waits until the process that wrote its id into a file is no more.
func outlived(t *testing.T, pidFile string) {
	t.Helper()
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil && syscall.Kill(pid, 0) != nil || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	t.Errorf("process %d outlived the training", pid)
}

// A grandchild that holds the pipes neither delays the end nor survives it.
func TestProcessLeavesNoGrandchild(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	o := train(t, t.Context(), "orphan:"+pidFile, nil, nil)
	if o.err != nil || o.took > 5*time.Second {
		t.Errorf("%v after %v", o.err, o.took)
	}
	outlived(t, pidFile)
}

func TestProcessKillsWhatDoesNotEndAfterItsLastEvent(t *testing.T) {
	o := train(t, t.Context(), "lingering", func(p *Process, _ *Request) { p.Settle = 100 * time.Millisecond }, nil)
	if o.err != nil || o.res.Steps != 1 || !strings.Contains(o.log, "had to be killed") {
		t.Errorf("%+v, %v; %s", o.res, o.err, o.log)
	}
}

func TestProcessBoundsTheLog(t *testing.T) {
	o := train(t, t.Context(), "chatty", nil, nil)
	if o.err != nil {
		t.Fatal(o.err)
	}
	lines := strings.Count(o.log, "msg=trainer ")
	seconds := int(o.took/time.Second) + 2
	if lines < maxLogRate/2 || lines > maxLogRate*seconds {
		t.Errorf("%d lines in %v, at most %d a second", lines, o.took, maxLogRate)
	}
	for line := range strings.Lines(o.log) {
		if len(line) > maxLogLine+200 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

// A request larger than a pipe holds, and a program that never reads it.
func TestProcessWithADeafProgram(t *testing.T) {
	o := train(t, t.Context(), "deaf", func(_ *Process, r *Request) { r.Cases = []Case{{ID: strings.Repeat("x", 1<<20)}} }, nil)
	if msg, _ := fault.Message(o.err); msg != "I do not read" {
		t.Errorf("%v", o.err)
	}
}

func TestProcessThatCannotStart(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		command []string
		kind    fault.Kind
		msg     string
	}{
		{nil, fault.Invalid, "the trainer has no command"},
		{[]string{"no-such-program-here"}, fault.Unavailable, "the program no-such-program-here is not installed"},
		{[]string{"/no/such/program"}, fault.Unavailable, "the program program is not installed"},
		{[]string{plain}, fault.Unavailable, "plain is not executable"},
	} {
		o := train(t, t.Context(), "train", func(p *Process, _ *Request) { p.Command = tt.command }, nil)
		if msg, _ := fault.Message(o.err); fault.KindOf(o.err) != tt.kind || !strings.Contains(msg, tt.msg) {
			t.Errorf("%q: %v", tt.command, o.err)
		}
	}
}

func TestProcessRefusesAnExistingFolder(t *testing.T) {
	o := train(t, t.Context(), "train", func(_ *Process, r *Request) {
		if err := os.Mkdir(r.Out, 0o700); err != nil {
			t.Fatal(err)
		}
	}, nil)
	if _, err := os.Stat(o.out); fault.KindOf(o.err) != fault.Conflict || err != nil {
		t.Errorf("%v; the folder: %v", o.err, err)
	}
}

func TestProcessDoesNotStartWhenStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o := train(t, ctx, "train", nil, nil); fault.KindOf(o.err) != fault.Canceled || len(o.events) > 0 {
		t.Errorf("%v, %v", o.err, o.events)
	}
}
