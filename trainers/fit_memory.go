package trainers

import (
	"context"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/trainers/native"
)

// reopen opens the step and its batches; the values of a step that was open go
// on. cause is why it is opened again: memory was short, and the batch or the
// patch must become smaller.
func (f *fit) reopen(ctx context.Context, cause error) error {
	var values *native.State
	if f.step != nil {
		s := f.step.State()
		values = &s
		f.close()
		f.step, f.batches = nil, nil
	}
	shrunk := false
	for {
		if cause != nil {
			if !f.shrink() {
				return fault.Wrap(fault.TooLarge, cause, "the memory of this machine is too small to train this network, even with batch %d and patch %v", f.state.Size, f.state.Patch)
			}
			shrunk = true
		}
		step, b, err := f.open(ctx, f.state.Size, f.state.Patch)
		if err == nil {
			f.step, f.batches = step, b
			break
		}
		// A network need not take every smaller patch: the next one may fit.
		if ctx.Err() != nil || !outOfMemory(err) && !(shrunk && fault.KindOf(err) == fault.Invalid) {
			return err
		}
		cause = err
	}
	if shrunk {
		f.warn("memory was short: training goes on with batch %d and patch %v", f.state.Size, f.state.Patch)
	}
	if values == nil {
		return nil
	}
	return f.step.SetState(*values)
}

// leastPatch is the smallest size of a patch's axis that shrinking leaves; sizes
// above stay multiples of it.
const leastPatch = 16

// shrink halves the batch, or at 1 the longest axis of the patch; false when
// nothing is left to be halved.
func (f *fit) shrink() bool {
	if f.state.Size > 1 {
		f.state.Size /= 2
		return true
	}
	longest := 0
	for i, n := range f.state.Patch {
		if n > f.state.Patch[longest] {
			longest = i
		}
	}
	n := f.state.Patch[longest]
	if n <= leastPatch {
		return false
	}
	f.state.Patch[longest] = max((n/2+leastPatch-1)/leastPatch*leastPatch, leastPatch)
	if f.state.Patch[longest] >= n {
		f.state.Patch[longest] = leastPatch
	}
	return true
}

// The words of ONNX Runtime, of the C++ library under it and of CUDA for memory
// that cannot be had. They are texts because no code comes with them.
var memoryWords = []string{"bad_alloc", "Failed to allocate memory", "out of memory", "smaller than requested bytes", "bad allocation"}

// outOfMemory tells whether the network failed for want of memory.
func outOfMemory(err error) bool {
	for _, w := range memoryWords {
		if err != nil && strings.Contains(err.Error(), w) {
			return true
		}
	}
	return false
}
