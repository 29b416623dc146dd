package harmonize

import "context"

// NonzeroMask marks the voxels that are other than 0 in any image, and the
// holes between them: voxels that no path over shared faces joins with the
// array's border. images are arrays of size, the last axis fastest; there is
// at least one.
//
// Source: nnU-Net v2 create_nonzero_mask, with SciPy's binary_fill_holes.
func NonzeroMask(ctx context.Context, images [][]float32, size [3]int) ([]bool, error) {
	mask := make([]bool, len(images[0]))
	for _, v := range images {
		err := each(ctx, v, func(v []float32, from int) {
			for i, x := range v {
				if x != 0 {
					mask[from+i] = true
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return mask, fillHoles(ctx, mask, size)
}

// fillHoles marks every unmarked voxel that is not joined with the border.
func fillHoles(ctx context.Context, mask []bool, size [3]int) error {
	outside := make([]bool, len(mask))
	var stack []int
	visit := func(i int) {
		if !mask[i] && !outside[i] {
			outside[i] = true
			stack = append(stack, i)
		}
	}
	border(size, visit)
	step := [3]int{size[1] * size[2], size[2], 1}
	for n := 0; len(stack) > 0; n++ {
		if n%block == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		at := [3]int{i / step[0], i / step[1] % size[1], i % size[2]}
		for d := range 3 {
			if at[d] > 0 {
				visit(i - step[d])
			}
			if at[d] < size[d]-1 {
				visit(i + step[d])
			}
		}
	}
	for i, out := range outside {
		mask[i] = !out
	}
	return nil
}

// border visits the voxels on the array's six faces.
func border(size [3]int, visit func(i int)) {
	for x := range size[0] {
		for y := range size[1] {
			row := (x*size[1] + y) * size[2]
			if x > 0 && x < size[0]-1 && y > 0 && y < size[1]-1 {
				visit(row)
				visit(row + size[2] - 1)
				continue
			}
			for z := range size[2] {
				visit(row + z)
			}
		}
	}
}
