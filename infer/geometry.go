package infer

import (
	"fmt"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// order returns the grid axes (0 = x) in the order of the network's array
// axes, the last one fastest. A 2-D network sees slices, so the axis across
// them comes first; it is no axis of the tensor but counts windows.
func (m *Manifest) order() [3]int {
	if m.Dimension == 3 {
		if m.Network.Axes == axesZYX {
			return [3]int{2, 1, 0}
		}
		return [3]int{0, 1, 2}
	}
	across := int(m.Network.SliceAxis[0] - 'x')
	plane := inPlane(across)
	if m.Network.Axes == axesZYX {
		plane[0], plane[1] = plane[1], plane[0]
	}
	return [3]int{across, plane[0], plane[1]}
}

// inPlane returns the other two grid axes, ascending.
func inPlane(across int) [2]int {
	switch across {
	case 0:
		return [2]int{1, 2}
	case 1:
		return [2]int{0, 2}
	}
	return [2]int{0, 1}
}

// perAxis arranges values listed in the manifest's order of axes by array
// axis; across stands for the axis across the slices of a 2-D model.
func perAxis[T any](m *Manifest, list func(i int) T, across T) (out [3]T) {
	order := m.order()
	for i, a := range order {
		switch {
		case m.Dimension == 3:
			out[i] = list(a)
		case i == 0:
			out[i] = across
		case a == min(order[1], order[2]):
			out[i] = list(0)
		default:
			out[i] = list(1)
		}
	}
	return out
}

// grid returns the lattice that the network works on: the image's, oriented
// and resampled.
func (m *Manifest) grid(image imaging.Grid, maxVoxels int64) (imaging.Grid, error) {
	g := image
	if m.Orientation != stored {
		var err error
		if g, _, err = g.Orient(m.Orientation); err != nil {
			return g, fault.Wrap(fault.Invalid, err, "the image cannot be brought into orientation %s", m.Orientation)
		}
	}
	if m.Spacing == (SpacingSpec{}) {
		return g, nil
	}
	if n := m.resampledVoxels(g); n > float64(maxVoxels) {
		return g, fault.New(fault.TooLarge, "the image has %.3g voxels at this model's spacing; at most %d are allowed", n, maxVoxels)
	}
	out, err := transform.Spacing(g, m.Spacing)
	if err != nil {
		return g, fault.Wrap(fault.Invalid, err, "the image cannot be brought to this model's spacing")
	}
	return out, nil
}

// resampledVoxels estimates the size of the resampled image without
// overflowing.
func (m *Manifest) resampledVoxels(g imaging.Grid) float64 {
	n := 1.0
	for i, s := range g.Spacing() {
		p := m.Spacing[i]
		if p == 0 {
			p = s
		}
		n *= math.Max(1, float64(g.Size[i]-1)*s/p+1)
	}
	return n
}

// sizeText writes array sizes in the order x, y, z for people.
func (m *Manifest) sizeText(size [3]int) string {
	var by [3]int
	for i, a := range m.order() {
		by[a] = size[i]
	}
	return fmt.Sprintf("%d×%d×%d", by[0], by[1], by[2])
}
