package transform

import (
	"context"
	"fmt"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Resample returns m's channels at the voxel centres of lattice to.
func (m *Image) Resample(ctx context.Context, to Layout, mode Mode, outside Outside) (*Image, error) {
	if mode == Cubic {
		return m.cubic(ctx, to, outside)
	}
	p, err := NewPlan(m.Layout, to, Options{Nearest: mode == Nearest, Outside: outside})
	if err != nil {
		return nil, err
	}
	return m.run(ctx, p, to)
}

func sameSize(m *Image, size [3]int) error {
	if m.Size != size {
		return fmt.Errorf("%w: an image of %v cannot be taken back from %v voxels", imaging.ErrShape, m.Size, size)
	}
	return nil
}

// ResampleTo brings an image onto a given lattice of the same world.
//
// Source: MONAI SpatialResample and ResampleToMatch.
type ResampleTo struct {
	To      Layout
	Mode    Mode
	Outside Outside
	Corners bool // MONAI's align_corners: take the outermost centres of both lattices for their outer faces
}

// Apply implements Step.
func (s ResampleTo) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	undo := resampled{m.Layout, s.To, s.Outside, s.Corners}
	if !s.Corners {
		out, err := m.Resample(ctx, s.To, s.Mode, s.Outside)
		return out, undo, err
	}
	stretched := &Image{Layout: m.cornered(), Data: m.Data}
	out, err := stretched.Resample(ctx, s.To.cornered(), s.Mode, s.Outside)
	if err != nil {
		return nil, nil, err
	}
	return &Image{Layout: s.To, Data: out.Data}, undo, nil
}

// cornered stretches a lattice about its middle so that the outermost centres
// lie on its outer faces: index i goes to i·n/(n-1) - 1/2.
func (l Layout) cornered() Layout {
	e := imaging.Identity()
	for d, n := range l.Size {
		if n > 1 {
			e[d][d], e[d][3] = float64(n)/float64(n-1), -0.5
		}
	}
	return Layout{Size: l.Size, Affine: l.Affine.Mul(e)}
}

// Respace resamples an image to a voxel size; see Spacing for where the new
// lattice lies.
//
// Source: MONAI Spacing.
type Respace struct {
	Spacing  [3]float64 // mm along the array axes; 0 or less keeps the axis
	Min, Max [3]float64 // an axis whose voxel size lies within [Min, Max] keeps it; a bound of 0 is none, both 0: never
	Diagonal bool       // the new axes are the world's, R A S, and the box holds the whole old lattice
	Extent   bool       // keep the outer faces of the volume in place, not the first voxel's centre
	Mode     Mode
	Outside  Outside
	Corners  bool // see ResampleTo
}

// Apply implements Step.
func (s Respace) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	to, err := s.Layout(m.Layout)
	if err != nil {
		return nil, nil, err
	}
	return ResampleTo{to, s.Mode, s.Outside, s.Corners}.Apply(ctx, m)
}

// Layout returns the new lattice of l. Errors are imaging.ErrFormat for a
// lattice without an inverse, imaging.ErrLimit for one that gets too large.
func (s Respace) Layout(l Layout) (Layout, error) {
	spacing := s.Spacing
	have := l.Affine.Spacing()
	for d, h := range have {
		lo, hi := s.Min[d], s.Max[d]
		if (lo > 0 || hi > 0) && h >= lo && (hi <= 0 || h <= hi) {
			spacing[d] = h
		}
		if math.IsNaN(spacing[d]) || math.IsInf(spacing[d], 0) {
			return Layout{}, fault.New(fault.Invalid, "spacing %g mm along axis %d is not a number", spacing[d], d)
		}
	}
	g, err := respaced(imaging.Grid(l), spacing, s.Diagonal, s.Extent)
	return Layout(g), err
}
