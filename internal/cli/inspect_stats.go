package cli

import (
	"context"
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/imaging"
)

// percentiles are those that inspect reports.
var percentiles = []float64{1, 5, 25, 50, 75, 95, 99}

// channelStats are the statistics of one channel's scaled values. Those that
// are not finite are only counted.
type channelStats struct {
	min, max, mean, std float64   // of the finite values (std of the whole, not of a sample); NaN when there is none
	percentiles         []float64 // linear between neighbours, as NumPy's default
	nan, inf            int
	labels              []labelCount // by value; nil when the channel is no label map, see labelCounter
}

// statistics reads channel c a few times, block by block: nothing as large as
// the volume is allocated. segmented says that the values are meant as labels.
func statistics(ctx context.Context, v *imaging.Volume, c int, segmented bool) (channelStats, error) {
	s := channelStats{min: math.NaN(), max: math.NaN(), mean: math.NaN(), std: math.NaN()}
	each := func(fn func(values []float64)) error { return eachBlock(ctx, v, c, fn) }
	var n int
	var sum float64
	labels := newLabelCounter()
	err := each(func(values []float64) {
		for _, f := range values {
			labels.add(f)
			switch {
			case math.IsNaN(f):
				s.nan++
				continue
			case math.IsInf(f, 0):
				s.inf++
				continue
			case n == 0:
				s.min, s.max = f, f
			}
			s.min, s.max = min(s.min, f), max(s.max, f)
			sum += f
			n++
		}
	})
	if err != nil {
		return s, err
	}
	s.labels = labels.labels(segmented)
	if n == 0 {
		return s, nil
	}
	s.mean = sum / float64(n)
	var squares float64
	err = each(func(values []float64) {
		for _, f := range values {
			if d := f - s.mean; finite(f) {
				squares += d * d
			}
		}
	})
	if err != nil {
		return s, err
	}
	s.std = math.Sqrt(squares / float64(n))
	s.percentiles, err = percentilesOf(each, n)
	return s, err
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// blockSize is how many values are converted at a time.
const blockSize = 1 << 14

// eachBlock calls fn with the scaled values of a channel, block by block.
func eachBlock(ctx context.Context, v *imaging.Volume, c int, fn func(values []float64)) error {
	n := v.Voxels()
	block := make([]float64, min(n, blockSize))
	for from := c * n; from < (c+1)*n; from += len(block) {
		if err := ctx.Err(); err != nil {
			return err
		}
		block = block[:min(len(block), (c+1)*n-from)]
		for i := range block {
			block[i] = v.Data.At(from+i)*v.Slope + v.Intercept
		}
		fn(block)
	}
	return nil
}

// percentilesOf selects the percentiles of n finite values, interpolated
// linearly. Values are found by four counting passes over the digits of their
// bits.
func percentilesOf(each func(func([]float64)) error, n int) ([]float64, error) {
	ranks := make([]int, 0, 2*len(percentiles))
	for _, p := range percentiles {
		at := p / 100 * float64(n-1)
		ranks = append(ranks, int(at), min(int(at)+1, n-1))
	}
	values, err := ranked(each, ranks)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(percentiles))
	for i, p := range percentiles {
		at := p / 100 * float64(n-1)
		lo, hi := values[2*i], values[2*i+1]
		out[i] = lo + (at-math.Floor(at))*(hi-lo)
	}
	return out, nil
}

// digit is how many bits one counting pass tells apart.
const digit = 16

// ranked returns the values that would stand at the given ranks if the finite
// values were sorted.
func ranked(each func(func([]float64)) error, ranks []int) ([]float64, error) {
	prefix, rest := make([]uint64, len(ranks)), slices.Clone(ranks)
	for shift := 64 - digit; shift >= 0; shift -= digit {
		wanted := slices.Compact(slices.Sorted(slices.Values(prefix)))
		counts := make([][]int, len(wanted))
		for i := range counts {
			counts[i] = make([]int, 1<<digit)
		}
		var hit [1 << digit]bool // by the first digit: most values are none of those looked for
		for _, w := range wanted {
			if shift < 64-digit {
				hit[w>>(48-digit-shift)] = true
			}
		}
		err := each(func(values []float64) {
			for _, f := range values {
				key := sortKey(f)
				if !finite(f) || shift < 64-digit && !hit[key>>(64-digit)] {
					continue
				}
				if i, ok := slices.BinarySearch(wanted, key>>(shift+digit)); ok {
					counts[i][key>>shift&(1<<digit-1)]++
				}
			}
		})
		if err != nil {
			return nil, err
		}
		for i := range ranks {
			w, _ := slices.BinarySearch(wanted, prefix[i])
			d := 0
			for ; rest[i] >= counts[w][d]; d++ {
				rest[i] -= counts[w][d]
			}
			prefix[i] = prefix[i]<<digit | uint64(d)
		}
	}
	values := make([]float64, len(ranks))
	for i, k := range prefix {
		values[i] = keyValue(k)
	}
	return values, nil
}

// sortKey maps a float64 to an integer of the same order.
func sortKey(f float64) uint64 {
	b := math.Float64bits(f)
	if b>>63 == 1 {
		return ^b
	}
	return b | 1<<63
}

func keyValue(k uint64) float64 {
	if k>>63 == 1 {
		return math.Float64frombits(k &^ (1 << 63))
	}
	return math.Float64frombits(^k)
}
