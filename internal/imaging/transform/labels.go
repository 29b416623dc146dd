package transform

import (
	"context"
	"fmt"

	"github.com/voxloop/voxloop/internal/imaging"
)

// Labels samples class indices: the nearest voxel, 0 where there is none. The
// plan must have been made with Nearest.
func (p *Plan) Labels(ctx context.Context, src, dst []uint16) error {
	if len(src) != p.src[0]*p.src[1]*p.src[2] || len(dst) != p.dst[0]*p.dst[1]*p.dst[2] {
		return fmt.Errorf("%w: labels do not fit the plan", imaging.ErrShape)
	}
	if p.identity {
		copy(dst, src)
		return nil
	}
	return Parallel(ctx, p.dst[0], func(ctx context.Context, from, to int) error {
		for i := from; i < to; i++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			if p.separable {
				p.labelPlane(i, src, dst[i*p.dst[1]*p.dst[2]:])
			} else {
				p.labelPlaneAffine(i, src, dst[i*p.dst[1]*p.dst[2]:])
			}
		}
		return nil
	})
}

// labelOffsets are, per destination axis, the source offset of every index, or
// -1 where the voxel lies outside.
func (p *Plan) labelOffsets(d int) []int {
	stride := [3]int{p.src[1] * p.src[2], p.src[2], 1}
	for s := range 3 {
		if p.of[s] != d {
			continue
		}
		t := &p.tab[s]
		off := make([]int, len(t.lo))
		for i := range off {
			off[i] = t.lo[i] * stride[s]
			if t.w0[i] == 0 {
				off[i] = -1
			}
		}
		return off
	}
	return nil
}

func (p *Plan) labelPlane(i int, src, dst []uint16) {
	a := p.labelOffsets(0)[i]
	rows, cols := p.labelOffsets(1), p.labelOffsets(2)
	for j, b := range rows {
		row := dst[j*len(cols) : (j+1)*len(cols)]
		if a < 0 || b < 0 {
			clear(row)
			continue
		}
		for k, c := range cols {
			row[k] = 0
			if c >= 0 {
				row[k] = src[a+b+c]
			}
		}
	}
}

func (p *Plan) labelPlaneAffine(i int, src, dst []uint16) {
	for j := range p.dst[1] {
		at := p.m.Apply([3]float64{float64(i), float64(j), 0})
		for k := range p.dst[2] {
			f := float64(k)
			a, _, u, _ := p.rule[0].neighbours(at[0] + f*p.m[0][2])
			b, _, v, _ := p.rule[1].neighbours(at[1] + f*p.m[1][2])
			c, _, w, _ := p.rule[2].neighbours(at[2] + f*p.m[2][2])
			l := &dst[j*p.dst[2]+k]
			*l = 0
			if u*v*w != 0 {
				*l = src[(a*p.src[1]+b)*p.src[2]+c]
			}
		}
	}
}
