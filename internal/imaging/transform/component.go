package transform

import (
	"context"

	"github.com/voxloop/voxloop/internal/imaging/morph"
)

// Keep says which connected components of a label array survive.
type Keep struct {
	Labels       []uint16 // labels that are looked at; empty: every label but 0
	Joint        bool     // neighbouring voxels of different labels belong together
	Connectivity int      // 6, 18 or 26 neighbours
	Count        int      // components to keep per label (or of all labels, when Joint); 0 means 1

	// Order are the strides of an index (i, j, k) in the order that decides
	// between components of equal size: the one with the earliest voxel stays.
	// Zero: the array's own order.
	Order [3]int
}

// Largest sets all voxels of the chosen labels to 0 that are not in one of
// their Count largest components. data is row-major of the given size.
//
// Source: MONAI KeepLargestConnectedComponent; equal sizes are decided as
// there, by the first voxel in the order of the array [x, y, z].
func (k Keep) Largest(data []uint16, size [3]int) error {
	o := morph.FindOptions{
		Connectivity: morph.Connectivity(k.Connectivity), Labels: k.Labels, Joint: k.Joint,
		Order: [3]int{k.Order[2], k.Order[1], k.Order[0]},
	}
	// morph counts the fastest axis first.
	return morph.KeepLargest(context.Background(), data, [3]int{size[2], size[1], size[0]}, o, k.Count)
}
