package apps

import (
	"context"
	"errors"
	"time"
)

// patience is how long a task in the background waits for people's requests to
// end before it takes a turn all the same: a server that is never idle gets its
// jobs done, too.
const patience = time.Minute

// background gives work that no person waits for its turns: one piece at a time,
// and only while no request for an inference is under way.
type background struct {
	gate     *gate
	turn     chan struct{} // holds an element while somebody has the turn
	patience time.Duration
}

func newBackground(g *gate) *background {
	return &background{gate: g, turn: make(chan struct{}, 1), patience: patience}
}

// enter waits for the turn of a task. leave must be called after the piece of
// work. forced tells that patience ended first.
func (b *background) enter(ctx context.Context) (leave func(), forced bool, err error) {
	if leave, err = b.take(ctx); err != nil {
		return nil, false, err
	}
	if forced, err = b.gate.quiet(ctx, b.patience); err != nil {
		leave()
		return nil, false, err
	}
	return leave, forced, nil
}

func (b *background) take(ctx context.Context) (leave func(), err error) {
	select {
	case b.turn <- struct{}{}:
		return func() { <-b.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// spare waits for a turn as long as it takes, and does not keep tasks from
// theirs meanwhile.
func (b *background) spare(ctx context.Context) (leave func(), err error) {
	for {
		if _, err := b.gate.quiet(ctx, 0); err != nil {
			return nil, err
		}
		if leave, err = b.take(ctx); err != nil || b.gate.now.Load() <= 0 {
			return leave, err
		}
		leave()
	}
}

// yield gives the turn of a task to work that gives way: the context of fn ends
// when somebody asks for an inference meanwhile, unless firm is set or patience
// ended first. gave tells that this happened: fn did not finish and wants
// another turn.
func (b *background) yield(ctx context.Context, firm bool, fn func(context.Context) error) (gave bool, err error) {
	leave, forced, err := b.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	return b.work(ctx, firm || forced, fn)
}

// yieldSpare is yield for work of no task, which waits for a turn as long as it
// takes.
func (b *background) yieldSpare(ctx context.Context, firm bool, fn func(context.Context) error) (gave bool, err error) {
	leave, err := b.spare(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	return b.work(ctx, firm, fn)
}

func (b *background) work(ctx context.Context, firm bool, fn func(context.Context) error) (gave bool, err error) {
	if firm {
		return false, fn(ctx)
	}
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := func() { cancel(errGaveWay) }
	b.gate.preempt.Store(&stop)
	defer b.gate.preempt.Store(nil)
	if b.gate.now.Load() > 0 { // somebody came before the gate knew whom to tell
		return true, errGaveWay
	}
	err = fn(inner)
	return err != nil && ctx.Err() == nil && errors.Is(context.Cause(inner), errGaveWay), err
}

var errGaveWay = errors.New("a request for an inference goes first")
