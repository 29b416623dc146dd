package trainers

import (
	"math/bits"

	"github.com/voxloop/voxloop/internal/philox"
)

// purpose separates the sequences of random numbers of a training's batches
// from each other and, by ownWord, from those of internal/imaging/augment.
type purpose uint64

const (
	forOrder  purpose = iota // order of the cases in a pass
	forPatch                 // what a patch shows
	forPlaces                // which voxels of a class are kept
)

const ownWord = 0x62617463686573 // "batches"

// draws takes random numbers that are a function of (seed, purpose, id, a)
// and their place in the sequence.
type draws struct {
	seed, id, a, p uint64
	n              uint64
}

func newDraws(seed uint64, p purpose, id string, a int) *draws {
	return &draws{seed: seed, id: philox.Hash(id), a: uint64(a), p: uint64(p)} //nolint:gosec // counts up from 0
}

func (d *draws) word() uint64 {
	w, _, _, _ := philox.Block(d.n, d.a, d.p, ownWord, d.seed, d.id)
	d.n++
	return w
}

// below returns an integer in [0, n), n at least 1.
func (d *draws) below(n int) int {
	hi, _ := bits.Mul64(d.word(), uint64(n)) //nolint:gosec // n is positive
	return int(hi)                           //nolint:gosec // less than n
}

// unit returns a number in [0, 1).
func (d *draws) unit() float64 { return float64(d.word()>>11) * 0x1p-53 }

// sampler decides what the patches of a training show. Patch number i of a
// training, from 0, is patch i%batch of step i/batch.
type sampler struct {
	seed    uint64
	patch   [3]int
	batch   int
	share   float64 // of the patches that are centred on foreground
	inOrder bool
	ids     []string
}

// order is the order of the cases in a pass: each comes once.
func (s *sampler) order(pass int) []int {
	out := make([]int, len(s.ids))
	for i := range out {
		out[i] = i
	}
	if s.inOrder {
		return out
	}
	d := newDraws(s.seed, forOrder, "", pass)
	for i := len(out) - 1; i > 0; i-- {
		k := d.below(i + 1)
		out[i], out[k] = out[k], out[i]
	}
	return out
}

// foreground tells whether patch number i is centred on foreground. In a batch
// of several, the last ones are, as many as the share says but at least one; a
// single one is by chance.
func (s *sampler) foreground(i int, d *draws) bool {
	chance := d.unit()
	switch {
	case s.share <= 0 || s.inOrder:
		return false
	case s.batch == 1:
		return chance < s.share
	}
	n := max(1, int(float64(s.batch)*s.share+0.5))
	return i%s.batch >= s.batch-n
}

// origin chooses the first voxel of patch number i in a case. An axis that is
// shorter than the patch is padded on both sides, the smaller half in front, as
// inference pads it.
func (s *sampler) origin(i int, id string, at *places) [3]int {
	d := newDraws(s.seed, forPatch, id, i)
	wanted := s.foreground(i, d)
	voxel, centred := at.choose(wanted, d)
	var o [3]int
	for axis, n := range at.size {
		p := s.patch[axis]
		free := d.below(max(n-p, 0) + 1)
		switch {
		case p >= n:
			o[axis] = -((p - n) / 2)
		case s.inOrder:
			o[axis] = (n - p) / 2
		case centred:
			o[axis] = min(max(voxel[axis]-p/2, 0), n-p)
		default:
			o[axis] = free
		}
	}
	return o
}
