package transform

import "math"

// Softmax replaces scores, channels arrays of n voxels each, by exp(x)/sum exp
// over the channels, for the voxels [from, to).
func Softmax(scores []float32, n, from, to int) {
	channels := len(scores) / n
	if channels == 2 {
		softmax2(scores[:n], scores[n:], from, to)
		return
	}
	const tile = 1024 // voxels whose maximum and sum stay in the cache
	var top, sum [tile]float32
	for base := from; base < to; base += tile {
		end := min(base+tile, to)
		t, s := top[:end-base], sum[:end-base]
		fillWith(t, float32(math.Inf(-1)))
		clear(s)
		for c := range channels {
			v := scores[c*n+base : c*n+end]
			for i := range v {
				t[i] = max(t[i], v[i])
			}
		}
		for c := range channels {
			v := scores[c*n+base : c*n+end]
			for i := range v {
				v[i] = exp32(v[i] - t[i])
				s[i] += v[i]
			}
		}
		for i := range s {
			s[i] = 1 / s[i]
		}
		for c := range channels {
			v := scores[c*n+base : c*n+end]
			for i := range v {
				v[i] *= s[i]
			}
		}
	}
}

// softmax2 is Softmax of two channels: one exponential per voxel.
func softmax2(a, b []float32, from, to int) {
	for i := from; i < to; i++ {
		d := b[i] - a[i]
		p := sigmoid(d)
		a[i], b[i] = 1-p, p
		if p < 0.5 {
			continue
		}
		a[i] = sigmoid(-d) // keeps the small one exact
	}
}

// Sigmoid replaces the scores of the voxels [from, to) of all channels, arrays
// of n voxels each, by 1/(1+exp(-x)).
func Sigmoid(scores []float32, n, from, to int) {
	for c := range len(scores) / n {
		v := scores[c*n : (c+1)*n]
		for i := from; i < to; i++ {
			v[i] = sigmoid(v[i])
		}
	}
}

func sigmoid(x float32) float32 {
	if x >= 0 {
		return 1 / (1 + exp32(-x))
	}
	e := exp32(x)
	return e / (1 + e)
}

// exp32 is e^x for float32, within 2 units in the last place for results that
// are normal numbers; smaller results are 0.
//
// The argument is split into a power of two and a rest in ±ln2/2, whose
// exponential is a polynomial of degree 6 (the Taylor series with its last
// coefficients' error below 2^-24 on that interval).
func exp32(x float32) float32 {
	const (
		log2e = 1.4426950408889634
		ln2hi = 0.693359375
		ln2lo = -2.12194440054690583e-4
	)
	switch {
	case x != x: //nolint:gocritic // NaN
		return x
	case x > 88.72:
		return float32(math.Inf(1))
	case x < -87.3:
		return 0
	}
	k := x*log2e + 0.5
	n := int32(k)
	if float32(n) > k {
		n--
	}
	f := float32(n)
	r := (x - f*ln2hi) - f*ln2lo
	p := 1.0/5040*r + 1.0/720
	p = p*r + 1.0/120
	p = p*r + 1.0/24
	p = p*r + 1.0/6
	p = p*r + 0.5
	p = p*r*r + r + 1
	if n == 128 { // 2^128 has no exponent of its own
		return p * 2 * math.Float32frombits(254<<23)
	}
	return p * math.Float32frombits(uint32(n+127)<<23) //nolint:gosec // n lies in -126..127
}

// Argmax returns the channel of the largest score per voxel [from, to), the
// lowest channel on ties, in label[from:to].
func Argmax(label []uint16, scores []float32, n, from, to int) {
	const tile = 1024
	var top [tile]float32
	for base := from; base < to; base += tile {
		end := min(base+tile, to)
		copy(top[:], scores[base:end])
		l := label[base:end]
		clear(l)
		for c := 1; c < len(scores)/n; c++ {
			for i, x := range scores[c*n+base : c*n+end] {
				if x > top[i] {
					top[i], l[i] = x, uint16(c)
				}
			}
		}
	}
}
