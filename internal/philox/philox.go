// Package philox is the counter-based random generator of everything that
// decides a result: a number depends on its key and its place alone, not on who
// asks for it or in what order.
package philox

import "math/bits"

// Block is Philox4x64-10, the counter-based generator of Salmon, Moraes, Dror
// and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3" (2011): ten rounds of
// two multiplications on the counter c, under a key k that grows by Weyl
// constants. Equal arguments give equal words.
func Block(c0, c1, c2, c3, k0, k1 uint64) (r0, r1, r2, r3 uint64) {
	const (
		m0, m1 = 0xd2e7470ee14c6c93, 0xca5a826395121157
		w0, w1 = 0x9e3779b97f4a7c15, 0xbb67ae8584caa73b
	)
	for range 5 { // two rounds at a time
		h0, l0 := bits.Mul64(m0, c0)
		h1, l1 := bits.Mul64(m1, c2)
		a, b := h1^c1^k0, h0^c3^k1
		k0 += w0
		k1 += w1
		h0, c3 = bits.Mul64(m0, a)
		h1, c1 = bits.Mul64(m1, b)
		c0, c2 = h1^l1^k0, h0^l0^k1
		k0 += w0
		k1 += w1
	}
	return c0, c1, c2, c3
}

// Hash folds a text into 64 bits, for keys: FNV-1a, then the finaliser of
// SplitMix64 (Steele, Lea, Flood 2014).
func Hash(text string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	z := uint64(offset)
	for i := range len(text) {
		z = (z ^ uint64(text[i])) * prime
	}
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
