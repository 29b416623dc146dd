package transform

import (
	"cmp"
	"fmt"
	"slices"
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
	if k.Connectivity != 6 && k.Connectivity != 18 && k.Connectivity != 26 {
		return fmt.Errorf("connectivity %d is none of 6, 18, 26", k.Connectivity)
	}
	class := k.classes()
	f := &forest{size: size, connectivity: k.Connectivity}
	f.scan(data, class)
	f.join()
	comps := f.components(k.order(size))
	count := max(k.Count, 1)
	kept := make(map[int32]bool)
	seen := make(map[uint32]int)
	for _, c := range comps {
		if seen[c.class] < count {
			seen[c.class]++
			kept[c.root] = true
		}
	}
	for i := range f.runs {
		if r := &f.runs[i]; !kept[f.find(int32(i))] {
			clear(data[r.from:r.to])
		}
	}
	return nil
}

// classes returns the class of every label: voxels are connected when their
// classes are equal and not 0.
func (k Keep) classes() func(uint16) uint32 {
	var chosen map[uint16]bool
	if len(k.Labels) > 0 {
		chosen = make(map[uint16]bool, len(k.Labels))
		for _, l := range k.Labels {
			chosen[l] = true
		}
	}
	return func(l uint16) uint32 {
		switch {
		case l == 0 || chosen != nil && !chosen[l]:
			return 0
		case k.Joint:
			return 1
		}
		return uint32(l)
	}
}

func (k Keep) order(size [3]int) [3]int {
	if k.Order != [3]int{} {
		return k.Order
	}
	return [3]int{size[1] * size[2], size[2], 1}
}

// component is a finished component.
type component struct {
	root  int32
	class uint32
	size  int
	first int // smallest key of its voxels in the deciding order
}

// components returns all components, per class the largest first, equal sizes
// by their first voxel.
func (f *forest) components(order [3]int) []component {
	at := make(map[int32]int)
	var out []component
	for i := range f.runs {
		r := &f.runs[i]
		root := f.find(int32(i))
		n, ok := at[root]
		if !ok {
			n = len(out)
			at[root] = n
			out = append(out, component{root: root, class: r.class, first: f.firstKey(r, order)})
		}
		out[n].size += r.to - r.from
		out[n].first = min(out[n].first, f.firstKey(r, order))
	}
	slices.SortFunc(out, func(a, b component) int {
		return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(a.first, b.first))
	})
	return out
}

// firstKey is the smallest key in a run; keys grow along an axis.
func (f *forest) firstKey(r *run, order [3]int) int {
	k := r.from % f.size[2]
	row := r.from / f.size[2]
	return row/f.size[1]*order[0] + row%f.size[1]*order[1] + k*order[2]
}
