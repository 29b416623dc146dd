package transform

import (
	"context"
	"fmt"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Pass is a Recipe made ready for volumes on one grid: every plane of the
// tensor is sampled straight from the stored voxels and normalised while it is
// in the cache. It equals the chain of single steps (Orient, Respace, the
// crop, the intensity steps, the padding) without their copies; memory beyond
// the volume and the tensor is a few planes per core.
//
// A Pass is immutable and may be used by many goroutines at once.
type Pass struct {
	plan   *Plan
	tensor Layout

	cropStart [3]int // where the sampled box starts in the resampled lattice
	inner     [3]int // and in the tensor

	mode  PadMode // of padding
	value float32
	fused []Intensity // pointwise steps, run plane by plane
	after []Intensity // the first step over all values, and what follows
	undo  undos
}

// NewPass prepares the recipe for volumes on grid g. A recipe that contradicts
// itself or the grid is fault.Invalid, a tensor beyond counting fault.TooLarge.
func NewPass(g imaging.Grid, r Recipe) (*Pass, error) {
	stored := Stored(g)
	order := r.Order
	if order == [3]int{} {
		order = [3]int{0, 1, 2}
	}
	origin, oriented := Ordered(g, order), g
	if r.Orientation != "" {
		o, _, err := g.Orient(r.Orientation)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "the volume cannot be oriented")
		}
		oriented = o
	}
	before := Ordered(oriented, order)
	spaced, err := r.Respace.Layout(before)
	if err != nil {
		return nil, err
	}
	p := &Pass{mode: PadConstant, undo: undos{
		resampled{old: origin, now: before}, resampled{before, spaced, r.Respace.Outside, r.Respace.Corners},
	}}
	cropped, err := p.cropTo(spaced, r.Crop)
	if err != nil {
		return nil, err
	}
	if err := p.padTo(cropped, r.Pad); err != nil {
		return nil, err
	}
	if r.Respace.Mode == Cubic {
		return nil, fault.New(fault.Invalid, "cubic resampling needs all of the volume first: it has no fused pass")
	}
	if err := imaging.Grid(p.tensor).Validate(); err != nil {
		return nil, fault.Wrap(fault.TooLarge, err, "the tensor cannot be made")
	}
	n := slices.IndexFunc(r.Normalize, func(s Intensity) bool { return s.row == nil })
	if n < 0 {
		n = len(r.Normalize)
	}
	p.fused, p.after = r.Normalize[:n], r.Normalize[n:]
	if r.Respace.Corners {
		stored, cropped = stored.cornered(), spaced.cornered().Box(p.cropStart, cropped.Size)
	}
	p.plan, err = NewPlan(stored, cropped, Options{Nearest: r.Respace.Mode == Nearest, Outside: r.Respace.Outside})
	return p, err
}

// cropTo cuts the lattice that will be sampled. A crop never reaches beyond
// the array: Within holds what Region allows (Padding does that).
func (p *Pass) cropTo(spaced Layout, r Region) (Layout, error) {
	if r == nil {
		return spaced, nil
	}
	start, box, err := r.Box(spaced.Size)
	if err != nil {
		return Layout{}, err
	}
	if from, cut := Within(start, box, spaced.Size); from != start || cut != box {
		return Layout{}, fault.New(fault.Invalid, "the crop of %v from %v on leaves the array of %v", box, start, spaced.Size)
	}
	p.cropStart, p.undo = start, append(p.undo, boxed{spaced, start, box})
	return spaced.Box(start, box), nil
}

// padTo lays the tensor around the sampled box.
func (p *Pass) padTo(cropped Layout, r Padding) error {
	p.tensor = cropped
	if r == nil {
		return nil
	}
	start, box, err := r.Box(cropped.Size)
	if err != nil {
		return err
	}
	for d, s := range start {
		if s > 0 || s+box[d] < cropped.Size[d] {
			return fault.New(fault.Invalid, "the padding cuts axis %d from %d to %d voxels", d, cropped.Size[d], box[d])
		}
		p.inner[d] = -s
	}
	fill := r.Filling()
	if p.mode, err = fill.mode(); err != nil {
		return err
	}
	p.value, p.tensor = fill.Value, cropped.Box(start, box)
	p.undo = append(p.undo, boxed{cropped, start, box})
	return nil
}

// Layout returns the tensor's lattice.
func (p *Pass) Layout() Layout { return p.tensor }

// Undo takes an image on the tensor's lattice back through the single steps,
// onto the volume's grid in the recipe's order of axes.
func (p *Pass) Undo() Undo { return p.undo }

// Run writes one channel into dst, an array of Layout().Voxels() elements
// (imaging.ErrShape). It returns ctx's error when it was stopped before the
// end; dst is then incomplete.
func (p *Pass) Run(ctx context.Context, src Source, dst []float32) error {
	if len(dst) != p.tensor.Voxels() {
		return fmt.Errorf("%w: %d elements for %d×%d×%d voxels", imaging.ErrShape, len(dst), p.tensor.Size[0], p.tensor.Size[1], p.tensor.Size[2])
	}
	if err := p.sample(ctx, src, dst); err != nil {
		return err
	}
	if len(p.after) > 0 {
		c := p.sampled(dst)
		for _, s := range p.after {
			if err := s.Apply(ctx, c); err != nil {
				return err
			}
		}
	}
	return p.fill(ctx, dst)
}

// sample writes the box of sampled voxels.
func (p *Pass) sample(ctx context.Context, src Source, dst []float32) error {
	n, axis := p.plan.Planes()
	rows, cols := p.plan.PlaneSize()
	stride := [2]int{p.tensor.Size[1] * p.tensor.Size[2], p.tensor.Size[2]}
	first := p.inner[0]*stride[0] + p.inner[1]*stride[1] + p.inner[2]
	step, apart := stride[axis], stride[1-axis]
	return Parallel(ctx, n, func(ctx context.Context, from, to int) error {
		s := p.plan.Sampler(src)
		batch := p.plan.Batch()
		for i := from; i < to; i += batch {
			if err := ctx.Err(); err != nil {
				return err
			}
			end := min(i+batch, to)
			planes := dst[first+i*step:]
			s.Planes(i, end, planes, step, apart)
			for r := range (end - i) * rows {
				at := r/rows*step + r%rows*apart
				for _, f := range p.fused {
					f.row(planes[at : at+cols])
				}
			}
		}
		return nil
	})
}

// sampled returns the sampled voxels of the tensor as stretches that are
// contiguous: the whole, planes, or rows.
func (p *Pass) sampled(dst []float32) Channels {
	size, t := p.plan.dst, p.tensor.Size
	if size == t {
		return Channels{dst}
	}
	var c Channels
	for i := range size[0] {
		at := ((p.inner[0]+i)*t[1]+p.inner[1])*t[2] + p.inner[2]
		if size[2] == t[2] {
			c = append(c, dst[at:at+size[1]*size[2]])
			continue
		}
		for j := range size[1] {
			c = append(c, dst[at+j*t[2]:at+j*t[2]+size[2]])
		}
	}
	return c
}

// fill pads around the sampled box: all reads are inside it, all writes
// outside, so planes can be filled in parallel.
func (p *Pass) fill(ctx context.Context, dst []float32) error {
	size, t := p.plan.dst, p.tensor.Size
	if size == t {
		return nil
	}
	return Parallel(ctx, t[0], func(ctx context.Context, from, to int) error {
		for i := from; i < to; i++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			a := PadIndex(p.mode, i-p.inner[0], size[0])
			for j := range t[1] {
				b := PadIndex(p.mode, j-p.inner[1], size[1])
				row := dst[(i*t[1]+j)*t[2]:][:t[2]]
				if a < 0 || b < 0 {
					fillWith(row, p.value)
					continue
				}
				same := a == i-p.inner[0] && b == j-p.inner[1]
				src := dst[((p.inner[0]+a)*t[1]+p.inner[1]+b)*t[2]+p.inner[2]:][:size[2]]
				p.fillRow(row, src, same)
			}
		}
		return nil
	})
}

// fillRow pads a row from the sampled row src; same says that src is the row's
// own middle, which stays.
func (p *Pass) fillRow(row, src []float32, same bool) {
	from := p.inner[2]
	if !same {
		copy(row[from:], src)
	}
	copyRowPadded(row[:from], src, -from, p.mode, p.value)
	end := from + len(src)
	copyRowPadded(row[end:], src, len(src), p.mode, p.value)
}
