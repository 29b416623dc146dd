package transform

import (
	"context"
	"fmt"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Region chooses a box of an array of the given size: where it starts, which
// may lie before the array, and its size, which may reach beyond.
type Region interface {
	Box(size [3]int) (start, box [3]int, err error)
}

// Fill says what a box finds outside the array. The zero value is 0.
type Fill struct {
	Mode  PadMode // "" counts as constant
	Value float32 // of a constant
}

func (f Fill) mode() (PadMode, error) {
	if f.Mode == "" {
		return PadConstant, nil
	}
	m, err := ParsePadMode(string(f.Mode))
	return m, fault.Wrap(fault.Invalid, err, "the padding cannot be used")
}

// Cut takes a box out of an image; what lies outside the image is filled.
func (m *Image) Cut(ctx context.Context, start, box [3]int, fill Fill) (*Image, error) {
	mode, err := fill.mode()
	if err != nil {
		return nil, err
	}
	if start == [3]int{} && box == m.Size {
		return m, m.check()
	}
	return m.perChannel(m.Box(start, box), func(dst, src []float32) error {
		return Parallel(ctx, box[0], func(ctx context.Context, from, to int) error {
			for i := from; i < to; i++ {
				if err := ctx.Err(); err != nil {
					return err
				}
				one := [3]int{1, box[1], box[2]}
				n := box[1] * box[2]
				CopyPadded(dst[i*n:(i+1)*n], one, src, m.Size, [3]int{start[0] + i, start[1], start[2]}, mode, fill.Value)
			}
			return nil
		})
	})
}

// cut is the Step of a region.
func cut(ctx context.Context, m *Image, r Region, fill Fill) (*Image, Undo, error) {
	start, box, err := r.Box(m.Size)
	if err != nil {
		return nil, nil, err
	}
	out, err := m.Cut(ctx, start, box, fill)
	return out, boxed{m.Layout, start, box}, err
}

// boxed undoes a cut: the box returns to its place, the rest is 0.
type boxed struct {
	old        Layout
	start, box [3]int
}

// Undo implements Undo.
func (b boxed) Undo(ctx context.Context, m *Image, _ Mode) (*Image, error) {
	if err := sameSize(m, b.box); err != nil {
		return nil, err
	}
	out, err := m.Cut(ctx, [3]int{-b.start[0], -b.start[1], -b.start[2]}, b.old.Size, Fill{})
	if err != nil {
		return nil, err
	}
	return &Image{Layout: b.old, Data: out.Data}, nil
}

// CropBox takes the part of a box that lies in the image.
//
// Source: MONAI SpatialCrop.
type CropBox struct{ Start, Size [3]int }

// CropAround is the box of the given size about a voxel. It starts at
// center - size/2, the half rounded down, or at 0 if that lies before the
// array: the whole box then moves.
func CropAround(center, size [3]int) CropBox {
	b := CropBox{Size: size}
	for d := range 3 {
		b.Start[d] = max(0, center[d]-size[d]/2)
	}
	return b
}

// Box implements Region. A box without a voxel in common is fault.Invalid.
func (s CropBox) Box(size [3]int) (start, box [3]int, err error) {
	start, box = Within(s.Start, s.Size, size)
	if min(box[0], box[1], box[2]) < 1 {
		return start, box, fault.New(fault.Invalid, "the box %v of size %v has no voxel of an array of %v", s.Start, s.Size, size)
	}
	return start, box, nil
}

// Apply implements Step.
func (s CropBox) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	return cut(ctx, m, s, Fill{})
}

// CropCenter takes the middle of an image: an axis of n voxels is cut to s
// from n/2 - s/2 on, both rounded down. A size of 0 or less, or a larger one,
// keeps the axis.
//
// Source: MONAI CenterSpatialCrop.
type CropCenter struct{ Size [3]int }

// Box implements Region.
func (s CropCenter) Box(size [3]int) (start, box [3]int, err error) {
	box = keepUnset(s.Size, size)
	for d, n := range size {
		start[d] = max(0, n/2-box[d]/2)
		box[d] = min(box[d], n)
	}
	return start, box, nil
}

// Apply implements Step.
func (s CropCenter) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	return cut(ctx, m, s, Fill{})
}

// CropForeground cuts an image down to the box around its foreground. An image
// without foreground stays whole.
//
// Source: MONAI CropForeground.
type CropForeground struct {
	Above     float32  // foreground are voxels greater than this, in any channel
	Mask      Channels // when set, foreground is sought here and not in the image
	Margin    [3]int   // voxels kept around the box on both sides
	Beyond    bool     // the margin may leave the image, padded by Fill; otherwise it ends there
	Divisible [3]int   // grow the box, also beyond the image, to a multiple of this; 0 and 1: any size
	Fill      Fill
}

// Apply implements Step.
func (s CropForeground) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	mask := s.Mask
	if mask == nil {
		mask = m.Data
	}
	for c, v := range mask {
		if len(v) != m.Voxels() {
			return nil, nil, fmt.Errorf("%w: channel %d of the foreground mask holds %d values for %d voxels", imaging.ErrShape, c, len(v), m.Voxels())
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	start, box, ok := mask.Foreground(m.Size, s.Above, s.Margin)
	if !ok {
		return m, boxed{m.Layout, [3]int{}, m.Size}, m.check()
	}
	if !s.Beyond {
		start, box = Within(start, box, m.Size)
	}
	for d, k := range s.Divisible {
		more := roundUp(box[d], k) - box[d]
		start[d] -= more / 2
		box[d] += more
	}
	out, err := m.Cut(ctx, start, box, s.Fill)
	return out, boxed{m.Layout, start, box}, err
}

// roundUp returns the next multiple of k from n on; k of 0 or less is 1.
func roundUp(n, k int) int {
	k = max(k, 1)
	return (n + k - 1) / k * k
}
