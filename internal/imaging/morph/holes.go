package morph

import (
	"context"
	"slices"
)

// FillHoles gives label to every voxel that the label encloses, for the labels
// one after the other in rising order; no labels means all but 0. A voxel is
// enclosed when no path of other voxels leads from it to the border of the
// array; other labels inside are overwritten. The connectivity is that of the
// path, so the weakest (6) fills most. Planar connectivities fill slice by slice.
//
// Source: MONAI FillHoles, whose default is 26.
func FillHoles(ctx context.Context, data []uint16, size [3]int, labels []uint16, c Connectivity) error {
	if err := c.Check(); err != nil {
		return err
	}
	if err := checkSize(len(data), size); err != nil {
		return err
	}
	boxes := Boxes(data, size)
	if len(labels) == 0 {
		for l := range boxes {
			labels = append(labels, l)
		}
	}
	for _, l := range slices.Sorted(slices.Values(labels)) {
		b, ok := boxes[l]
		if l == 0 || !ok {
			continue
		}
		if err := fillHoles(ctx, data, size, l, b, c); err != nil {
			return err
		}
	}
	return nil
}

// fillHoles works within the box around the label: what reaches the box's
// border has left the label.
func fillHoles(ctx context.Context, data []uint16, size [3]int, label uint16, b Box, c Connectivity) error {
	part, n := b.Crop(data, size), b.Size()
	var others classTable
	for l := range others {
		others[l] = 1
	}
	others[label] = 0
	found, err := find(ctx, part, n, &others, FindOptions{Connectivity: c})
	if err != nil {
		return err
	}
	inside := func(i int) bool {
		m := &found.List[i]
		for a := range 3 {
			if a == 2 && c.planar() {
				continue
			}
			if m.Min[a] == 0 || m.Max[a] == n[a]-1 {
				return false
			}
		}
		return true
	}
	if !slices.ContainsFunc(indices(len(found.List)), inside) {
		return nil
	}
	if err := found.Paint(ctx, part, label, inside); err != nil {
		return err
	}
	b.paste(data, size, part)
	return nil
}

func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
