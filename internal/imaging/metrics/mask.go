package metrics

import (
	"context"
	"math/bits"

	"github.com/voxloop/voxloop/internal/imaging/morph"
	"github.com/voxloop/voxloop/internal/imaging/parallel"
)

// mask is a set of voxels of a box, one bit each, rows along x filled up to
// whole words.
type mask struct {
	size  [3]int
	words int // per row
	bits  []uint64
}

func newMask(size [3]int) *mask {
	w := (size[0] + 63) / 64
	return &mask{size, w, make([]uint64, w*size[1]*size[2])}
}

// row returns the words of row (y, z), nil outside the box.
func (m *mask) row(y, z int) []uint64 {
	if y < 0 || z < 0 || y >= m.size[1] || z >= m.size[2] {
		return nil
	}
	at := m.words * (y + m.size[1]*z)
	return m.bits[at : at+m.words]
}

func (m *mask) has(x, y, z int) bool {
	return m.bits[m.words*(y+m.size[1]*z)+x>>6]>>(x&63)&1 != 0
}

// count returns the number of voxels.
func (m *mask) count() int {
	n := 0
	for _, w := range m.bits {
		n += bits.OnesCount64(w)
	}
	return n
}

// maskOf returns the voxels of a box that have the label.
func maskOf(ctx context.Context, data []uint16, size [3]int, label uint16, b morph.Box) (*mask, error) {
	m := newMask(b.Size())
	err := parallel.For(ctx, m.size[2], func(ctx context.Context, from, to int) error {
		for z := from; z < to; z++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			for y := range m.size[1] {
				at := b.Min[0] + size[0]*(b.Min[1]+y+size[1]*(b.Min[2]+z))
				pack(m.row(y, z), data[at:at+m.size[0]], label)
			}
		}
		return nil
	})
	return m, err
}

// pack sets the bits of the voxels that have the label.
func pack(dst []uint64, row []uint16, label uint16) {
	for i := range dst {
		part := row[i*64 : min(i*64+64, len(row))]
		var w uint64
		for k, l := range part {
			if l == label {
				w |= 1 << k
			}
		}
		dst[i] = w
	}
}

// surface returns the voxels that miss one of their six neighbours; beyond the
// box there are none.
//
// Source: MONAI get_mask_edges: the mask without its erosion by the
// 6-neighbourhood.
func (m *mask) surface(ctx context.Context) (*mask, error) {
	out := newMask(m.size)
	err := parallel.For(ctx, m.size[2], func(ctx context.Context, from, to int) error {
		for z := from; z < to; z++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			for y := range m.size[1] {
				m.surfaceRow(out.row(y, z), y, z)
			}
		}
		return nil
	})
	return out, err
}

func (m *mask) surfaceRow(dst []uint64, y, z int) {
	row := m.row(y, z)
	around := [4][]uint64{m.row(y-1, z), m.row(y+1, z), m.row(y, z-1), m.row(y, z+1)}
	for i, w := range row {
		if w == 0 {
			continue
		}
		left, right := w<<1, w>>1
		if i > 0 {
			left |= row[i-1] >> 63
		}
		if i+1 < len(row) {
			right |= row[i+1] << 63
		}
		inner := left & right
		for _, r := range around {
			if r == nil {
				inner = 0
				break
			}
			inner &= r[i]
		}
		dst[i] = w &^ inner
	}
}

// each calls fn for the voxels of slices y = from..to-1 in the order y, x, z:
// that of distances.
func (m *mask) each(from, to int, fn func(x, y, z int)) {
	for y := from; y < to; y++ {
		cols := m.columns(y)
		for x := range m.size[0] {
			if cols[x>>6]>>(x&63)&1 == 0 {
				continue
			}
			for z := range m.size[2] {
				if m.has(x, y, z) {
					fn(x, y, z)
				}
			}
		}
	}
}

// columns returns the x at which slice y has a voxel at any z.
func (m *mask) columns(y int) []uint64 {
	out := make([]uint64, m.words)
	for z := range m.size[2] {
		for i, w := range m.row(y, z) {
			out[i] |= w
		}
	}
	return out
}
