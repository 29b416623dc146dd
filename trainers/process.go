package trainers

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
)

// Process is a Trainer that runs another program. The program reads the Request
// as one line of JSON from its standard input, which then stays open: its end is
// the signal to stop. It writes Events to its standard output, one line of JSON
// each, and whatever it likes to standard error, which goes to the log. It ends
// after a finished or a failed event (docs/trainers.md).
//
// The program runs in a process group of its own, at low priority. When ctx ends
// its input is closed and the group gets SIGTERM, and SIGKILL if it still lives
// after Grace; nothing of the group is left when Train returns. Several
// trainings may run at once.
type Process struct {
	Command []string // program and arguments; a name without a slash is looked up in PATH
	Dir     string   // working folder; "": the present one
	Env     []string // added to the environment of this process

	Nice   int           // added to the niceness; 0 means 10, less than 0 leaves it
	Grace  time.Duration // from SIGTERM to SIGKILL; 0 means 800 ms
	Settle time.Duration // how long the program may take to end after its last event; 0 means 10 s
	Logger *slog.Logger  // gets standard error; nil means slog.Default()
}

var _ Trainer = (*Process)(nil)

const (
	defaultNice   = 10
	defaultGrace  = 800 * time.Millisecond
	defaultSettle = 10 * time.Second
	never         = 1<<63 - 1
	drain         = time.Second // for output that is still in the pipes when the program has ended
)

// Train implements Trainer. Beside the faults that the program reports: Conflict
// when Request.Out exists, Unavailable when the program cannot be started,
// Internal when it ends without a result.
func (p *Process) Train(ctx context.Context, r Request, report func(Event)) (Result, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return Result{}, fault.Wrap(fault.Internal, err, "the training request cannot be written")
	}
	if err := ctx.Err(); err != nil {
		return Result{}, stopped(err)
	}
	if _, err := os.Lstat(r.Out); !errors.Is(err, fs.ErrNotExist) {
		return Result{}, fault.Wrap(fault.Conflict, errors.Join(err, fs.ErrExist), "the folder for the trained model exists already")
	}
	begin := time.Now()
	c, err := p.spawn()
	if err != nil {
		return Result{}, err
	}
	t := newTalk(p.logger(), report)
	finish := t.listen(c, append(line, '\n'))
	canceled := p.wait(ctx, c, t)
	finish()
	res, err := p.conclude(c, t, r, canceled)
	if err != nil {
		// Whatever is there is no trained model.
		return Result{}, errors.Join(err, os.RemoveAll(r.Out))
	}
	if res.Took <= 0 {
		res.Took = time.Since(begin)
	}
	return res, nil
}

func (p *Process) logger() *slog.Logger {
	if p.Logger == nil {
		return slog.Default()
	}
	return p.Logger
}

func orDefault(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// wait returns when the program has ended, having seen to it that it does. It
// reports whether ctx ended before the program's last event.
func (p *Process) wait(ctx context.Context, c *child, t *talk) (canceled bool) {
	grace := orDefault(p.Grace, defaultGrace)
	stop, over := ctx.Done(), t.over
	kill := time.NewTimer(never)
	defer kill.Stop()
	for {
		select {
		case <-c.done:
			return canceled
		case <-kill.C:
			c.kill()
			continue
		case <-over:
			over = nil
			c.hangUp()
			if stop == nil {
				continue // it is being ended already
			}
			if !t.spoilt() {
				kill.Reset(orDefault(p.Settle, defaultSettle))
				continue
			}
		case <-stop:
			stop = nil
			canceled = over != nil
			c.hangUp()
		}
		c.signal(syscall.SIGTERM)
		kill.Reset(grace)
	}
}

func stopped(cause error) error {
	return fault.Wrap(fault.Canceled, cause, "the training was stopped")
}
