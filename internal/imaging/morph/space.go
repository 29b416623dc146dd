package morph

import (
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Space is a convention of world coordinates.
type Space int

// NIfTI's and DICOM's directions: x and y change sign between them.
const (
	RAS Space = iota // right, anterior, superior
	LPS              // left, posterior, superior; ITK, DICOM
)

// turn changes a point between RAS and s; it is its own inverse.
func (s Space) turn(p [3]float64) [3]float64 {
	if s == LPS {
		p[0], p[1] = -p[0], -p[1]
	}
	return p
}

// Physical returns the point, in millimetres, of a voxel index; voxel centres
// are at integers, parts of a voxel and places outside are allowed.
func Physical(g imaging.Grid, index [3]float64, s Space) [3]float64 {
	return s.turn(g.Affine.Apply(index))
}

// Index returns the voxel index of a point; Invalid when the grid's affine
// cannot be inverted.
func Index(g imaging.Grid, point [3]float64, s Space) ([3]float64, error) {
	inv, ok := g.Affine.Inverse()
	if !ok {
		return [3]float64{}, fault.New(fault.Invalid, "the image's affine cannot be inverted")
	}
	return inv.Apply(s.turn(point)), nil
}

// Frame is a grid as ITK and DICOM tell it.
type Frame struct {
	Origin    [3]float64    // centre of voxel (0, 0, 0)
	Spacing   [3]float64    // mm along x, y, z
	Direction [3][3]float64 // column j: the unit vector along voxel axis j
}

// FrameOf takes the affine apart; Invalid when an axis has no length.
func FrameOf(g imaging.Grid, s Space) (Frame, error) {
	f := Frame{Origin: Physical(g, [3]float64{}, s), Spacing: g.Spacing()}
	for j := range 3 {
		if f.Spacing[j] == 0 {
			return Frame{}, fault.New(fault.Invalid, "the image's voxels have no extent along axis %d", j)
		}
		axis := s.turn([3]float64{g.Affine[0][j], g.Affine[1][j], g.Affine[2][j]})
		for i := range 3 {
			f.Direction[i][j] = axis[i] / f.Spacing[j]
		}
	}
	return f, nil
}
