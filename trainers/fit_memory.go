package trainers

import (
	"context"
	"errors"
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
	if errors.Is(err, errMemory) {
		return true
	}
	for _, w := range memoryWords {
		if err != nil && strings.Contains(err.Error(), w) {
			return true
		}
	}
	return false
}

// errMemory is the cause where a step is not even tried.
var errMemory = errors.New("memory is short")

// What a step takes beyond native.Program.Memory: ONNX Runtime rounds up and
// keeps pieces for the next step. Measured: 0.8 to 1.5 times the estimate.
const (
	memoryNumerator, memoryDenominator = 3, 2
	memoryBase                         = 64 << 20
)

// recomputations are the numbers of segments that are tried to make a step fit.
var recomputations = []int{2, 3, 4, 6, 8}

// compile derives the step. Where it would not fit into the memory that is free,
// it computes parts of its forward pass twice; when that is not enough either, the
// error is errMemory. (Linux gives out memory that it does not have and kills
// somebody later, so waiting for an allocation to fail would not do.)
func (e *engine) compile(o native.Options) (*native.Program, error) {
	p, err := native.Compile(e.spec.Network, o)
	if err != nil {
		return nil, err
	}
	limit := e.c.MemoryBytes
	if limit <= 0 {
		limit = freeMemory()
	}
	if limit <= 0 || taken(p) <= limit {
		return p, nil
	}
	for _, o.Segments = range recomputations {
		q, err := native.Compile(e.spec.Network, o)
		if err != nil {
			return nil, err
		}
		if taken(q) <= limit {
			e.warn("memory is short (%d MB for a step): parts of the network are computed twice to save some", limit>>20)
			return q, nil
		}
	}
	return nil, fault.Wrap(fault.TooLarge, errMemory, "a step of batch %d with patch %v takes about %d MB, and %d MB are free", o.Shape[0], o.Shape[2:], taken(p)>>20, limit>>20)
}

// taken is what a step takes in all.
func taken(p *native.Program) int64 { return p.Memory()/memoryDenominator*memoryNumerator + memoryBase }
