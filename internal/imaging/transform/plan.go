package transform

import (
	"context"
	"fmt"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Options tune a Plan. The zero value interpolates linearly and clamps
// coordinates to the source.
type Options struct {
	Nearest bool    // nearest voxel, halves to even, in place of linear interpolation
	Outside Outside // what stands beyond the source

	// Frame is set when the source is a box cut out of a larger array: what was
	// cut off counts as 0, and coordinates are clamped to the larger array.
	// Outside must then be Clamp.
	Frame *Frame
}

// Frame says where a source box lies in the array that it was cut from.
type Frame struct{ Size, Start [3]int }

// Plan knows how to sample a source layout at every voxel of a destination
// layout. It is immutable and may be used by many goroutines at once.
type Plan struct {
	src, dst [3]int
	m        imaging.Affine // destination index → source index
	rule     [3]axisRule    // per source axis
	identity bool           // the destination is the source, voxel by voxel

	// The separable way, where every source axis depends on one destination
	// axis: of[s] is that axis, tab[s] its table.
	separable bool
	of        [3]int
	tab       [3]axisTable
	outer     int // source axis (0 or 1) along which the work is cut into planes
}

// NewPlan prepares sampling from src to dst. It fails when src's affine cannot
// be inverted (imaging.ErrFormat), and on a Frame with another Outside than
// Clamp (fault.Invalid).
func NewPlan(src, dst Layout, o Options) (*Plan, error) {
	if o.Frame != nil && o.Outside != Clamp {
		return nil, fault.New(fault.Invalid, "a box cut out of a larger array is resampled with clamped coordinates only")
	}
	inv, ok := src.Affine.Inverse()
	if !ok {
		return nil, fmt.Errorf("%w: the affine cannot be inverted", imaging.ErrFormat)
	}
	p := &Plan{src: src.Size, dst: dst.Size, m: inv.Mul(dst.Affine)}
	for s := range 3 {
		p.rule[s] = newAxisRule(src.Size[s], o)
		if o.Frame != nil {
			p.rule[s].min = float64(-o.Frame.Start[s])
			p.rule[s].max = float64(o.Frame.Size[s] - 1 - o.Frame.Start[s])
		}
	}
	p.split()
	return p, nil
}

// split detects the separable case and tabulates it.
func (p *Plan) split() {
	var taken [3]bool
	for s := range 3 {
		best := 0
		for d := range 3 {
			if p.reach(s, d) > p.reach(s, best) {
				best = d
			}
		}
		for d := range 3 {
			if d != best && p.reach(s, d) > snap {
				return
			}
		}
		p.of[s] = best
	}
	for s := range 3 { // axes of one voxel reach nowhere: give them what is left
		if p.reach(s, p.of[s]) > snap {
			if taken[p.of[s]] {
				return
			}
			taken[p.of[s]] = true
		}
	}
	for s := range 3 {
		if p.reach(s, p.of[s]) > snap {
			continue
		}
		for d := range 3 {
			if !taken[d] {
				p.of[s], taken[d] = d, true
				break
			}
		}
	}
	for s := range 3 {
		d := p.of[s]
		p.tab[s] = p.rule[s].table(p.dst[d], func(i int) float64 { return p.m[s][d]*float64(i) + p.m[s][3] })
	}
	p.settle()
}

// settle draws the conclusions from the tables.
func (p *Plan) settle() {
	p.separable, p.identity = true, p.src == p.dst
	for s := range 3 {
		t := &p.tab[s]
		p.identity = p.identity && p.of[s] == s && t.exact && t.steady && t.first == 0
	}
	if p.of[1] < p.of[0] {
		p.outer = 1
	}
}

// reach is how far destination axis d moves the coordinate of source axis s
// over its whole length, in source voxels.
func (p *Plan) reach(s, d int) float64 { return math.Abs(p.m[s][d]) * float64(p.dst[d]-1) }

// Identity reports whether the destination is the source, voxel by voxel.
func (p *Plan) Identity() bool { return p.identity }

// Exact reports whether every destination voxel is one source voxel: axes are
// reordered, flipped or cut, and nothing is interpolated.
func (p *Plan) Exact() bool {
	return p.separable && p.tab[0].exact && p.tab[1].exact && p.tab[2].exact
}

// Ready returns the range [from, to) of a destination axis that can be sampled
// when only the source planes (of the first source axis) below limit are
// there. ok is false for a plan whose planes all hang on all of the source: one
// that is not separable, or that mirrors at the source's ends.
func (p *Plan) Ready(limit int) (axis, from, to int, ok bool) {
	if !p.separable || p.rule[0].outside == Mirror || p.rule[0].outside == Reflect {
		return 0, 0, 0, false
	}
	axis = p.of[0]
	t := &p.tab[0]
	to = len(t.hi)
	if p.m[0][axis] < 0 { // the source runs backwards
		for to > from && t.hi[from] >= limit {
			from++
		}
		return axis, from, to, true
	}
	for to > from && t.hi[to-1] >= limit {
		to--
	}
	return axis, from, to, true
}

// Planes returns the number of planes into which the destination is cut, and
// the array axis along which they are counted.
func (p *Plan) Planes() (n, axis int) {
	if p.separable {
		axis = p.of[p.outer]
	}
	return p.dst[axis], axis
}

// plane describes the destination elements of one plane: rows rows of cols
// contiguous elements, the first at index·step, rows apart by stride.
type plane struct{ step, rows, stride, cols int }

func (p *Plan) plane() plane {
	_, axis := p.Planes()
	if axis == 0 {
		return plane{step: p.dst[1] * p.dst[2], rows: p.dst[1], stride: p.dst[2], cols: p.dst[2]}
	}
	return plane{step: p.dst[2], rows: p.dst[0], stride: p.dst[1] * p.dst[2], cols: p.dst[2]}
}

// Run samples the whole source into dst, in parallel. It returns ctx's error
// when it was stopped before the end; dst is then incomplete.
func (p *Plan) Run(ctx context.Context, src Source, dst []float32) error {
	if len(dst) != p.dst[0]*p.dst[1]*p.dst[2] {
		return fmt.Errorf("%w: %d elements for %d×%d×%d voxels", imaging.ErrShape, len(dst), p.dst[0], p.dst[1], p.dst[2])
	}
	n, _ := p.Planes()
	at := p.plane()
	return Parallel(ctx, n, func(ctx context.Context, from, to int) error {
		s := p.Sampler(src)
		for i := from; i < to; i += p.Batch() {
			if err := ctx.Err(); err != nil {
				return err
			}
			s.Planes(i, min(i+p.Batch(), to), dst[i*at.step:], at.step, at.stride)
		}
		return nil
	})
}
