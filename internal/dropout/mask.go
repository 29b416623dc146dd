package dropout

import (
	"math"

	"github.com/voxloop/voxloop/internal/philox"
)

// Key names one mask: equal keys and ratios give equal masks.
type Key struct {
	Seed uint64
	Pass uint64 // number of the pass through the network: training step, or sample and window
	Node string // Layer.Node
}

// grain is the number of steps in which probabilities are drawn: 16 bits per
// value.
const grain = 1 << 16

// lanes is the number of values of one block of the generator.
const lanes = 16

// dropped is the number of the grain's steps that a ratio drops.
func dropped(ratio float64) uint64 {
	return uint64(min(max(math.Round(ratio*grain), 0), grain-1))
}

// Scale is the factor of kept values, 1/(1 - ratio), for the ratio as it is
// drawn: to 16 bits.
func Scale(ratio float64) float64 { return grain / float64(grain-dropped(ratio)) }

// Fill writes the part of a mask that begins at value number from: 0 with
// probability ratio, in [0, 1), otherwise 1. A value depends on the key and its
// number alone, so that parts may be filled in any order, by any number of
// goroutines.
func Fill(part []uint8, from int, k Key, ratio float64) {
	id, limit := philox.Hash(k.Node), dropped(ratio)
	var block [lanes]uint8
	for len(part) > 0 {
		at := uint64(from / lanes) //nolint:gosec // not negative
		skip := from % lanes
		w0, w1, w2, w3 := philox.Block(at, 0, k.Pass, 0, k.Seed, id)
		if skip == 0 && len(part) >= lanes {
			keep((*[4]uint8)(part[0:4]), w0, limit)
			keep((*[4]uint8)(part[4:8]), w1, limit)
			keep((*[4]uint8)(part[8:12]), w2, limit)
			keep((*[4]uint8)(part[12:16]), w3, limit)
			part, from = part[lanes:], from+lanes
			continue
		}
		for i, w := range [4]uint64{w0, w1, w2, w3} {
			keep((*[4]uint8)(block[4*i:4*i+4]), w, limit)
		}
		n := copy(part, block[skip:])
		part, from = part[n:], from+n
	}
}

// keep compares the four 16-bit numbers of a word with the limit.
func keep(out *[4]uint8, w, limit uint64) {
	// The difference of numbers below 2¹⁶ has its 63rd bit set when it is negative.
	out[0] = uint8(^((w & 0xffff) - limit) >> 63)
	out[1] = uint8(^((w >> 16 & 0xffff) - limit) >> 63)
	out[2] = uint8(^((w >> 32 & 0xffff) - limit) >> 63)
	out[3] = uint8(^((w >> 48) - limit) >> 63)
}
