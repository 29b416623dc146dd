package transform

import (
	"context"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// ResizeMode is how Resize finds its values along an axis of n voxels that
// gets N.
type ResizeMode uint8

// The modes. Their coordinates are PyTorch's interpolate.
const (
	ResizeLinear       ResizeMode = iota // linear at (i+1/2)·n/N - 1/2, clamped
	ResizeCorners                        // linear at i·(n-1)/(N-1): first and last centres stay (align_corners)
	ResizeNearest                        // voxel ⌊i·n/N⌋
	ResizeNearestExact                   // voxel ⌊(i+1/2)·n/N⌋: the nearest centre
	ResizeArea                           // mean of voxels ⌊i·n/N⌋ to ⌈(i+1)·n/N⌉-1
)

// Resize changes the number of voxels over the same extent; voxels get larger
// or smaller. Its undo resizes back, in the same mode for Linear; labels are
// taken by ResizeNearest if that was the mode, else by ResizeNearestExact.
//
// Source: MONAI Resize.
type Resize struct {
	Size      [3]int // 0 or less keeps the axis
	Longest   int    // when above 0, in place of Size: the longest axis gets this many, the others in proportion
	Mode      ResizeMode
	AntiAlias bool // smooth an axis that shrinks by a factor f with sigma (f-1)/2 first
}

// Apply implements Step.
func (s Resize) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	size := keepUnset(s.Size, m.Size)
	if s.Longest > 0 {
		if s.Size != [3]int{} {
			return nil, nil, fault.New(fault.Invalid, "resize takes a size or the longest axis, not both")
		}
		f := float64(s.Longest) / float64(max(m.Size[0], m.Size[1], m.Size[2]))
		for d, n := range m.Size {
			size[d] = max(1, int(math.RoundToEven(float64(n)*f)))
		}
	}
	src := m
	if s.AntiAlias {
		var err error
		if src, err = antiAlias(ctx, m, size); err != nil {
			return nil, nil, err
		}
	}
	to := scaledLayout(m.Layout, size)
	out, err := src.resize(ctx, to, s.Mode)
	return out, resized{m.Layout, to, s.Mode}, err
}

// scaledLayout gives l another number of voxels; the middle stays in place and
// a voxel grows by n/N.
func scaledLayout(l Layout, size [3]int) Layout {
	scale := imaging.Identity()
	for d := range 3 {
		scale[d][d] = float64(l.Size[d]) / float64(size[d])
	}
	return Layout{Size: size, Affine: l.Affine.Mul(middle(l.Size, 1)).Mul(scale).Mul(middle(size, -1))}
}

type resized struct {
	old, now Layout
	mode     ResizeMode
}

// Undo implements Undo.
func (r resized) Undo(ctx context.Context, m *Image, mode Mode) (*Image, error) {
	if err := sameSize(m, r.now.Size); err != nil {
		return nil, err
	}
	back := r.mode
	switch mode {
	case Nearest:
		if back != ResizeNearest {
			back = ResizeNearestExact
		}
	case Linear:
	case Cubic:
		return nil, fault.New(fault.Invalid, "a resized image is taken back by the nearest voxel or linearly")
	}
	return m.resize(ctx, r.old, back)
}

// resize fills lattice to, whose axes are m's.
func (m *Image) resize(ctx context.Context, to Layout, mode ResizeMode) (*Image, error) {
	if err := imaging.Grid(to).Validate(); err != nil {
		return nil, err
	}
	if mode == ResizeArea {
		return m.perChannel(to, func(dst, src []float32) error { return area(ctx, dst, to.Size, src, m.Size) })
	}
	return m.run(ctx, resizePlan(m.Size, to.Size, mode), to)
}

// resizePlan tabulates the coordinates of a resize.
func resizePlan(src, dst [3]int, mode ResizeMode) *Plan {
	p := &Plan{src: src, dst: dst, of: [3]int{0, 1, 2}}
	for d := range 3 {
		n, size := float64(src[d]), float64(dst[d])
		at := func(i int) float64 { return (float64(i)+0.5)*n/size - 0.5 }
		switch mode {
		case ResizeCorners:
			at = func(i int) float64 { return float64(i) * (n - 1) / max(1, size-1) }
		case ResizeNearest:
			at = func(i int) float64 { return math.Floor(float64(i) * n / size) }
		case ResizeNearestExact:
			at = func(i int) float64 { return math.Floor((float64(i) + 0.5) * n / size) }
		case ResizeLinear, ResizeArea:
		}
		p.rule[d] = newAxisRule(src[d], Options{})
		p.tab[d] = p.rule[d].table(dst[d], at)
	}
	p.settle()
	return p
}

// antiAlias smooths m along the axes that will shrink.
func antiAlias(ctx context.Context, m *Image, size [3]int) (*Image, error) {
	var sigma [3]float64
	for d := range 3 {
		sigma[d] = max(0, (float64(m.Size[d])/float64(size[d])-1)/2)
	}
	if sigma == [3]float64{} {
		return m, nil
	}
	return m.Smooth(ctx, Gaussian{Sigma: sigma})
}

// area means box by box, one axis after the other.
func area(ctx context.Context, dst []float32, size [3]int, src []float32, srcSize [3]int) error {
	for d := range 3 {
		next := srcSize
		next[d] = size[d]
		out := dst
		if d < 2 {
			out = make([]float32, next[0]*next[1]*next[2])
		}
		if err := areaAxis(ctx, out, src, srcSize, d, size[d]); err != nil {
			return err
		}
		src, srcSize = out, next
	}
	return nil
}

// areaAxis means along axis d, which becomes count long.
func areaAxis(ctx context.Context, dst, src []float32, size [3]int, d, count int) error {
	outer, inner := 1, 1 // elements before and after the axis
	for k := range d {
		outer *= size[k]
	}
	for k := d + 1; k < 3; k++ {
		inner *= size[k]
	}
	n := size[d]
	return Parallel(ctx, outer*count, func(ctx context.Context, from, to int) error {
		for at := from; at < to; at++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			o, i := at/count, at%count
			lo, hi := i*n/count, ((i+1)*n+count-1)/count
			sum := dst[at*inner : (at+1)*inner]
			for k := lo; k < hi; k++ {
				for e, x := range src[(o*n+k)*inner:][:inner] {
					sum[e] += x
				}
			}
			for e := range sum {
				sum[e] /= float32(hi - lo)
			}
		}
		return nil
	})
}
