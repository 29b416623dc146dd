package transform

import (
	"context"
	"math"
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
		if lo != hi { // equal infinities have no difference
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

// ranked returns the values that would stand at the given places after
// sorting.
func (c Channels) ranked(ctx context.Context, ranks []int) ([]float32, error) {
	const half = 1 << 16
	high := make([]int, half)
	if err := c.count(ctx, func(k uint32) { high[k>>16]++ }); err != nil {
		return nil, err
	}
	bin, rest := make([]uint32, len(ranks)), make([]int, len(ranks)) // the upper 16 bits, and the place among those that share them
	low := make(map[uint32][]int)
	for i, r := range ranks {
		b := uint32(0)
		for ; r >= high[b]; b++ {
			r -= high[b]
		}
		bin[i], rest[i] = b, r
		low[b] = nil
	}
	wanted := make([][]int, half)
	for b := range low {
		wanted[b] = make([]int, half)
	}
	err := c.count(ctx, func(k uint32) {
		if w := wanted[k>>16]; w != nil {
			w[k&(half-1)]++
		}
	})
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(ranks))
	for i := range ranks {
		l, r := uint32(0), rest[i]
		for ; r >= wanted[bin[i]][l]; l++ {
			r -= wanted[bin[i]][l]
		}
		out[i] = keyValue(bin[i]<<16 | l)
	}
	return out, nil
}

func (c Channels) count(ctx context.Context, add func(key uint32)) error {
	for _, v := range c {
		for from := 0; from < len(v); from += block {
			if err := ctx.Err(); err != nil {
				return err
			}
			for _, x := range v[from:min(from+block, len(v))] {
				add(sortKey(x))
			}
		}
	}
	return nil
}
