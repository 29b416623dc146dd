package strategies

import "math"

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): it
// spreads a counter or a weak hash over 64 bits.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// hashOf is the same in every process, so that runs can be repeated.
func hashOf(s string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// uniform turns a hash into a number in (0, 1).
func uniform(h uint64) float64 { return (float64(h>>11) + 0.5) / (1 << 53) }

// gumbel turns a hash into a draw from the standard Gumbel distribution.
func gumbel(h uint64) float64 { return -math.Log(-math.Log(uniform(h))) }
