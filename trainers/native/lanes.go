package native

import (
	"context"
	"slices"
	"sync"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ort"
)

// Separable tells whether a batch may be computed in Lanes: its loss is the mean
// of those of its samples, no sample sees another, and every one counts the same.
func (o Options) Separable() bool {
	loss := o.Loss
	if loss == nil {
		loss = DiceCE()
	}
	return loss.separable() && !o.BatchStatistics && o.IgnoreLabel == 0 && !o.Gradients
}

// LanesFor returns the largest number of lanes that threads can work on, 1 where
// the batch is not Separable.
func (o Options) LanesFor(threads int) int {
	if !o.Separable() || len(o.Shape) == 0 {
		return 1
	}
	n := int(o.Shape[0])
	for lanes := min(n, threads); lanes > 1; lanes-- {
		if n%lanes == 0 {
			return lanes
		}
	}
	return 1
}

func (o Options) checkLanes() error {
	switch {
	case o.Lanes < 0:
		return fault.New(fault.Invalid, "the number of lanes must not be negative: %d", o.Lanes)
	case o.Lanes < 2:
		return nil
	case o.Shape[0]%int64(o.Lanes) != 0:
		return fault.New(fault.Invalid, "a batch of %d samples cannot be cut into %d equal lanes", o.Shape[0], o.Lanes)
	case !o.Separable():
		return fault.New(fault.Invalid, "a batch whose samples count together (loss %T, ignored voxels or batch statistics) and one whose gradients are kept cannot be cut into lanes", o.Loss)
	}
	return nil
}

// parts returns the options of one lane: a step of several batches, cut finer.
func (o Options) parts() Options {
	o.Shape = slices.Clone(o.Shape)
	o.Shape[0] /= int64(o.Lanes)
	o.Accumulate *= o.Lanes
	return o
}

// lane computes loss and gradient of one part of a step after another, beside
// the other lanes.
type lane struct {
	session *ort.Session
	fixed   map[string][]float32 // image, labels, loss; gradients where it is one of several
	masks   *masks

	gradients gradients     // where it is one of several: those of its part
	runs      [2]*ort.Bound // runs[i] reads state i and writes the other
}

// ofLane tells whether a tensor of the step graph belongs to one part alone.
func (p *Program) ofLane(name string) bool {
	return name == p.image || name == inLabels || name == outLoss
}

// together runs fn for 0 to n-1 at the same time and returns the first error in
// their order. One that fails stops the others.
func together(ctx context.Context, n int, fn func(ctx context.Context, i int) error) error {
	if n == 1 {
		return fn(ctx, 0)
	}
	part, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if errs[i] = fn(part, i); errs[i] != nil {
				stop()
			}
		})
	}
	wg.Wait()
	return firstCause(ctx, errs)
}

// firstCause is the first error that is not merely the stop by another one.
func firstCause(ctx context.Context, errs []error) (first error) {
	for _, err := range errs {
		if err != nil && (first == nil || fault.KindOf(first) == fault.Canceled && ctx.Err() == nil) {
			first = err
		}
	}
	return first
}
