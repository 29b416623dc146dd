package harmonize

import (
	"context"
	"math"
	"sync"
)

// half is the number of values of one half of a key.
const half = 1 << 16

// keyOf maps a float32 to an integer of the same order; -0 counts as 0.
func keyOf(x float32) uint32 {
	b := math.Float32bits(x + 0)
	if b>>31 == 1 {
		return ^b
	}
	return b | 1<<31
}

func valueOf(k uint32) float32 {
	if k>>31 == 1 {
		return math.Float32frombits(k &^ (1 << 31))
	}
	return math.Float32frombits(^k)
}

// ranker finds the values at given ranks of one or many arrays without keeping
// or sorting them: the upper halves of the keys are counted, then, in a second
// pass, the lower halves of those keys whose upper half holds a wanted rank.
// Counts are whole numbers, so the order of arrays and cores does not matter.
type ranker struct {
	mu    sync.Mutex
	n     int
	high  [half]int
	pages map[uint32]*[half]int // by upper half
}

// countHigh is the first pass. Safe from many goroutines.
func (r *ranker) countHigh(ctx context.Context, v []float32) error {
	return shares(ctx, v, func(ctx context.Context, part []float32) error {
		local := make([]int, half)
		err := blocks(ctx, part, func(v []float32) {
			for _, x := range v {
				local[keyOf(x)>>16]++
			}
		})
		r.mu.Lock()
		defer r.mu.Unlock()
		r.n += len(part)
		for i, n := range local {
			r.high[i] += n
		}
		return err
	})
}

// find returns the upper half of the key at a rank, and the rank among those
// that share it.
func (r *ranker) find(rank int) (page uint32, rest int) {
	for rank >= r.high[page] {
		rank -= r.high[page]
		page++
	}
	return page, rank
}

// want prepares the second pass for percentiles. n must not be 0.
func (r *ranker) want(percent []float64) {
	r.pages = make(map[uint32]*[half]int)
	for _, p := range percent {
		lo, hi, _ := place(p, r.n)
		for _, rank := range []int{lo, hi} {
			page, _ := r.find(rank)
			if r.pages[page] == nil {
				r.pages[page] = new([half]int)
			}
		}
	}
}

// countLow is the second pass. Safe from many goroutines.
func (r *ranker) countLow(ctx context.Context, v []float32) error {
	return shares(ctx, v, func(ctx context.Context, part []float32) error {
		local := make([][]int, half)
		for page := range r.pages {
			local[page] = make([]int, half)
		}
		err := blocks(ctx, part, func(v []float32) {
			for _, x := range v {
				k := keyOf(x)
				if page := local[k>>16]; page != nil {
					page[k&(half-1)]++
				}
			}
		})
		r.mu.Lock()
		defer r.mu.Unlock()
		for p, counts := range r.pages {
			for i, n := range local[p] {
				counts[i] += n
			}
		}
		return err
	})
}

// percentile returns one of the percentiles that were wanted, interpolated
// linearly between sorted values as NumPy does.
func (r *ranker) percentile(p float64) float64 {
	lo, hi, part := place(p, r.n)
	return between(r.at(lo), r.at(hi), part)
}

func (r *ranker) at(rank int) float64 {
	page, rest := r.find(rank)
	counts, low := r.pages[page], uint32(0)
	for rest >= counts[low] {
		rest -= counts[low]
		low++
	}
	return float64(valueOf(page<<16 | low))
}

// place returns the ranks around a percentile of n values and the part of the
// way between them.
func place(percent float64, n int) (lo, hi int, part float64) {
	at := min(max(percent, 0), 100) / 100 * float64(n-1)
	lo = min(int(at), n-1)
	return lo, min(lo+1, n-1), at - float64(lo)
}

func between(lo, hi, part float64) float64 {
	if part < 0.5 {
		return lo + (hi-lo)*part
	}
	return hi - (hi-lo)*(1-part)
}

// percentiles returns percentiles (0..100) of v, which has at least one value.
func percentiles(ctx context.Context, v []float32, percent []float64) ([]float64, error) {
	var r ranker
	if err := r.countHigh(ctx, v); err != nil {
		return nil, err
	}
	r.want(percent)
	if err := r.countLow(ctx, v); err != nil {
		return nil, err
	}
	out := make([]float64, len(percent))
	for i, p := range percent {
		out[i] = r.percentile(p)
	}
	return out, nil
}
