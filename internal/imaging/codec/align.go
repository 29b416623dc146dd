package codec

import (
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// AlignTolerance is how far, in voxels, a label's lattice may lie from the
// image's to count as the same.
const AlignTolerance = 1e-3

// permutations of three axes, the unchanged order first.
var permutations = [6][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}

// Align puts a label map onto an image's grid. ok is true when both lattices
// are the same points up to the order and direction of the axes, within
// AlignTolerance; out then has exactly the grid image. Its voxels are label's
// own slice when no axis had to move. Nothing is interpolated: any other
// lattice gives ok false.
func Align(label *imaging.LabelMap, image imaging.Grid) (out *imaging.LabelMap, ok bool) {
	for flips := range 8 {
		for _, p := range permutations {
			m := imaging.AxisMap{Source: p, Flip: [3]bool{flips&1 != 0, flips&2 != 0, flips&4 != 0}}
			if d := image.Distance(label.Remap(m)); d <= AlignTolerance {
				return remap(label, image, m), true
			}
		}
	}
	return nil, false
}

// remap reorders the voxels along m and places them on grid.
func remap(l *imaging.LabelMap, grid imaging.Grid, m imaging.AxisMap) *imaging.LabelMap {
	step := [3]int{1, l.Size[0], l.Size[0] * l.Size[1]}
	var stride [3]int
	start, moved := 0, false
	for i, s := range m.Source {
		stride[i] = step[s]
		if m.Flip[i] {
			start += (l.Size[s] - 1) * step[s]
			stride[i] = -step[s]
		}
		moved = moved || s != i || m.Flip[i]
	}
	if !moved {
		return &imaging.LabelMap{Grid: grid, Data: l.Data}
	}
	out := imaging.NewLabelMap(grid)
	raw.Gather(out.Data, l.Data, grid.Size, start, stride)
	return out
}
