package augment

import (
	"math/bits"

	"github.com/voxloop/voxloop/internal/philox"
)

// Key names one augmentation: equal keys give equal patches.
type Key struct {
	Seed uint64 // of the whole training
	Case string // id of the image
	Step uint64 // training step, or any other number that counts up
}

// caseHash folds the id into 64 bits.
func (k Key) caseHash() uint64 { return philox.Hash(k.Case) }

// maxSteps and maxChannels are what the bits of a stream's number hold.
const (
	maxSteps    = 1 << 10
	maxChannels = 1 << 12
)

// purpose separates the sequences that one transform takes for one channel.
type purpose uint32

const (
	forParameters purpose = iota
	forVoxels
	forMoreVoxels // the second normal of a voxel
	forControlX   // displacements of control points
	forControlY
	forControlZ
)

// stream is a sequence of random words with random access: Philox4x64-10 under
// the key (seed, case) at the counter (index, stream number and attempt, step,
// 0).
type stream struct {
	seed, id, step uint64
	number         uint32
}

// newStream returns the sequence of a transform (its place in the recipe) for
// a channel, or for the whole patch when channel is -1. id is the case's hash.
func newStream(k Key, id uint64, place, channel int, p purpose) stream {
	return stream{
		seed: k.Seed, id: id, step: k.Step,
		number: uint32(place)<<22 | uint32(channel+1)&0x1fff<<8 | uint32(p), //nolint:gosec // the recipe and the patch are checked against maxSteps and maxChannels
	}
}

// words returns the four words at index i. Attempt 0 holds the words proper,
// higher ones what a rejected candidate takes next.
func (s *stream) words(i uint64, attempt uint32) (r0, r1, r2, r3 uint64) {
	return philox.Block(i, uint64(attempt)<<32|uint64(s.number), s.step, 0, s.seed, s.id)
}

// draws takes parameters from a stream one after the other.
type draws struct {
	s stream
	n uint64
}

// word returns the next 64 random bits.
func (d *draws) word() uint64 {
	w, _, _, _ := d.s.words(d.n, 0)
	d.n++
	return w
}

// uniform returns a number in [lo, hi).
func (d *draws) uniform(lo, hi float64) float64 {
	return lo + (hi-lo)*(float64(d.word()>>11)*0x1p-53)
}

// in returns a number in the range.
func (d *draws) in(r Range) float64 { return d.uniform(r[0], r[1]) }

// chance is true with probability p.
func (d *draws) chance(p float64) bool { return d.uniform(0, 1) < p }

// below returns an integer in [0, n), n at least 1: the high half of a 64-bit
// product (Lemire 2019, without the rejection, whose effect is below n/2⁶⁴).
func (d *draws) below(n int) int {
	hi, _ := bits.Mul64(d.word(), uint64(n)) //nolint:gosec // n is positive
	return int(hi)                           //nolint:gosec // less than n
}

// between returns an integer in [r[0], r[1]].
func (d *draws) between(r [2]int) int { return r[0] + d.below(r[1]-r[0]+1) }

// normal returns a standard normal number.
func (d *draws) normal() float64 {
	i := d.n
	d.n++
	w, _, _, _ := d.s.words(i, 0)
	return float64(d.s.normalOf(i, uint32(w))) //nolint:gosec // the lower half
}

// uniforms fills dst with numbers in (-1, 1).
func (s *stream) uniforms(dst []float64) {
	for i := range dst {
		w, _, _, _ := s.words(uint64(i), 0)
		dst[i] = 2*(float64(w>>11)*0x1p-53+0x1p-54) - 1
	}
}
