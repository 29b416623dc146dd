package trainers

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/augment"
)

// slot is a batch in work.
type slot struct {
	batch *Batch
	left  int // patches that are not there yet
	err   error
	done  chan struct{} // closed with the last patch
}

// task is one patch of a batch.
type task struct {
	slot  *slot
	place int
}

// Next returns the batch of a step, from 0, and has those of the following
// steps prepared. The batch may be used until the following call of Next.
// Errors: Canceled when ctx ends, Unavailable after Close, and what keeps every
// case from being loaded.
func (l *Loader) Next(ctx context.Context, step int) (*Batch, error) {
	if step < 0 {
		return nil, fault.New(fault.Invalid, "there is no step %d", step)
	}
	s, err := l.request(step)
	if err != nil {
		return nil, err
	}
	select {
	case <-s.done:
	case <-l.ctx.Done():
		return nil, errLoaderClosed()
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Canceled, context.Cause(ctx), "the training was stopped")
	}
	l.mu.Lock()
	warnings := l.warnings
	l.warnings = nil
	delete(l.slots, step)
	if s.err == nil {
		l.last = s.batch
	}
	l.mu.Unlock()
	for _, w := range warnings {
		l.o.Warn(w)
	}
	if s.err != nil {
		return nil, s.err
	}
	return s.batch, nil
}

func errLoaderClosed() error {
	return fault.New(fault.Unavailable, "the batches of the training have been closed")
}

// request puts the batches of the steps from step on to work.
func (l *Loader) request(step int) (*slot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errLoaderClosed()
	}
	if l.last != nil {
		l.spare, l.last = append(l.spare, l.last), nil
	}
	for at, s := range l.slots {
		if at < step || at > step+l.o.Ahead { // from before a jump
			delete(l.slots, at)
			l.queue = slices.DeleteFunc(l.queue, func(t task) bool { return t.slot == s })
		}
	}
	for at := step; at <= step+l.o.Ahead; at++ {
		if l.slots[at] == nil {
			s := &slot{batch: l.blank(at), left: l.o.Batch, done: make(chan struct{})}
			l.slots[at] = s
			for i := range l.o.Batch {
				l.queue = append(l.queue, task{s, i})
			}
		}
	}
	l.wake.Broadcast()
	return l.slots[step], nil
}

// blank returns a batch to be filled. It needs the lock.
func (l *Loader) blank(step int) *Batch {
	if n := len(l.spare); n > 0 {
		b := l.spare[n-1]
		l.spare = l.spare[:n-1]
		b.Step = step
		return b
	}
	n := l.o.Batch * l.o.Patch[0] * l.o.Patch[1] * l.o.Patch[2]
	return &Batch{
		Step: step, X: make([]float32, n*l.spec.Channels), Labels: make([]float32, n), Cases: make([]string, l.o.Batch),
	}
}

// work fills patches until the loader is closed.
func (l *Loader) work() {
	labels := make([]uint16, l.o.Patch[0]*l.o.Patch[1]*l.o.Patch[2])
	for {
		t, ok := l.take()
		if !ok {
			return
		}
		err := l.fillSafely(t, labels)
		l.mu.Lock()
		t.slot.left--
		if err != nil && t.slot.err == nil {
			t.slot.err = err
		}
		if t.slot.left == 0 {
			close(t.slot.done)
		}
		l.mu.Unlock()
	}
}

func (l *Loader) take() (task, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.wake.Wait()
	}
	if l.closed {
		return task{}, false
	}
	t := l.queue[0]
	l.queue = l.queue[1:]
	return t, true
}

// fillSafely turns a panic over a strange case into an error of its batch.
func (l *Loader) fillSafely(t task, labels []uint16) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.Wrap(fault.Internal, fmt.Errorf("panic: %v\n%s", p, debug.Stack()), "a batch could not be prepared")
		}
	}()
	return l.fill(t.slot.batch, t.place, labels)
}

// fill makes one patch of a batch. A case that cannot be loaded any more is
// replaced by the next one of the pass.
func (l *Loader) fill(b *Batch, place int, labels []uint16) error {
	number := b.Step*l.o.Batch + place
	order := l.pass(number / len(l.cases))
	var err error
	for k := range order {
		c := l.cases[order[(number+k)%len(order)]]
		if l.isBad(c) {
			continue
		}
		var s *Sample
		if s, err = l.data.Load(l.ctx, c.Case); err == nil {
			return l.cut(b, place, number, c, s, labels)
		}
		reason, ok := caseFault(l.ctx, err)
		if !ok {
			return err
		}
		l.leaveOut(c, reason)
	}
	if err == nil {
		err = fault.New(fault.Invalid, "none of the cases can be loaded any more")
	}
	return err
}

func (l *Loader) isBad(c *loaderCase) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.bad
}

func (l *Loader) leaveOut(c *loaderCase, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.bad {
		c.bad = true
		l.warnings = append(l.warnings, "left out from here on: "+reason)
	}
}

// cut takes a patch out of a case and augments it.
func (l *Loader) cut(b *Batch, place, number int, c *loaderCase, s *Sample, labels []uint16) error {
	n := len(labels)
	src := &augment.Patch{Channels: s.Channels, Size: s.Size, Spacing: s.Spacing, Data: s.Image, Labels: s.Labels}
	dst := &augment.Patch{
		Channels: l.spec.Channels, Size: l.o.Patch, Labels: labels,
		Data: b.X[place*n*l.spec.Channels : (place+1)*n*l.spec.Channels],
	}
	at := c.places
	if at.size != s.Size { // the file has changed since it was looked at
		at = placesOf(s, l.o.IgnoreIndex, l.o.Seed)
	}
	key := augment.Key{Seed: l.o.Seed, Case: c.ID, Step: uint64(number)} //nolint:gosec // counts up from 0
	if err := l.augment.Sample(l.ctx, key, src, l.sampler.origin(number, c.ID, at), dst); err != nil {
		return err
	}
	for i, v := range labels {
		b.Labels[place*n+i] = float32(v)
	}
	b.Cases[place] = c.ID
	return nil
}

// keptPasses is how many orders are remembered: batches in work lie in few
// passes.
const keptPasses = 8

// pass returns the order of the cases in a pass.
func (l *Loader) pass(n int) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o, ok := l.passes[n]; ok {
		return o
	}
	if len(l.passes) >= keptPasses {
		clear(l.passes)
	}
	l.passes[n] = l.sampler.order(n)
	return l.passes[n]
}
