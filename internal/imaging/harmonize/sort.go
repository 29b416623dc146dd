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

// distribution is an image's distribution function: the keys of its distinct
// values in ascending order, and how many voxels are not greater.
type distribution struct {
	keys, upTo []uint32
	n          float64 // voxels
}

// distributionOf looks at all values; there is at least one.
func distributionOf(ctx context.Context, v []float32) (distribution, error) {
	keys, err := sorted(ctx, v)
	if err != nil {
		return distribution{}, err
	}
	distinct := 0
	for i, k := range keys {
		if i == 0 || keys[i-1] != k {
			distinct++
		}
	}
	d := distribution{keys: make([]uint32, 0, distinct), upTo: make([]uint32, 0, distinct), n: float64(len(keys))}
	for i, k := range keys {
		if i+1 == len(keys) || keys[i+1] != k {
			d.keys = append(d.keys, k)
			d.upTo = append(d.upTo, uint32(i+1)) // a volume has fewer than 2^32 voxels
		}
	}
	return d, nil
}

func (d *distribution) value(i int) float64 { return float64(valueOf(d.keys[i])) }
func (d *distribution) share(i int) float64 { return float64(d.upTo[i]) / d.n }

// quantiles returns a function from a share of 0..1 to the value there,
// interpolated linearly between distinct values; it is the smallest value for
// shares below that one's. It must be called with shares that do not fall.
func (d *distribution) quantiles() func(share float64) float64 {
	i := 0 // the first value whose share is at least the one asked for
	return func(share float64) float64 {
		for i < len(d.keys)-1 && d.share(i) < share {
			i++
		}
		if i == 0 || d.share(i) <= share {
			return d.value(i)
		}
		lo, hi := d.share(i-1), d.share(i)
		return d.value(i-1) + (d.value(i)-d.value(i-1))*((share-lo)/(hi-lo))
	}
}
