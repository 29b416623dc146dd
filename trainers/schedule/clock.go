package schedule

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// retry is the time between a start that failed and the next try.
const retry = time.Minute

// Hooks connect a Clock with what it drives.
type Hooks struct {
	// Start begins a training and returns soon; Clock.Ended tells of its end. An
	// error means that none began: it is tried again a minute later.
	Start func(cause string) error
	// Resumed tells that a training which an earlier program began goes on;
	// Clock.Ended tells of its end.
	Resumed bool
	// Save keeps the state for the next start of the program; nil: it is lost.
	Save   func(State) error
	Logger *slog.Logger // nil: slog.Default()
}

// Clock calls Start when the rules say so. It is safe for many goroutines.
type Clock struct {
	rules *Rules
	hooks Hooks

	mu    sync.Mutex
	state State
	tried time.Time // the last start that failed
	// Of the state before a training began, for the case that it cannot be
	// started.
	before State

	wake   chan struct{}
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewClock starts a clock from a saved state. Close ends it.
func NewClock(r *Rules, s State, h Hooks) *Clock {
	if h.Logger == nil {
		h.Logger = slog.Default()
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Clock{rules: r, hooks: h, state: r.Resume(s, time.Now(), h.Resumed), wake: make(chan struct{}, 1), cancel: cancel}
	c.wg.Go(func() { c.run(ctx) })
	return c
}

// Close stops the clock and waits for a Start in progress. It is safe to call
// twice.
func (c *Clock) Close() {
	c.cancel()
	c.wg.Wait()
}

// Labelled tells of a saved label.
func (c *Clock) Labelled() { c.change(c.rules.Labelled) }

// Began tells of a training that somebody else started, so that its labels do
// not start another one.
func (c *Clock) Began() { c.change(c.rules.Began) }

// Ended tells of the end of the training, however it ended.
func (c *Clock) Ended() { c.change(c.rules.Ended) }

// Want asks for a training as soon as nothing holds it back.
func (c *Clock) Want(reason string) {
	c.change(func(s State, now time.Time) State { return c.rules.Want(s, now, reason) })
}

func (c *Clock) change(f func(State, time.Time) State) {
	c.mu.Lock()
	c.state = f(c.state, time.Now())
	c.save()
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// save needs the lock.
func (c *Clock) save() {
	if c.hooks.Save == nil {
		return
	}
	if err := c.hooks.Save(c.state); err != nil {
		c.hooks.Logger.Warn("the schedule's state could not be saved; after a restart it is the earlier one", "err", err)
	}
}

// Status is what the clock knows now, for people.
type Status struct {
	State    State
	Next     time.Time // of the next look by the clock's own rules; zero: none
	Waiting  string
	NextCron time.Time // zero: no cron expression
}

// Status returns the present state.
func (c *Clock) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	d := c.rules.Decide(c.rules.Advance(c.state, now), now)
	return Status{State: c.state, Next: d.Next, Waiting: d.Waiting, NextCron: c.rules.nextCron(now)}
}

func (c *Clock) run(ctx context.Context) {
	for ctx.Err() == nil {
		d, wait := c.look()
		if d.Start {
			c.start(d.Cause)
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-c.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// maxWait is the longest time between two looks: timers follow the monotonic
// clock, schedules the wall clock, which summer time and a suspended machine
// move.
const maxWait = time.Minute

// look decides, and returns the time until the next look. A training that is
// due counts as begun from here on.
func (c *Clock) look() (Decision, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if wait := c.tried.Add(retry).Sub(now); wait > 0 && wait <= retry {
		return Decision{}, wait
	}
	due := c.state.Due
	c.state = c.rules.Advance(c.state, now)
	d := c.rules.Decide(c.state, now)
	if d.Start {
		c.before = c.state
		c.state = c.rules.Began(c.state, now)
		c.save()
		return d, 0
	}
	if due != c.state.Due {
		c.save()
	}
	if d.Next.IsZero() {
		return d, maxWait
	}
	return d, min(max(d.Next.Sub(now), time.Millisecond), maxWait)
}

// start begins a training. When that fails, its labels are new again and it is
// due still.
func (c *Clock) start(cause string) {
	c.hooks.Logger.Info("a training is due", "cause", cause)
	err := c.hooks.Start(cause)
	if err == nil {
		return
	}
	c.hooks.Logger.Warn("the training could not be started; it is tried again in a minute", "cause", cause, "err", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.tried = now
	c.state.NewLabels += c.before.NewLabels
	c.state.Started, c.state.Ended = c.before.Started, c.before.Ended
	c.state = c.rules.Want(c.state, now, cause)
	c.save()
}
