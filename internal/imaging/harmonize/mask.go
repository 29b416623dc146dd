package harmonize

import (
	"context"

	"github.com/voxloop/voxloop/internal/imaging/morph"
)

// NonzeroMask marks the voxels that are other than 0 in any image, and the
// holes between them: voxels that no path over shared faces joins with the
// array's border. images are arrays of size, the last axis fastest; there is
// at least one.
//
// Source: nnU-Net v2 create_nonzero_mask, with SciPy's binary_fill_holes.
func NonzeroMask(ctx context.Context, images [][]float32, size [3]int) ([]bool, error) {
	region := make([]uint16, len(images[0]))
	for _, v := range images {
		err := each(ctx, v, func(v []float32, from int) {
			for i, x := range v {
				if x != 0 {
					region[from+i] = 1
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	xFastest := [3]int{size[2], size[1], size[0]}
	if err := morph.FillHoles(ctx, region, xFastest, []uint16{1}, morph.Faces); err != nil {
		return nil, err
	}
	mask := make([]bool, len(region))
	for i, r := range region {
		mask[i] = r != 0
	}
	return mask, nil
}
