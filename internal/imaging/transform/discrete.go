package transform

import (
	"context"
	"fmt"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Binarize replaces every value by 1 when it is at least limit, else by 0.
//
// Source: MONAI AsDiscrete with a threshold.
func (c Channels) Binarize(ctx context.Context, limit float64) error {
	t := float32(limit)
	return c.each(ctx, func(v []float32) {
		for i, x := range v {
			v[i] = 0
			if x >= t {
				v[i] = 1
			}
		}
	})
}

// Round replaces every value by the nearest integer, halves to even.
//
// Source: MONAI AsDiscrete with rounding.
func (c Channels) Round(ctx context.Context) error {
	return c.each(ctx, func(v []float32) {
		for i, x := range v {
			v[i] = float32(math.RoundToEven(float64(x)))
		}
	})
}

// OneHot returns classes channels: channel k is 1 where the label is k, else 0.
// A label without a channel is an error (fault.Invalid) that names its place.
//
// Source: MONAI AsDiscrete with to_onehot.
func OneHot(ctx context.Context, labels []uint16, classes int) (Channels, error) {
	if classes < 1 || classes > math.MaxUint16+1 {
		return nil, fault.New(fault.Invalid, "%d classes are not in 1 to 65536", classes)
	}
	out := make(Channels, classes)
	for k := range out {
		out[k] = make([]float32, len(labels))
	}
	err := overLabels(ctx, len(labels), func(from, to int) error {
		for i := from; i < to; i++ {
			l := int(labels[i])
			if l >= classes {
				return fault.New(fault.Invalid, "label %d at voxel %d has no channel: there are %d classes", l, i, classes)
			}
			out[l][i] = 1
		}
		return nil
	})
	return out, err
}

// FilterLabels sets all labels that are not in keep to 0.
//
// Source: MONAI LabelFilter.
func FilterLabels(ctx context.Context, labels, keep []uint16) error {
	var stays [math.MaxUint16 + 1]bool
	for _, l := range keep {
		stays[l] = true
	}
	return overLabels(ctx, len(labels), func(from, to int) error {
		for i, l := range labels[from:to] {
			if !stays[l] {
				labels[from+i] = 0
			}
		}
		return nil
	})
}

// Mean returns the weighted mean of several results, channel by channel:
// Σ w·x / Σ w. Without weights all count the same.
//
// Source: MONAI MeanEnsemble.
func Mean(ctx context.Context, results []Channels, weights []float64) (Channels, error) {
	if len(results) == 0 {
		return nil, fault.New(fault.Invalid, "there are no results to take the mean of")
	}
	if weights != nil && len(weights) != len(results) {
		return nil, fault.New(fault.Invalid, "%d weights for %d results", len(weights), len(results))
	}
	total := float64(len(results))
	if weights != nil {
		total = 0
		for _, w := range weights {
			total += w
		}
	}
	if total == 0 || math.IsNaN(total) || math.IsInf(total, 0) {
		return nil, fault.New(fault.Invalid, "the weights sum to %g", total)
	}
	out := make(Channels, len(results[0]))
	for c := range out {
		out[c] = make([]float32, len(results[0][c]))
	}
	for r, one := range results {
		w := float32(1 / total)
		if weights != nil {
			w = float32(weights[r] / total)
		}
		err := one.zip(ctx, out, func(v, o []float32) {
			for i, x := range v {
				o[i] += w * x
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Vote returns the most frequent label per voxel, the lowest of those that are
// equally frequent.
//
// Source: MONAI VoteEnsemble.
func Vote(ctx context.Context, results [][]uint16) ([]uint16, error) {
	if len(results) == 0 {
		return nil, fault.New(fault.Invalid, "there are no results to vote")
	}
	for r, one := range results {
		if len(one) != len(results[0]) {
			return nil, fmt.Errorf("%w: result %d holds %d labels, the first %d", imaging.ErrShape, r, len(one), len(results[0]))
		}
	}
	out := make([]uint16, len(results[0]))
	err := overLabels(ctx, len(out), func(from, to int) error {
		for i := from; i < to; i++ {
			out[i] = winner(results, i)
		}
		return nil
	})
	return out, err
}

// winner counts the votes of voxel i; there are few voters, so they are
// compared with each other.
func winner(results [][]uint16, i int) uint16 {
	var best uint16
	most := 0
	for _, a := range results {
		l, n := a[i], 0
		for _, b := range results {
			if b[i] == l {
				n++
			}
		}
		if n > most || n == most && l < best {
			best, most = l, n
		}
	}
	return best
}

// overLabels calls fn for blocks of [0, n), in parallel.
func overLabels(ctx context.Context, n int, fn func(from, to int) error) error {
	return Parallel(ctx, (n+block-1)/block, func(ctx context.Context, from, to int) error {
		for b := from; b < to; b++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(b*block, min((b+1)*block, n)); err != nil {
				return err
			}
		}
		return nil
	})
}
