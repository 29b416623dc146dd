// Package trainertest lets a test binary act as the program of a trainer: a
// child process that speaks the protocol of trainers.Process, makes steps at a
// given pace, keeps checkpoints, goes on from them, and copies the model it was
// given. Used by tests only.
package trainertest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/voxloop/voxloop/trainers"
)

// Script says how a training goes.
type Script struct {
	Steps  int           `json:"steps"`
	Pause  time.Duration `json:"pause"`  // before each step
	Warn   string        `json:"warn"`   // a warning after the first step
	Fail   string        `json:"fail"`   // instead of the last step
	Fault  string        `json:"fault"`  // kind of Fail
	Crash  int           `json:"crash"`  // the step at which it dies of signal 9
	Babble string        `json:"babble"` // written to standard error
}

const variable = "VOXLOOP_TEST_TRAINER"

// Command is a command that runs script, given that the calling test binary has
// a test with the name test which calls Act.
func Command(t testing.TB, test string, s Script) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"env", variable + "=" + string(text), "GORACE=atexit_sleep_ms=0", exe, "-test.run=^" + test + "$"}
}

// Act plays the script and ends the process, if this process was started by
// Command; else it returns.
func Act() {
	text := os.Getenv(variable)
	if text == "" {
		return
	}
	var s Script
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		panic(err)
	}
	if err := s.play(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func say(e trainers.Event) {
	if err := json.NewEncoder(os.Stdout).Encode(e); err != nil {
		os.Exit(2)
	}
}

func (s Script) play() error {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var r trainers.Request
	if err := json.Unmarshal(line, &r); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	go func() { _, _ = io.Copy(io.Discard, in); cancel() }()
	if s.Babble != "" {
		fmt.Fprintln(os.Stderr, s.Babble)
	}
	return s.train(ctx, r)
}

// train makes the steps that are left.
func (s Script) train(ctx context.Context, r trainers.Request) error {
	if err := os.MkdirAll(r.Work, 0o750); err != nil {
		return err
	}
	kept := filepath.Join(r.Work, "step")
	done := 0
	if b, err := os.ReadFile(kept); err == nil { //nolint:gosec // the test names the folder
		if done, err = strconv.Atoi(string(b)); err != nil {
			return err
		}
	}
	epochs := max(r.Config.Epochs, 1)
	say(trainers.Event{Kind: trainers.Started, Step: done, Steps: s.Steps, Epochs: epochs, Batch: r.Config.Batch, Patch: []int{8, 8, 8}})
	for step := done + 1; step <= s.Steps; step++ {
		select {
		case <-ctx.Done():
			say(trainers.Event{Kind: trainers.Broke, Fault: "canceled", Message: "stopped"})
			os.Exit(1)
		case <-time.After(s.Pause):
		}
		if step == s.Steps && s.Fail != "" {
			say(trainers.Event{Kind: trainers.Broke, Fault: s.Fault, Message: s.Fail})
			os.Exit(1)
		}
		if step == s.Crash {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		say(trainers.Event{
			Kind: trainers.Progress, Step: step, Steps: s.Steps, Epoch: 1 + (step-1)*epochs/s.Steps, Epochs: epochs,
			Loss: 1 / float64(step), Samples: 12.5, ETA: float64(s.Steps - step),
		})
		if s.Warn != "" && step == 1 {
			say(trainers.Event{Kind: trainers.Warned, Message: s.Warn})
		}
		if err := os.WriteFile(kept, []byte(strconv.Itoa(step)), 0o600); err != nil {
			return err
		}
		say(trainers.Event{Kind: trainers.Checkpoint, Step: step})
	}
	dice := map[string]float64{"anterior": 0.5, "posterior": 0.75}
	say(trainers.Event{Kind: trainers.Validated, Epoch: epochs, Epochs: epochs, Dice: dice, Mean: 0.625, Best: true})
	if err := os.CopyFS(r.Out, os.DirFS(r.Model)); err != nil {
		return err
	}
	say(trainers.Event{Kind: trainers.Finished, Result: &trainers.Result{Model: r.Out, Steps: s.Steps, Epochs: epochs, Dice: dice, Mean: 0.625}})
	return nil
}
