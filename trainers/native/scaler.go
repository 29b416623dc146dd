package native

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// Scaling multiplies the loss by a number before the gradients are taken and
// divides the gradients by it afterwards, so that small ones survive a backward
// pass in half precision (Micikevicius et al., 2018). The number falls when a
// gradient overflows, and the step is skipped; it grows after a while without.
// In single precision a scale that is a power of 2 changes no bit of the result.
type Scaling struct {
	Initial float64 // 0: no scaling
	Growth  float64 // 0 means 2
	Backoff float64 // 0 means 0.5
	// Interval is the number of steps in a row without overflow after which
	// the scale grows; 0 means 2000.
	Interval int
}

// ErrOverflow is returned by Step.Run when the gradient overflowed at the
// present scale of Options.Scaling. The step has changed nothing; the next one
// has a lower scale.
var ErrOverflow = fault.New(fault.Invalid, "the gradient overflowed at the scale of the loss: the step was skipped, the next one has a lower scale")

func (s Scaling) on() bool { return s.Initial != 0 }

func (s Scaling) orDefault() Scaling {
	s.Growth, s.Backoff = orElse(s.Growth, 2), orElse(s.Backoff, 0.5)
	if s.Interval == 0 {
		s.Interval = 2000
	}
	return s
}

func (s Scaling) check() error {
	s = s.orDefault()
	if !(s.Initial >= 0 && s.Initial <= math.MaxFloat32 && s.Growth > 1 && s.Backoff > 0 && s.Backoff < 1 && s.Interval > 0 && s.Interval <= maxInterval) {
		return fault.New(fault.Invalid, "loss scaling needs a scale > 0, growth > 1, backoff in (0, 1) and an interval in [1, 2^24], not %g, %g, %g and %d",
			s.Initial, s.Growth, s.Backoff, s.Interval)
	}
	return nil
}

const maxInterval = 1 << 24 // counts up to it are exact in float32

// scaler is the changing part of a Scaling.
type scaler struct {
	scale float32
	good  int // steps in a row without overflow since the scale last changed
}

// smallestScale keeps the scale from vanishing when every gradient overflows.
const smallestScale = 1.0 / (1 << 24)

// update takes in whether the gradient at the present scale was finite.
func (c *scaler) update(s Scaling, finite bool) {
	s = s.orDefault()
	if !finite {
		c.scale, c.good = max(float32(float64(c.scale)*s.Backoff), smallestScale), 0
		return
	}
	if c.good++; c.good == s.Interval {
		c.good = 0
		if up := float64(c.scale) * s.Growth; up <= math.MaxFloat32 {
			c.scale = float32(up)
		}
	}
}

// vector and restore are the state as numbers of a checkpoint. The count is
// exact: it stays below maxInterval.
func (c *scaler) vector() []float32 { return []float32{c.scale, float32(c.good)} }

func (c *scaler) restore(v []float32) { c.scale, c.good = v[0], int(v[1]) }
