// Package morph works on the shape of label maps: connected components, holes,
// small objects, smoothing, statistics per label, and the rules that put them
// together for each class.
//
// A label array is x fastest, index = x + nx*(y + ny*z), of size {nx, ny, nz};
// 0 is background. Distances are millimetres, volumes cubic millimetres.
package morph

import (
	"github.com/voxloop/voxloop/internal/fault"
)

// Connectivity is the number of neighbours that a voxel is joined to.
type Connectivity int

// The neighbourhoods: across faces, also across edges, also across corners.
// Planar4 and Planar8 are those of 2-D: they join within a z slice only.
const (
	Planar4 Connectivity = 4
	Planar8 Connectivity = 8
	Faces   Connectivity = 6
	Edges   Connectivity = 18
	Corners Connectivity = 26
)

// Check reports an unknown neighbourhood (Invalid).
func (c Connectivity) Check() error {
	switch c {
	case Planar4, Planar8, Faces, Edges, Corners:
		return nil
	}
	return fault.New(fault.Invalid, "connectivity %d is none of 6, 18, 26 (volumes) and 4, 8 (slices)", int(c))
}

// planar reports whether slices are looked at one by one.
func (c Connectivity) planar() bool { return c == Planar4 || c == Planar8 }

// none is a row that is no neighbour.
const none = -1

// reach says how far, along x, runs of neighbouring rows may miss each other
// and still touch; none where the rows are no neighbours.
type reach struct {
	row      int32 // (y-1, z)
	plane    int32 // (y, z-1)
	diagonal int32 // (y±1, z-1)
}

func (c Connectivity) reach() reach {
	switch c {
	case Planar4:
		return reach{0, none, none}
	case Planar8:
		return reach{1, none, none}
	case Faces:
		return reach{0, 0, none}
	case Edges:
		return reach{1, 1, 0}
	case Corners:
	}
	return reach{1, 1, 1}
}

// checkSize reports an array that does not have the voxels of size (Internal:
// the caller's mistake).
func checkSize(n int, size [3]int) error {
	if size[0] < 1 || size[1] < 1 || size[2] < 1 || n != size[0]*size[1]*size[2] {
		return fault.New(fault.Internal, "%d voxels are not %d×%d×%d", n, size[0], size[1], size[2])
	}
	return nil
}
