package trainers

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/voxloop/voxloop/internal/fault"
)

// modelFiles are what makes a folder a model.
var modelFiles = []string{"manifest.yaml", "model.onnx"}

// conclude turns what the program said and how it ended into a result or a
// fault.
func (p *Process) conclude(c *child, t *talk, r Request, canceled bool) (Result, error) {
	switch {
	case t.last != nil && t.last.Kind == Finished:
		return t.result(c, r)
	case canceled:
		return Result{}, stopped(errors.New("the caller asked for it"))
	case t.last != nil:
		return Result{}, t.failure()
	case t.spoilt() && t.garbage != "":
		return Result{}, fault.New(fault.Invalid, "the trainer was stopped: more than %d of its lines are no events, for example %q", maxGarbage, t.garbage)
	}
	return Result{}, t.collapse(c.exit)
}

// result checks that the model is there.
func (t *talk) result(c *child, r Request) (Result, error) {
	res := Result{Steps: t.steps, Epochs: t.epochs}
	if t.last.Result != nil {
		res = *t.last.Result
	}
	res.Model = r.Out
	if res.Warnings == nil {
		res.Warnings = t.warnings
	}
	for _, name := range modelFiles {
		if info, err := os.Stat(filepath.Join(r.Out, name)); err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
			return Result{}, fault.Wrap(fault.Internal, errors.Join(err, errors.New("finished without a model")),
				"the trainer says that it finished, but its model folder has no %s", name)
		}
	}
	switch {
	case c.killed:
		t.log.Warn("trainer had to be killed after it had finished")
	case c.exit != nil:
		t.log.Warn("trainer finished and then ended badly", "err", c.exit)
	}
	return res, nil
}

// failure is the fault that a failed event tells.
func (t *talk) failure() error {
	msg := t.last.Message
	if msg == "" {
		msg = "the training failed; the log says why"
	}
	return &fault.Error{Kind: kindNamed(t.last.Fault), Msg: msg, Err: t.lastWords()}
}

// kindNamed returns the kind of a name; an unknown one is Internal.
func kindNamed(name string) fault.Kind {
	for k := fault.Internal; k <= fault.Canceled; k++ {
		if k.String() == name {
			return k
		}
	}
	return fault.Internal
}

// collapse is the fault of a program that ended without a last event.
func (t *talk) collapse(exit error) error {
	var e *exec.ExitError
	if !errors.As(exit, &e) {
		return t.died("the trainer ended without a finished event")
	}
	ws, ok := e.Sys().(syscall.WaitStatus)
	switch {
	case ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL:
		return t.died("the trainer was killed (signal 9), probably because memory ran out: a smaller train_batch_size or patch needs less")
	case ok && ws.Signaled():
		return t.died("the trainer was ended by a signal (" + ws.Signal().String() + "); the log says more")
	}
	return t.died("the trainer ended with " + e.ProcessState.String() + "; the log says more")
}

func (t *talk) died(msg string) error {
	return &fault.Error{Kind: fault.Internal, Msg: msg, Err: t.lastWords()}
}

// lastWords is the last line of the log as a cause: not for clients.
func (t *talk) lastWords() error {
	if t.words == "" {
		return nil
	}
	return errors.New("last line of its log: " + t.words)
}
