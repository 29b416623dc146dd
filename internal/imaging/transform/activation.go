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
				if v[i] > t[i] {
					t[i] = v[i]
				}
			}
		}
		for c := range channels {
			v := scores[c*n+base : c*n+end]
			for i := range v {
				v[i] = expNegative(v[i] - t[i])
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
		return 1 / (1 + expNegative(-x))
	}
	e := expNegative(x)
	return e / (1 + e)
}

// expNegative is e^x for x up to 0, within 2 units in the last place for
// results that are normal numbers; smaller results are 0.
//
// The argument is split into n·ln2 and a rest in ±ln2/2, whose exponential is
// the Taylor polynomial of degree 6 (error below 2^-22). Adding and taking away
// 1.5·2^23 rounds to an integer, which then stands in the lowest bits.
func expNegative(x float32) float32 {
	const (
		log2e = 1.4426950408889634
		ln2hi = 0.693359375
		ln2lo = -2.12194440054690583e-4
		round = 3 << 22
	)
	if x < -87.3 {
		return 0
	}
	z := x*log2e + round
	f := z - round
	r := x - f*ln2hi - f*ln2lo
	p := 1 + r*(1+r*(1.0/2+r*(1.0/6+r*(1.0/24+r*(1.0/120+r*(1.0/720))))))
	return p * math.Float32frombits((math.Float32bits(z)+127)<<23)
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
