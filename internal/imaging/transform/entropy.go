package transform

import "math"

// SoftmaxEntropy replaces the scores of a few voxels, x[c][i] for channel c of
// voxel i, by their softmax over the channels, and writes its entropy in nats.
// With d the distance of a score from the largest one and s = Σ exp(d), the
// entropy is ln s - Σ exp(d)·d / s: one logarithm per voxel. Its error is some
// 1e-7; scores that are no numbers give an entropy that is none.
func SoftmaxEntropy(x [][]float32, entropy []float32) {
	const (
		tile = 512 // voxels whose intermediate values stay in the cache

		log2e = 1.4426950408889634
		ln2hi = 0.693359375
		ln2lo = -2.12194440054690583e-4
		round = 3 << 22
	)
	var top, sum [tile]float32
	n := len(entropy)
	for base := 0; base < n; base += tile {
		h := entropy[base:min(base+tile, n)]
		t, s := top[:len(h)], sum[:len(h)]
		copy(t, x[0][base:])
		for _, ch := range x[1:] {
			v := ch[base:][:len(h)]
			for i, a := range v {
				t[i] = max(t[i], a) // no branch to mispredict
			}
		}
		clear(s)
		clear(h)
		for _, ch := range x {
			v := ch[base:][:len(h)]
			for i, a := range v {
				d := a - t[i]
				if d < -87.3 {
					d = -87.3 // as good as 0, and no infinity
				}
				// As expNegative, written out: a call costs as much again.
				z := d*log2e + round
				f := z - round
				r := d - f*ln2hi - f*ln2lo
				e := 1 + r*(1+r*(1.0/2+r*(1.0/6+r*(1.0/24+r*(1.0/120+r*(1.0/720))))))
				e *= math.Float32frombits((math.Float32bits(z) + 127) << 23)
				v[i] = e
				s[i] += e
				h[i] += e * d
			}
		}
		for i, a := range s {
			r := 1 / a
			s[i] = r
			h[i] = logSum(a) - h[i]*r
		}
		for _, ch := range x {
			v := ch[base:][:len(h)]
			for i := range v {
				v[i] *= s[i]
			}
		}
	}
}

// logSum is ln x of a number x from 1 on, within 1e-7 and 2 units in the last
// place: x = m·2^k with m around 1, and ln m = 2·atanh(f) with f = (m-1)/(m+1)
// in ±0.172, by its series up to f^9.
func logSum(x float32) float32 {
	const half = 0x3f3504f3 // √½
	b := math.Float32bits(x) - half
	k := int32(b) >> 23 //nolint:gosec // x ≥ 1: at most 255
	m := math.Float32frombits(b&0x007fffff + half)
	f := (m - 1) / (m + 1)
	q := f * f
	return float32(k)*math.Ln2 + 2*f*(1+q*(1.0/3+q*(1.0/5+q*(1.0/7+q*(1.0/9)))))
}
