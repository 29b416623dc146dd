package transform

import (
	"context"

	"github.com/voxloop/voxloop/internal/fault"
)

// Padding is a Region that holds the whole array, and what fills the rest.
type Padding interface {
	Region
	Filling() Fill
}

var _, _, _, _ Padding = PadTo{}, PadDivisible{}, PadBorder{}, Fit{}

// PadTo pads an image to at least a size: half of what is missing, rounded
// down, goes before the image, the rest behind it. A larger axis stays.
//
// Source: MONAI SpatialPad.
type PadTo struct {
	Size  [3]int // 0 or less keeps the axis
	AtEnd bool   // everything goes behind the image
	Fill  Fill
}

// Box implements Region.
func (s PadTo) Box(size [3]int) (start, box [3]int, err error) {
	for d, n := range size {
		box[d] = max(s.Size[d], n)
		if !s.AtEnd {
			start[d] = -((box[d] - n) / 2)
		}
	}
	return start, box, nil
}

// Filling implements Padding.
func (s PadTo) Filling() Fill { return s.Fill }

// Apply implements Step.
func (s PadTo) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	return cut(ctx, m, s, s.Fill)
}

// PadDivisible pads every axis to the next multiple of By, as PadTo does.
//
// Source: MONAI DivisiblePad.
type PadDivisible struct {
	By    [3]int // 0 and 1 keep the axis
	AtEnd bool
	Fill  Fill
}

// Box implements Region.
func (s PadDivisible) Box(size [3]int) (start, box [3]int, err error) {
	to := PadTo{AtEnd: s.AtEnd}
	for d, n := range size {
		to.Size[d] = roundUp(n, s.By[d])
	}
	return to.Box(size)
}

// Filling implements Padding.
func (s PadDivisible) Filling() Fill { return s.Fill }

// Apply implements Step.
func (s PadDivisible) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	return cut(ctx, m, s, s.Fill)
}

// PadBorder pads every axis by a number of voxels on either side.
//
// Source: MONAI BorderPad.
type PadBorder struct {
	Before, After [3]int // at least 0
	Fill          Fill
}

// Box implements Region.
func (s PadBorder) Box(size [3]int) (start, box [3]int, err error) {
	for d, n := range size {
		if s.Before[d] < 0 || s.After[d] < 0 {
			return start, box, fault.New(fault.Invalid, "a border of %d and %d voxels along axis %d is negative", s.Before[d], s.After[d], d)
		}
		start[d], box[d] = -s.Before[d], s.Before[d]+n+s.After[d]
	}
	return start, box, nil
}

// Filling implements Padding.
func (s PadBorder) Filling() Fill { return s.Fill }

// Apply implements Step.
func (s PadBorder) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	return cut(ctx, m, s, s.Fill)
}

// Fit gives an image exactly a size: axes that are too short are padded as
// PadTo does, axes that are too long are cut as CropCenter does.
//
// Source: MONAI ResizeWithPadOrCrop.
type Fit struct {
	Size  [3]int // 0 or less keeps the axis
	AtEnd bool   // what is padded goes behind the image; cutting stays central
	Fill  Fill
}

// Box implements Region.
func (s Fit) Box(size [3]int) (start, box [3]int, err error) {
	box = keepUnset(s.Size, size)
	for d, n := range size {
		switch {
		case box[d] < n:
			start[d] = n/2 - box[d]/2
		case !s.AtEnd:
			start[d] = -((box[d] - n) / 2)
		}
	}
	return start, box, nil
}

// Filling implements Padding.
func (s Fit) Filling() Fill { return s.Fill }

// Apply implements Step.
func (s Fit) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	return cut(ctx, m, s, s.Fill)
}
