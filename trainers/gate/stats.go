package gate

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
)

// bootstrap draws the mean of v from v with replacement, resamples times, in
// ascending order.
//
// Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.
func bootstrap(v []float64, resamples int, seed, stream uint64) []float64 {
	r := rand.New(rand.NewPCG(seed, stream)) //nolint:gosec // statistics, not secrets
	means := make([]float64, resamples)
	for i := range means {
		var sum float64
		for range v {
			sum += v[r.IntN(len(v))]
		}
		means[i] = sum / float64(len(v))
	}
	slices.Sort(means)
	return means
}

// quantile reads sorted values; the place between two is taken linearly.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// notAbove is the share of sorted values ≤ 0, with one added to both counts:
// the one-sided p-value of "the mean is above 0" (Davison and Hinkley, 1997,
// section 4.2).
func notAbove(sorted []float64) float64 {
	n := sort.Search(len(sorted), func(i int) bool { return sorted[i] > 0 })
	return float64(n+1) / float64(len(sorted)+1)
}

// exactUpTo is the number of differences up to which the signed-rank test is
// exact.
const exactUpTo = 50

// wilcoxon returns the sum of the ranks of positive differences and the
// one-sided p-value of "differences tend to be positive". Zeros are dropped,
// equal sizes share their mean rank. Up to 50 differences the p-value is exact
// over all 2^n signs, ties included; beyond, it is the normal approximation
// with corrections for ties and continuity.
//
// Source: Wilcoxon, Biometrics Bulletin 1 (1945); Hollander and Wolfe,
// Nonparametric Statistical Methods, section 3.1.
func wilcoxon(differences []float64) (w, p float64, n int) {
	var d []float64
	for _, v := range differences {
		if v != 0 {
			d = append(d, v)
		}
	}
	n = len(d)
	if n == 0 {
		return 0, 1, 0
	}
	slices.SortFunc(d, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
	twice := make([]int, n) // twice the rank, so that shared ranks are whole
	var ties float64
	for i := 0; i < n; {
		j := i
		for j < n && math.Abs(d[j]) == math.Abs(d[i]) {
			j++
		}
		for k := i; k < j; k++ {
			twice[k] = i + 1 + j
		}
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	sum := 0
	for i, v := range d {
		if v > 0 {
			sum += twice[i]
		}
	}
	w = float64(sum) / 2
	if n <= exactUpTo {
		return w, exactTail(twice, sum), n
	}
	m := float64(n)
	mean := m * (m + 1) / 4
	sd := math.Sqrt(m*(m+1)*(2*m+1)/24 - ties/48)
	return w, math.Erfc((w-0.5-mean)/sd/math.Sqrt2) / 2, n
}

// exactTail is the chance that the ranks with a positive sign sum up to at
// least sum when all signs are equally likely.
func exactTail(ranks []int, sum int) float64 {
	total := 0
	for _, r := range ranks {
		total += r
	}
	chance := make([]float64, total+1)
	chance[0] = 1
	top := 0
	for _, r := range ranks {
		top += r
		for s := top; s >= 0; s-- {
			v := chance[s] / 2
			if s >= r {
				v += chance[s-r] / 2
			}
			chance[s] = v
		}
	}
	var p float64
	for s := sum; s <= total; s++ {
		p += chance[s]
	}
	return min(p, 1)
}
