package morph

import (
	"cmp"
	"context"
	"slices"

	"github.com/voxloop/voxloop/internal/imaging/parallel"
)

// FindOptions says what is connected. The zero value, with a Connectivity, looks
// at every label but 0 by itself.
type FindOptions struct {
	Connectivity Connectivity
	Labels       []uint16 // labels that are looked at; empty: every label but 0
	Joint        bool     // neighbouring voxels of different labels belong together

	// Order are the strides of an index (x, y, z) in the order that numbers the
	// components: by their earliest voxel. Zero: the array's own, {1, nx, nx*ny}.
	Order [3]int
}

// Component is one connected piece.
type Component struct {
	Label    uint16 // 0 when labels were joined
	Voxels   int
	First    int    // smallest key of its voxels in the order of FindOptions
	Min, Max [3]int // the box around it, Max included
}

// Components are the connected pieces of a label array in the order of their
// first voxels. They stay valid when the array changes.
type Components struct {
	List   []Component
	forest *forest
}

// Find returns the connected components of a label array in time linear in its
// voxels, on all cores.
//
// Runs of equal labels along x are joined by union-find (Rosenfeld and Pfaltz,
// J. ACM 13, 1966, on runs). Errors: Invalid for an unknown connectivity, the
// context's, Internal for an array that is not of that size.
func Find(ctx context.Context, data []uint16, size [3]int, o FindOptions) (*Components, error) {
	if err := o.Connectivity.Check(); err != nil {
		return nil, err
	}
	if err := checkSize(len(data), size); err != nil {
		return nil, err
	}
	return find(ctx, data, size, o.classes(), o)
}

func find(ctx context.Context, data []uint16, size [3]int, class *classTable, o FindOptions) (*Components, error) {
	f, err := grow(ctx, data, size, class, o.Connectivity)
	if err != nil {
		return nil, err
	}
	c := &Components{forest: f}
	c.collect(o.order(size))
	if o.Joint {
		for i := range c.List {
			c.List[i].Label = 0
		}
	}
	return c, nil
}

func (o FindOptions) classes() *classTable {
	t := &classTable{}
	set := func(l uint16) {
		if t[l] = l; o.Joint && l != 0 {
			t[l] = 1
		}
	}
	for _, l := range o.Labels {
		set(l)
	}
	if len(o.Labels) == 0 {
		for l := range t {
			set(uint16(l))
		}
	}
	return t
}

func (o FindOptions) order(size [3]int) [3]int {
	if o.Order != [3]int{} {
		return o.Order
	}
	return [3]int{1, size[0], size[0] * size[1]}
}

// collect measures the components and leaves in every run the place of its
// component in the list. A run's parent comes before it, so one pass will do.
func (c *Components) collect(order [3]int) {
	f := c.forest
	for row := range len(f.rows) - 1 {
		y, z := row%f.size[1], row/f.size[1]
		for i := f.rows[row]; i < f.rows[row+1]; i++ {
			r := &f.runs[i]
			key := int(r.from)*order[0] + y*order[1] + z*order[2]
			if r.parent == i {
				r.parent = int32(len(c.List)) //nolint:gosec // no more components than runs
				lo := [3]int{int(r.from), y, z}
				c.List = append(c.List, Component{Label: r.class, First: key, Min: lo, Max: lo})
			} else {
				r.parent = f.runs[r.parent].parent
			}
			m := &c.List[r.parent]
			m.Voxels += int(r.to - r.from)
			m.First = min(m.First, key)
			m.Min = [3]int{min(m.Min[0], int(r.from)), min(m.Min[1], y), m.Min[2]}
			m.Max = [3]int{max(m.Max[0], int(r.to)-1), max(m.Max[1], y), z}
		}
	}
	c.sort()
}

// sort puts the list into the order of first voxels, where it is not yet so.
func (c *Components) sort() {
	byFirst := func(a, b Component) int { return cmp.Compare(a.First, b.First) }
	if slices.IsSortedFunc(c.List, byFirst) {
		return
	}
	from := make([]int32, len(c.List))
	for i := range from {
		from[i] = int32(i)
	}
	slices.SortFunc(from, func(a, b int32) int { return byFirst(c.List[a], c.List[b]) })
	list, place := make([]Component, len(from)), make([]int32, len(from))
	for i, j := range from {
		list[i], place[j] = c.List[j], int32(i)
	}
	c.List = list
	for i := range c.forest.runs {
		c.forest.runs[i].parent = place[c.forest.runs[i].parent]
	}
}

// Map returns the number of every voxel's component, the first being 1, and 0
// where there is none.
func (c *Components) Map(ctx context.Context) ([]int32, error) {
	f := c.forest
	out := make([]int32, f.size[0]*f.size[1]*f.size[2])
	err := parallel.For(ctx, len(f.rows)-1, func(_ context.Context, from, to int) error {
		f.each(from, to, func(r run, base int) {
			for i := base + int(r.from); i < base+int(r.to); i++ {
				out[i] = r.parent + 1
			}
		})
		return nil
	})
	return out, err
}

// Paint sets the voxels of the chosen components to label. data has the size
// of the array that they were found in.
func (c *Components) Paint(ctx context.Context, data []uint16, label uint16, chosen func(i int) bool) error {
	f := c.forest
	if err := checkSize(len(data), f.size); err != nil {
		return err
	}
	yes := make([]bool, len(c.List))
	for i := range yes {
		yes[i] = chosen(i)
	}
	return parallel.For(ctx, len(f.rows)-1, func(_ context.Context, from, to int) error {
		f.each(from, to, func(r run, base int) {
			if !yes[r.parent] {
				return
			}
			for i := base + int(r.from); i < base+int(r.to); i++ {
				data[i] = label
			}
		})
		return nil
	})
}

// each calls fn for the runs of some rows; base is the index of the row's
// first voxel.
func (f *forest) each(from, to int, fn func(r run, base int)) {
	for row := from; row < to; row++ {
		for _, r := range f.runs[f.rows[row]:f.rows[row+1]] {
			fn(r, row*f.size[0])
		}
	}
}
