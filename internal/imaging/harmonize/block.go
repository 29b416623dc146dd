package harmonize

import (
	"context"
	"math"
	"runtime"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// block is the number of values that one partial result covers. It does not
// depend on the number of cores, so neither does the rounding of a sum.
const block = 1 << 16

// partials calls fn for every block of v, in parallel, and returns the results
// in order. from is the place of the block's first value.
func partials[T any](ctx context.Context, v []float32, fn func(v []float32, from int) T) ([]T, error) {
	out := make([]T, (len(v)+block-1)/block)
	err := transform.Parallel(ctx, len(out), func(ctx context.Context, from, to int) error {
		for i := from; i < to; i++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			at := i * block
			out[i] = fn(v[at:min(at+block, len(v))], at)
		}
		return nil
	})
	return out, err
}

// each changes every block of v, in parallel.
func each(ctx context.Context, v []float32, fn func(v []float32, from int)) error {
	_, err := partials(ctx, v, func(v []float32, from int) struct{} { fn(v, from); return struct{}{} })
	return err
}

// shares cuts v into one part per core and calls fn for every part, in
// parallel: for results whose order does not matter and which are too large to
// have one per block. fn looks at its context between blocks.
func shares(ctx context.Context, v []float32, fn func(ctx context.Context, part []float32) error) error {
	workers := min(runtime.GOMAXPROCS(0), (len(v)+block-1)/block)
	return transform.Parallel(ctx, workers, func(ctx context.Context, from, to int) error {
		return fn(ctx, v[from*len(v)/workers:to*len(v)/workers])
	})
}

// blocks calls fn for consecutive pieces of v until ctx ends.
func blocks(ctx context.Context, v []float32, fn func(v []float32)) error {
	for from := 0; from < len(v); from += block {
		if err := ctx.Err(); err != nil {
			return err
		}
		fn(v[from:min(from+block, len(v))])
	}
	return nil
}

// checkFinite refuses NaN and infinite values (fault.Invalid), and an image
// without voxels.
func checkFinite(ctx context.Context, v []float32) error {
	if len(v) == 0 {
		return fault.New(fault.Invalid, "the image has no voxels")
	}
	parts, err := partials(ctx, v, func(v []float32, _ int) (bad int) {
		for _, x := range v {
			if math.Float32bits(x)&0x7f800000 == 0x7f800000 {
				bad++
			}
		}
		return bad
	})
	if err != nil {
		return err
	}
	bad := 0
	for _, p := range parts {
		bad += p
	}
	if bad > 0 {
		return fault.New(fault.Invalid, "%d of %d voxels are NaN or infinite; intensities cannot be harmonised", bad, len(v))
	}
	return nil
}
