package transform

import (
	"context"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Orient reorders and flips the array axes so that they point in the
// directions of Codes, for example "RAS". Nothing is interpolated.
//
// Source: MONAI Orientation.
type Orient struct{ Codes string }

// Apply implements Step.
func (s Orient) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	to, _, err := imaging.Grid(m.Layout).Orient(s.Codes)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Invalid, err, "the image cannot be oriented")
	}
	return move(ctx, m, Layout(to))
}

// Flip turns array axes round. The voxels stay where they are in the world.
//
// Source: MONAI Flip.
type Flip struct{ Axes [3]bool }

// Apply implements Step.
func (s Flip) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	return remap(ctx, m, imaging.AxisMap{Source: [3]int{0, 1, 2}, Flip: s.Axes})
}

// Rotate90 turns the array by Turns quarter turns in the plane of two of its
// axes, from the first towards the second (NumPy's rot90). The voxels stay
// where they are in the world.
//
// Source: MONAI Rotate90.
type Rotate90 struct {
	Turns int    // any integer, counted modulo 4
	Axes  [2]int // two different axes, 0 to 2
}

// Apply implements Step.
func (s Rotate90) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	a, b := s.Axes[0], s.Axes[1]
	if a == b || min(a, b) < 0 || max(a, b) > 2 {
		return nil, nil, fault.New(fault.Invalid, "rotation by quarter turns needs two different axes of 0, 1, 2, not %d and %d", a, b)
	}
	to := imaging.AxisMap{Source: [3]int{0, 1, 2}}
	switch (s.Turns%4 + 4) % 4 {
	case 1:
		to.Source[a], to.Source[b], to.Flip[a] = b, a, true
	case 2:
		to.Flip[a], to.Flip[b] = true, true
	case 3:
		to.Source[a], to.Source[b], to.Flip[b] = b, a, true
	}
	return remap(ctx, m, to)
}

func remap(ctx context.Context, m *Image, a imaging.AxisMap) (*Image, Undo, error) {
	return move(ctx, m, Layout(imaging.Grid(m.Layout).Remap(a)))
}

// move brings m onto a lattice of the same voxels.
func move(ctx context.Context, m *Image, to Layout) (*Image, Undo, error) {
	out, err := m.Resample(ctx, to, Nearest, Clamp)
	return out, resampled{old: m.Layout, now: to}, err
}
