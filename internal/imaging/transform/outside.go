package transform

import "math"

// Outside says what a sample finds beyond the outermost voxel centres of an
// axis of n voxels, 0 to n-1.
type Outside uint8

// The ways. PyTorch's and SciPy's names for them stand behind.
const (
	Clamp   Outside = iota // the outermost voxel goes on (border; nearest)
	Zero                   // voxels beyond count as 0: samples up to one voxel outside blend with it (zeros; grid-constant)
	Mirror                 // mirrored at the outermost centres, 0 and n-1 (reflection, align_corners; mirror)
	Reflect                // mirrored at the outer faces, -1/2 and n-1/2 (reflection; reflect)
)

// fold brings a coordinate back inside an axis of n voxels: into [0, n-1] for
// Mirror, [-1/2, n-1/2] for Reflect. The other ways leave it as it is.
func (o Outside) fold(c float64, n int) float64 {
	var edge float64
	switch o {
	case Mirror:
	case Reflect:
		edge = 0.5
	case Clamp, Zero:
		return c
	}
	span := float64(n-1) + 2*edge
	if span == 0 {
		return 0
	}
	c = math.Mod(math.Abs(c+edge), 2*span)
	if c > span {
		c = 2*span - c
	}
	return c - edge
}

// voxel returns the voxel that stands at index i of an axis of n, or -1 for 0.
func (o Outside) voxel(i, n int) int {
	switch {
	case i >= 0 && i < n:
		return i
	case o == Zero:
		return -1
	}
	return min(max(int(math.Round(o.fold(float64(i), n))), 0), n-1)
}
