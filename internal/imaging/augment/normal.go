package augment

import "math"

// The ziggurat of Marsaglia and Tsang, "The Ziggurat Method for Generating
// Random Variables" (2000), with 256 layers of equal area; layer and position
// come from different bits of the word (Doornik 2005).
const (
	zigLayers = 256
	zigR      = 3.6541528853610088  // right edge of the lowest layer's rectangle
	zigV      = 0.00492867323399141 // area of one layer
	zigBits   = 23                  // of a position, without the sign
)

var zig = newZiggurat()

type ziggurat struct {
	layer [zigLayers]struct {
		accept uint32  // positions below it lie under the curve
		width  float32 // of one position
	}
	edge   [zigLayers + 1]float64
	height [zigLayers + 1]float64 // exp(-edge²/2)
}

func newZiggurat() *ziggurat {
	z := new(ziggurat)
	f := func(x float64) float64 { return math.Exp(-x * x / 2) }
	z.edge[0], z.edge[1] = zigV/f(zigR), zigR
	for i := 2; i < zigLayers; i++ {
		z.edge[i] = math.Sqrt(-2 * math.Log(zigV/z.edge[i-1]+f(z.edge[i-1])))
	}
	for i := range z.edge {
		z.height[i] = f(z.edge[i])
	}
	for i := range zigLayers {
		z.layer[i].accept = uint32(z.edge[i+1] / z.edge[i] * (1 << zigBits))
		z.layer[i].width = float32(z.edge[i] / (1 << zigBits))
	}
	return z
}

// split takes a word apart: layer, position with sign, and its magnitude.
// Positions are half-integers, so both signs are alike.
func split(w uint32) (layer uint32, position float32, magnitude uint32) {
	j := int32(w) >> 8                                              //nolint:gosec // reinterprets bits
	return w & (zigLayers - 1), float32(j) + 0.5, uint32(j ^ j>>31) //nolint:gosec // reinterprets bits
}

// normalOf returns the standard normal number of the word w at an index.
func (s *stream) normalOf(index uint64, w uint32) float32 {
	layer, x, m := split(w)
	t := &zig.layer[layer]
	if m < t.accept {
		return x * t.width
	}
	return s.reject(index, w)
}

// reject goes on where a word's candidate is not under the layer's rectangle:
// about one in 80.
func (s *stream) reject(index uint64, w uint32) float32 {
	unit := func(u uint64) float64 { return (float64(u>>11) + 0.5) * 0x1p-53 } // (0, 1)
	for attempt := uint32(1); ; attempt++ {
		layer, position, m := split(w)
		x := float64(position * zig.layer[layer].width)
		if m < zig.layer[layer].accept {
			return float32(x)
		}
		a, b, c, _ := s.words(index, attempt)
		if layer == 0 { // the tail beyond zigR; w stays, so it is tried until it succeeds
			t, y := -math.Log(unit(a))/zigR, -math.Log(unit(b))
			if 2*y > t*t {
				return float32(math.Copysign(zigR+t, x))
			}
			continue
		}
		if lo, hi := zig.height[layer], zig.height[layer+1]; lo+unit(a)*(hi-lo) < math.Exp(-x*x/2) {
			return float32(x)
		}
		w = uint32(c) //nolint:gosec // the lower half
	}
}

// lanes is the number of normal numbers from one block of words.
const lanes = 8

// addNormals adds sd times a standard normal number to every voxel; v starts
// at voxel from, a multiple of lanes.
func (s *stream) addNormals(v []float32, from int, sd float32) {
	var w [lanes]uint32
	for len(v) > 0 {
		i := uint64(from) //nolint:gosec // an index
		a, b, c, d := s.words(i/lanes, 0)
		w = [lanes]uint32{ //nolint:gosec // halves
			uint32(a), uint32(a >> 32), uint32(b), uint32(b >> 32),
			uint32(c), uint32(c >> 32), uint32(d), uint32(d >> 32), //nolint:gosec // halves
		}
		part := v[:min(lanes, len(v))]
		for k := range part {
			layer, x, m := split(w[k])
			t := &zig.layer[layer]
			if m < t.accept {
				part[k] += sd * (x * t.width)
				continue
			}
			part[k] += sd * s.reject(i+uint64(k), w[k])
		}
		v, from = v[len(part):], from+lanes
	}
}
