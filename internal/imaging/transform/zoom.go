package transform

import (
	"context"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// Zoom magnifies an image: an axis of n voxels gets ⌊n·factor⌋. With Keep the
// result is cut or padded about its middle to the old size.
//
// Source: MONAI Zoom.
type Zoom struct {
	Factor [3]float64 // above 0
	Keep   bool       // keep the array's size
	Mode   ResizeMode
	Fill   Fill // what is padded when a kept image shrinks
}

// Apply implements Step.
func (s Zoom) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	var size [3]int
	for d, f := range s.Factor {
		n := math.Floor(f * float64(m.Size[d]))
		if !(n >= 1 && n <= math.MaxInt32) {
			return nil, nil, fault.New(fault.Invalid, "zooming axis %d of %d voxels by %g leaves no usable size", d, m.Size[d], f)
		}
		size[d] = int(n)
	}
	c := Chain{Resize{Size: size, Mode: s.Mode}}
	if s.Keep {
		c = append(c, Fit{Size: m.Size, Fill: s.Fill})
	}
	return c.Apply(ctx, m)
}
