package metrics

import (
	"context"
	"math"
	"math/bits"
	"slices"

	"github.com/voxloop/voxloop/internal/imaging/parallel"
)

// distances returns the distance from every voxel of at to the nearest voxel
// of to, in the order of mask.each; +Inf when to is empty. Both have one size;
// spacing is in mm. The distance transform is exact (in float64, rounded to
// float32 at the end) and linear in the voxels of the box; its last pass runs
// only along the lines that at has voxels on.
func distances(ctx context.Context, at, to *mask, n Norm, spacing [3]float64) ([]float32, error) {
	size := at.size
	need := at.shadow()
	planes := make([]float64, size[0]*size[1]*size[2]) // index x + nx*(z + nz*y)
	err := parallel.For(ctx, size[2], func(ctx context.Context, from, end int) error {
		p := newPlane(to, need, n, spacing)
		for z := from; z < end; z++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			p.run(z, planes)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	parts := make([][]float32, size[1])
	err = parallel.For(ctx, size[1], func(ctx context.Context, from, end int) error {
		e := newEnvelope(n, size[2], spacing[2])
		for y := from; y < end; y++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			parts[y] = lines(at, need, e, y, planes[y*size[0]*size[2]:(y+1)*size[0]*size[2]])
		}
		return nil
	})
	return slices.Concat(parts...), err
}

// shadow returns, as a mask of one slice, the (x, y) at which there is a voxel
// at any z.
func (m *mask) shadow() *mask {
	out := newMask([3]int{m.size[0], m.size[1], 1})
	for y := range m.size[1] {
		copy(out.row(y, 0), m.columns(y))
	}
	return out
}

// lines makes the last pass, along z, over one slice [z][x] of the box.
func lines(at, need *mask, e *envelope, y int, slice []float64) []float32 {
	var out []float32
	nx := at.size[0]
	row := need.row(y, 0)
	for x := range nx {
		if row[x>>6]>>(x&63)&1 == 0 {
			continue
		}
		for z := range e.value {
			e.value[z] = slice[x+nx*z]
		}
		e.run()
		for z, d := range e.out {
			if at.has(x, y, z) {
				out = append(out, e.norm.final(d))
			}
		}
	}
	return out
}

// plane makes the first two passes, along x and y, over slices of constant z.
type plane struct {
	to, need *mask
	norm     Norm
	step     float64
	first    []float64 // after the pass along x: [y][x]
	e        *envelope
	cols     []uint64 // x at which any y is needed
}

func newPlane(to, need *mask, n Norm, spacing [3]float64) *plane {
	p := &plane{
		to: to, need: need, norm: n, step: spacing[0], first: make([]float64, to.size[0]*to.size[1]),
		e: newEnvelope(n, to.size[1], spacing[1]), cols: make([]uint64, to.words),
	}
	for y := range to.size[1] {
		for i, w := range need.row(y, 0) {
			p.cols[i] |= w
		}
	}
	return p
}

// run writes the distances within slice z to all (x, y) that are needed.
func (p *plane) run(z int, planes []float64) {
	nx, ny, nz := p.to.size[0], p.to.size[1], p.to.size[2]
	for y := range ny {
		p.along(p.first[y*nx:(y+1)*nx], p.to.row(y, z))
	}
	for x := range nx {
		if p.cols[x>>6]>>(x&63)&1 == 0 {
			continue
		}
		for y := range ny {
			p.e.value[y] = p.first[x+nx*y]
		}
		p.e.run()
		for y, d := range p.e.out {
			planes[x+nx*(z+nz*y)] = d
		}
	}
}

// along writes the distances within one row: to the nearest bit before and
// after.
func (p *plane) along(dst []float64, row []uint64) {
	before := -1
	fill := func(next int) {
		for x := before + 1; x < min(next, len(dst)); x++ {
			d := math.Inf(1)
			if before >= 0 {
				d = float64(x - before)
			}
			if next < len(dst) {
				d = min(d, float64(next-x))
			}
			dst[x] = p.norm.along(d * p.step)
		}
	}
	for i, w := range row {
		for ; w != 0; w &= w - 1 {
			x := i<<6 + bits.TrailingZeros64(w)
			fill(x)
			dst[x] = 0
			before = x
		}
	}
	fill(len(dst))
}
