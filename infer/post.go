package infer

import (
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// post runs the post-processing steps of one place on a label array. order are
// the strides that decide between components of equal size.
func (m *Manifest) post(labels []uint16, size, order [3]int, when string, o Options) error {
	for _, k := range m.keepSteps(o) {
		if k.When != when {
			continue
		}
		keep := transform.Keep{
			Labels: m.valuesOf(k.Labels), Joint: !k.EachAlone, Connectivity: k.Connectivity, Count: k.Count, Order: order,
		}
		if err := keep.Largest(labels, size); err != nil {
			return err
		}
	}
	return nil
}

// keepSteps returns the steps that remain under the caller's wish: none when
// it wants all components, one over every label when it wants the largest and
// the manifest has no such step.
func (m *Manifest) keepSteps(o Options) []KeepLargest {
	if o.LargestComponent != nil && !*o.LargestComponent {
		return nil
	}
	var steps []KeepLargest
	for _, p := range m.Postprocess {
		steps = append(steps, *p.KeepLargest)
	}
	if len(steps) == 0 && o.LargestComponent != nil {
		var k KeepLargest
		k.setDefaults()
		steps = append(steps, k)
	}
	return steps
}

// keyOrder returns the strides of array axes in the order of the array
// [x, y, z], in which MONAI looks for the first of several components.
func keyOrder(order, size [3]int) (strides [3]int) {
	var by [3]int // size by grid axis
	for i, a := range order {
		by[a] = size[i]
	}
	grid := [3]int{by[1] * by[2], by[2], 1}
	for i, a := range order {
		strides[i] = grid[a]
	}
	return strides
}

// postImage runs the steps that come after restoring.
func (m *Manifest) postImage(l *imaging.LabelMap, o Options) error {
	stored := [3]int{2, 1, 0}
	size := [3]int{l.Size[2], l.Size[1], l.Size[0]}
	return m.post(l.Data, size, keyOrder(stored, size), afterRestore, o)
}
