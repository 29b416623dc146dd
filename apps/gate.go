package apps

import (
	"sync/atomic"

	"github.com/voxloop/voxloop/internal/fault"
)

// gate bounds how many inferences may hold memory at once, running and
// waiting together.
type gate struct {
	limit int64
	now   atomic.Int64
}

// enter takes a place or refuses with fault.Busy.
func (g *gate) enter() error {
	if g.now.Add(1) > g.limit {
		g.now.Add(-1)
		return fault.New(fault.Busy, "%d inferences are running or waiting already; try again later", g.limit)
	}
	return nil
}

func (g *gate) leave() { g.now.Add(-1) }
