package cli

import (
	"math"
	"slices"
)

// percentiles are those that inspect reports.
var percentiles = []float64{1, 5, 25, 50, 75, 95, 99}

// percentilesOf selects the percentiles of n finite values, interpolated
// linearly.
func percentilesOf(each func(func([]float64)) error, n int) ([]float64, error) {
	ranks := make([]int, 0, 2*len(percentiles))
	for _, p := range percentiles {
		at := p / 100 * float64(n-1)
		ranks = append(ranks, int(at), min(int(at)+1, n-1))
	}
	find := ranked
	if n <= maxSorted {
		find = sorted
	}
	values, err := find(each, ranks)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(percentiles))
	for i, p := range percentiles {
		at := p / 100 * float64(n-1)
		out[i] = between(values[2*i], values[2*i+1], at-math.Floor(at))
	}
	return out, nil
}

// between is lo + part·(hi-lo), also where the difference overflows.
func between(lo, hi, part float64) float64 {
	if d := hi - lo; finite(d) {
		return lo + part*d
	}
	return (1-part)*lo + part*hi
}

// maxSorted is up to how many values sorting beats counting: a file may have
// thousands of small channels.
const maxSorted = 1 << 16

// sorted returns the values that stand at the given ranks once the finite values
// are sorted.
func sorted(each func(func([]float64)) error, ranks []int) ([]float64, error) {
	var all []float64
	err := each(func(values []float64) {
		for _, f := range values {
			if finite(f) {
				all = append(all, f)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(all)
	values := make([]float64, len(ranks))
	for i, r := range ranks {
		values[i] = all[r]
	}
	return values, nil
}

// digit is how many bits one counting pass tells apart.
const digit = 16

// ranked is sorted without sorting: four counting passes over the digits of the
// values' bits.
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
