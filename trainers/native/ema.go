package native

import (
	"math"
	"sync"

	"github.com/voxloop/voxloop/internal/fault"
)

// Averaging is an exponential moving average of the network's values, of the
// parameters and the running statistics: after every step average = d·average +
// (1-d)·value, from the network's own values on.
type Averaging struct {
	Decay float64 // d, in (0, 1); 0: no average is kept
	// WarmUp starts with a short memory: the d of update t, from 1, is
	// min(Decay, (1+t)/(10+t)).
	WarmUp bool
	// CopyFirst starts from the values after the first step.
	CopyFirst bool
}

func (a Averaging) on() bool { return a.Decay != 0 }

func (a Averaging) check() error {
	if a.Decay < 0 || a.Decay >= 1 || math.IsNaN(a.Decay) {
		return fault.New(fault.Invalid, "the decay of the weights' moving average must lie in [0, 1), not %g", a.Decay)
	}
	return nil
}

// decay is d of update t, from 1.
func (a Averaging) decay(t int) float64 {
	switch {
	case a.CopyFirst && t == 1:
		return 0
	case a.WarmUp:
		return min(a.Decay, float64(1+t)/float64(10+t))
	}
	return a.Decay
}

// follow takes the values after step t into the average. It works in place,
// two readings and one writing of the vector: the same in the graph would be
// three operators with eight.
func (a Averaging) follow(average, values []float32, t int) {
	share := 1 - a.decay(t)
	inParts(len(average), func(from, to int) {
		for i, v := range values[from:to] { // rounded once
			x := float64(average[from+i])
			average[from+i] = float32(x + share*(float64(v)-x))
		}
	})
}

// partLength is the number of elements that are worth a goroutine.
const partLength = 1 << 18

// inParts works on the ranges of a vector at once. What is done to an element
// must not depend on the others.
func inParts(n int, work func(from, to int)) {
	if n <= partLength {
		work(0, n)
		return
	}
	var all sync.WaitGroup
	for from := 0; from < n; from += partLength {
		all.Go(func() { work(from, min(from+partLength, n)) })
	}
	all.Wait()
}
