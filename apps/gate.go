package apps

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
)

// gate bounds how many inferences may hold memory at once, running and
// waiting together.
type gate struct {
	limit   int64
	now     atomic.Int64
	preempt atomic.Pointer[func()] // called when somebody comes; must be quick

	mu   sync.Mutex
	idle chan struct{} // closed when nobody is left; nil: nobody waits for that
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
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// left is closed when nobody is left the next time.
func (g *gate) left() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	return g.idle
}

// quiet waits until no inference runs or waits, for as long as patience at most
// (0: as long as it takes); forced tells that this was the end of it.
func (g *gate) quiet(ctx context.Context, patience time.Duration) (forced bool, err error) {
	var enough <-chan time.Time
	if patience > 0 {
		t := time.NewTimer(patience)
		defer t.Stop()
		enough = t.C
	}
	for {
		left := g.left()
		if g.now.Load() <= 0 {
			return false, ctx.Err()
		}
		select {
		case <-left:
		case <-enough:
			return true, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}
