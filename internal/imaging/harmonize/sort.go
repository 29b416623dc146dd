package harmonize

import (
	"context"
	"runtime"

	"golang.org/x/sync/errgroup"
)

const (
	digitBits = 11 // three digits make a key
	digits    = 1 << digitBits
)

// sorted returns the keys of v in ascending order: parts are sorted by their
// digits on all cores, then merged pairwise. The time is linear in len(v).
func sorted(ctx context.Context, v []float32) ([]uint32, error) {
	workers := max(1, min(runtime.GOMAXPROCS(0), len(v)/block))
	keys, spare := make([]uint32, len(v)), make([]uint32, len(v))
	bound := make([]int, workers+1)
	for i := range bound {
		bound[i] = i * len(v) / workers
	}
	g, gctx := errgroup.WithContext(ctx)
	for w := range workers {
		g.Go(func() error {
			lo, hi := bound[w], bound[w+1]
			for i, x := range v[lo:hi] {
				keys[lo+i] = keyOf(x)
			}
			return radixSort(gctx, keys[lo:hi], spare[lo:hi])
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for len(bound) > 2 {
		var next errgroup.Group
		merged := []int{0}
		for i := 0; i+1 < len(bound); i += 2 {
			lo, mid, hi := bound[i], bound[i+1], bound[min(i+2, len(bound)-1)]
			merged = append(merged, hi)
			next.Go(func() error {
				merge(spare[lo:hi], keys[lo:mid], keys[mid:hi])
				return ctx.Err()
			})
		}
		if err := next.Wait(); err != nil {
			return nil, err
		}
		keys, spare, bound = spare, keys, merged
	}
	return keys, nil
}

// radixSort sorts keys digit by digit from the lowest; spare is as long.
func radixSort(ctx context.Context, keys, spare []uint32) error {
	from, to := keys, spare
	for shift := 0; shift < 32; shift += digitBits {
		if err := ctx.Err(); err != nil {
			return err
		}
		var next [digits]int
		for _, k := range from {
			next[k>>shift&(digits-1)]++
		}
		sum := 0
		for d, n := range next {
			next[d] = sum
			sum += n
		}
		for _, k := range from {
			d := k >> shift & (digits - 1)
			to[next[d]] = k
			next[d]++
		}
		from, to = to, from
	}
	copy(keys, from) // three passes end in spare
	return nil
}

// merge merges two sorted lists into dst.
func merge(dst, a, b []uint32) {
	for i := range dst {
		if len(b) == 0 || len(a) > 0 && a[0] <= b[0] {
			dst[i], a = a[0], a[1:]
		} else {
			dst[i], b = b[0], b[1:]
		}
	}
}

// distribution is an image's distribution function: its distinct values in
// ascending order, and the share of voxels that are not greater.
type distribution struct{ values, share []float64 }

// distributionOf looks at all values; there is at least one.
func distributionOf(ctx context.Context, v []float32) (distribution, error) {
	keys, err := sorted(ctx, v)
	if err != nil {
		return distribution{}, err
	}
	var d distribution
	for i, k := range keys {
		if i+1 == len(keys) || keys[i+1] != k {
			d.values = append(d.values, float64(valueOf(k)))
			d.share = append(d.share, float64(i+1)/float64(len(keys)))
		}
	}
	return d, nil
}

// quantile returns the value at a share of 0..1, interpolated linearly between
// distinct values; it is the smallest value for shares below that one's.
func (d distribution) quantile(share float64) float64 { return interpolate(d.share, d.values, share) }

// interpolate returns y at x on the line through the points (xs, ys), xs
// strictly rising, and the end's value beyond the ends.
func interpolate(xs, ys []float64, x float64) float64 {
	lo, hi := 0, len(xs)-1
	switch {
	case x <= xs[lo]:
		return ys[lo]
	case x >= xs[hi]:
		return ys[hi]
	}
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; xs[mid] <= x {
			lo = mid
		} else {
			hi = mid
		}
	}
	if xs[lo] == x {
		return ys[lo]
	}
	return ys[lo] + (ys[hi]-ys[lo])*((x-xs[lo])/(xs[hi]-xs[lo]))
}
