package transform

import (
	"context"
	"slices"
)

// Step is one operation on the geometry of an image. Apply leaves m as it is
// and returns the new image, and what takes any image on the new lattice back
// onto the old one. It stops with ctx.
type Step interface {
	Apply(ctx context.Context, m *Image) (*Image, Undo, error)
}

// Undo takes an image back through a step. Where it must interpolate it does
// so by mode: Nearest for labels, Linear for scores. What the step cut off
// comes back as 0.
type Undo interface {
	Undo(ctx context.Context, m *Image, mode Mode) (*Image, error)
}

// Mode is a way to find the value between voxels.
type Mode uint8

// The modes.
const (
	Linear  Mode = iota // from the eight voxels around
	Nearest             // halves to even
	Cubic               // cubic B-spline through all voxels (SciPy's order 3 with prefilter)
)

// Chain runs steps one after the other; its Undo takes them back in reverse.
type Chain []Step

// Apply implements Step.
func (c Chain) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	var all undos
	for _, s := range c {
		out, u, err := s.Apply(ctx, m)
		if err != nil {
			return nil, nil, err
		}
		m, all = out, append(all, u)
	}
	return m, all, nil
}

type undos []Undo

// Undo implements Undo.
func (u undos) Undo(ctx context.Context, m *Image, mode Mode) (*Image, error) {
	for _, one := range slices.Backward(u) {
		out, err := one.Undo(ctx, m, mode)
		if err != nil {
			return nil, err
		}
		m = out
	}
	return m, nil
}

// resampled undoes everything that moved voxels to another lattice: it
// samples them back onto the old one, by their places in the world.
type resampled struct {
	old, now Layout
	outside  Outside
	corners  bool
}

// Undo implements Undo.
func (r resampled) Undo(ctx context.Context, m *Image, mode Mode) (*Image, error) {
	if err := sameSize(m, r.now.Size); err != nil {
		return nil, err
	}
	back := ResampleTo{To: r.old, Mode: mode, Outside: r.outside, Corners: r.corners}
	out, _, err := back.Apply(ctx, &Image{Layout: r.now, Data: m.Data})
	return out, err
}
