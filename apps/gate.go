package apps

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
)

// gate bounds how many inferences may hold memory at once, running and
// waiting together.
type gate struct {
	limit   int64
	now     atomic.Int64
	idle    chan struct{}          // told when nobody is left
	preempt atomic.Pointer[func()] // called when somebody comes; must be quick
}

// enter takes a place or refuses with fault.Busy.
func (g *gate) enter() error {
	if g.now.Add(1) > g.limit {
		g.now.Add(-1)
		return fault.New(fault.Busy, "%d inferences are running or waiting already; try again later", g.limit)
	}
	if f := g.preempt.Load(); f != nil {
		(*f)()
	}
	return nil
}

func (g *gate) leave() {
	if g.now.Add(-1) > 0 {
		return
	}
	select {
	case g.idle <- struct{}{}:
	default:
	}
}

// quiet waits until no inference runs or waits, for as long as patience at most;
// forced tells that this was the end of it. There is one caller at a time.
func (g *gate) quiet(ctx context.Context, patience time.Duration) (forced bool, err error) {
	enough := time.NewTimer(patience)
	defer enough.Stop()
	for g.now.Load() > 0 {
		select {
		case <-g.idle:
		case <-enough.C:
			return true, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return false, ctx.Err()
}
