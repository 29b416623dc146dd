package dropout

import (
	"encoding/binary"
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

// dropped is the number of the grain's steps that a ratio drops.
func dropped(ratio float64) uint64 {
	return uint64(min(max(math.Round(ratio*grain), 0), grain-1))
}

// Scale is the factor of kept values, 1/(1 - ratio), for the ratio as it is
// drawn: to 16 bits.
func Scale(ratio float64) float64 { return grain / float64(grain-dropped(ratio)) }

// lanes is the number of values of one block of the generator, a byte each.
const lanes = 32

// Fill writes the part of a mask that begins at value number from: 0 with
// probability ratio, in [0, 1), otherwise 1. A value depends on the key and its
// number alone, so that parts may be filled in any order, by any number of
// goroutines.
//
// A value is dropped when a random number of 16 bits lies below the ratio's. Its
// high byte decides nearly always; the low bytes are drawn, from a block of
// their own, for blocks in which one of the high bytes does not.
func Fill(part []uint8, from int, k Key, ratio float64) {
	f := filler{id: philox.Hash(k.Node), key: k, limit: dropped(ratio)}
	var block [lanes]uint8
	for len(part) > 0 {
		at := uint64(from / lanes) //nolint:gosec // not negative
		skip := from % lanes
		if skip == 0 && len(part) >= lanes {
			f.block((*[lanes]uint8)(part), at)
			part, from = part[lanes:], from+lanes
			continue
		}
		f.block(&block, at)
		n := copy(part, block[skip:])
		part, from = part[n:], from+n
	}
}

type filler struct {
	id, limit uint64
	key       Key
}

// block fills values lanes·at to lanes·(at+1)-1.
func (f *filler) block(out *[lanes]uint8, at uint64) {
	w0, w1, w2, w3 := philox.Block(at, 0, f.key.Pass, 0, f.key.Seed, f.id)
	high := f.limit >> 8
	open := keep((*[8]uint8)(out[0:8]), w0, high)
	open |= keep((*[8]uint8)(out[8:16]), w1, high)
	open |= keep((*[8]uint8)(out[16:24]), w2, high)
	open |= keep((*[8]uint8)(out[24:32]), w3, high)
	low := f.limit & 0xff
	if open == 0 || low == 0 { // all low bytes are at least 0
		return
	}
	v0, v1, v2, v3 := philox.Block(at, 1, f.key.Pass, 0, f.key.Seed, f.id)
	w, v := [4]uint64{w0, w1, w2, w3}, [4]uint64{v0, v1, v2, v3}
	for i := range out {
		shift := i % 8 * 8
		if w[i/8]>>shift&0xff == high && v[i/8]>>shift&0xff < low {
			out[i] = 0
		}
	}
}

// keep compares the eight bytes of a word with the limit: 1 where a byte is not
// below it. The result is not 0 when one of them is the limit itself.
//
// Bytes are compared four at a time in fields of 16 bits: bit 8 of byte + 2⁸ -
// limit is set when the byte is not below the limit.
func keep(out *[8]uint8, w, limit uint64) (equal uint64) {
	const low, bit, ones = 0x00ff00ff00ff00ff, 0x0100010001000100, 0x0001000100010001
	even, odd := w&low|bit, w>>8&low|bit
	limits := limit * ones
	e, o := (even-limits)&bit, (odd-limits)&bit
	binary.LittleEndian.PutUint64(out[:], e>>8|o)
	return (e &^ (even - limits - ones)) | (o &^ (odd - limits - ones))
}
