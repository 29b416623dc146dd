package morph

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// KeepLargest sets the voxels of the chosen labels to 0 that are not in one of
// the count largest components of their label (of all labels, when Joint).
// Among equal sizes the one with the earliest voxel, in o's order, stays. count
// below 1 means 1.
func KeepLargest(ctx context.Context, data []uint16, size [3]int, o FindOptions, count int) error {
	c, err := Find(ctx, data, size, o)
	if err != nil {
		return err
	}
	kept := c.largest(max(count, 1))
	return c.Paint(ctx, data, 0, func(i int) bool { return !kept[i] })
}

// largest marks the count largest components of every label.
func (c *Components) largest(count int) []bool {
	bySize := make([]int, len(c.List))
	for i := range bySize {
		bySize[i] = i
	}
	slices.SortFunc(bySize, func(a, b int) int {
		return cmp.Or(cmp.Compare(c.List[b].Voxels, c.List[a].Voxels), cmp.Compare(a, b))
	})
	kept := make([]bool, len(c.List))
	seen := make(map[uint16]int)
	for _, i := range bySize {
		if l := c.List[i].Label; seen[l] < count {
			seen[l]++
			kept[i] = true
		}
	}
	return kept
}

// RemoveSmall sets the components of fewer than voxels voxels to 0.
func RemoveSmall(ctx context.Context, data []uint16, size [3]int, o FindOptions, voxels int) error {
	c, err := Find(ctx, data, size, o)
	if err != nil {
		return err
	}
	return c.Paint(ctx, data, 0, func(i int) bool { return c.List[i].Voxels < voxels })
}

// RemoveRare sets the labels that have fewer than voxels voxels in the whole
// array to 0, however they are spread. That is what MONAI's RemoveSmallObjects
// does to a label map with values above 1.
func RemoveRare(data []uint16, voxels int) {
	var count [1 << 16]int
	for _, l := range data {
		count[l]++
	}
	for i, l := range data {
		if count[l] < voxels {
			data[i] = 0
		}
	}
}

// MinVoxels returns the fewest voxels of the given volume (mm³) that reach
// volume mm³. It is 0 for a volume that is not above 0.
func MinVoxels(volume, voxel float64) int {
	if !(volume > 0) || !(voxel > 0) {
		return 0
	}
	return int(min(math.Ceil(volume/voxel), math.MaxInt32))
}
