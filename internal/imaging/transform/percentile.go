package transform

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/voxloop/voxloop/internal/imaging"
)

// Percentiles returns the q-th percentiles (q in 0..100) of all values,
// interpolated linearly between sorted values as NumPy does. NaN sorts above
// everything. Values are selected by two counting passes over their bits, so
// nothing is copied or sorted.
func (c Channels) Percentiles(ctx context.Context, q []float64) ([]float64, error) {
	var n int
	for _, v := range c {
		n += len(v)
	}
	if n == 0 {
		return make([]float64, len(q)), nil
	}
	if n > math.MaxUint32 { // the counters' range
		return nil, fmt.Errorf("%w: percentiles of %d values", imaging.ErrLimit, n)
	}
	ranks, part := make([]int, 0, 2*len(q)), make([]float64, len(q))
	for i, p := range q {
		var lo int
		lo, part[i] = place(p, n)
		ranks = append(ranks, lo, min(lo+1, n-1))
	}
	values, err := c.ranked(ctx, ranks)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(q))
	for i := range q {
		lo, hi := float64(values[2*i]), float64(values[2*i+1])
		out[i] = lo
		if lo != hi && part[i] > 0 { // equal infinities have no difference, and no part of an infinite one is 0
			out[i] += part[i] * (hi - lo)
		}
	}
	return out, nil
}

// place returns the rank below the percentile and the part of the way to the
// next one. As in PyTorch, the place is a float32 product while float32 counts
// n values exactly.
func place(percent float64, n int) (below int, part float64) {
	f := min(max(percent, 0), 100) / 100
	at := f * float64(n-1)
	if n <= 1<<24 {
		at = float64(float32(f) * float32(n-1))
	}
	below = min(int(at), n-1)
	return below, at - float64(below)
}

// sortKey maps a float32 to an integer of the same order.
func sortKey(x float32) uint32 {
	b := math.Float32bits(x)
	if b>>31 == 1 {
		return ^b
	}
	return b | 1<<31
}

func keyValue(k uint32) float32 {
	if k>>31 == 1 {
		return math.Float32frombits(k &^ (1 << 31))
	}
	return math.Float32frombits(^k)
}

// half is the number of values of 16 bits.
const half = 1 << 16

// ranked returns the values that would stand at the given places after
// sorting: the upper halves of their keys are found first, then, among the
// values that share one of them, the lower halves.
func (c Channels) ranked(ctx context.Context, ranks []int) ([]float32, error) {
	high, err := c.tally(ctx, half, func(k uint32) int { return int(k >> 16) })
	if err != nil {
		return nil, err
	}
	bin, rest := make([]int, len(ranks)), make([]int, len(ranks)) // the upper half, and the place among those that share it
	slot := make([]int, half)                                     // where the lower halves of an upper half are counted; -1: nowhere
	for b := range slot {
		slot[b] = -1
	}
	slots := 0
	for i, r := range ranks {
		bin[i], rest[i] = seek(high, r)
		if slot[bin[i]] < 0 {
			slot[bin[i]] = slots * half
			slots++
		}
	}
	low, err := c.tally(ctx, slots*half, func(k uint32) int {
		if s := slot[k>>16]; s >= 0 {
			return s + int(k&(half-1))
		}
		return -1
	})
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(ranks))
	for i := range ranks {
		at := slot[bin[i]]
		l, _ := seek(low[at:at+half], rest[i])
		out[i] = keyValue(uint32(bin[i]<<16 | l)) //nolint:gosec // two halves of 16 bits
	}
	return out, nil
}

// seek returns the bin that holds the value of a rank, and its rank in there.
func seek(count []uint32, rank int) (bin, rest int) {
	for rank >= int(count[bin]) {
		rank -= int(count[bin])
		bin++
	}
	return bin, rank
}

// tally counts all values by the index that at gives their sort keys; those
// below 0 are left out. It runs on all cores, each with counters of its own.
// All channels together hold at most 2^32-1 values.
func (c Channels) tally(ctx context.Context, size int, at func(key uint32) int) ([]uint32, error) {
	total := make([]uint32, size)
	var mu sync.Mutex
	for _, v := range c {
		err := Parallel(ctx, (len(v)+block-1)/block, func(ctx context.Context, from, to int) error {
			mine := make([]uint32, size)
			for b := from; b < to; b++ {
				if err := ctx.Err(); err != nil {
					return err
				}
				for _, x := range v[b*block : min((b+1)*block, len(v))] {
					if i := at(sortKey(x)); i >= 0 {
						mine[i]++
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for i, n := range mine {
				total[i] += n
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return total, nil
}
