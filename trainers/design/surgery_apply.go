package design

import (
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// apply makes the cut: the node gets the changed parameter.
func (o *operation) apply(c *cut) error {
	name := c.node.Input(c.place)
	t := o.parameter(name)
	if t == nil {
		return fault.New(fault.Invalid, "the network's channels cannot be changed: input %d of %s (node %q) is no parameter", c.place, c.node.Op, c.node.Name)
	}
	old, err := t.Float32()
	if err != nil {
		return fault.New(fault.Invalid, "the network's channels cannot be changed: parameter %q is no float32", t.Name)
	}
	for _, axis := range c.axes {
		if most := slices.Max(o.keep); axis >= len(t.Dims) || most >= int(t.Dims[axis]) {
			return fault.New(fault.Invalid, "the network has no channel %d: parameter %q has the shape %v", most, t.Name, t.Dims)
		}
	}
	place := o.place(c, t, name)
	place.dims = slices.Clone(t.Dims)
	for _, axis := range c.axes {
		place.dims[axis] = int64(len(o.keep))
	}
	v := onnx.NewFloat32(place.name, place.dims, o.moved(c, t, old, place))
	if !place.constant {
		o.m.Graph.SetInitializer(v)
		return nil
	}
	node := &onnx.Node{Name: place.name, Op: "Constant", Outputs: []string{place.name}, Attrs: []*onnx.Attr{onnx.TensorAttr("value", v)}}
	o.m.Graph.Nodes = slices.Insert(o.m.Graph.Nodes, 0, node)
	return nil
}

// target is where a changed parameter goes.
type target struct {
	name     string
	dims     []int64
	constant bool // a Constant node, which training leaves alone
}

// place gives a parameter that others read, too, a copy of its own for this
// node.
func (o *operation) place(c *cut, t *onnx.Tensor, reads string) target {
	readers := 0
	for _, n := range o.m.Graph.Nodes {
		for _, in := range n.Inputs {
			if in == t.Name || in == reads {
				readers++
			}
		}
	}
	direct := t.Name == reads && o.m.Graph.Initializer(reads) != nil
	if p := o.x.Producer(reads); p != nil && p.Is("Unsqueeze") {
		return target{name: t.Name} // keeps its place before the Unsqueeze
	}
	if direct && readers == 1 {
		return target{name: t.Name}
	}
	own := o.m.Graph.Names().New(reads + ".own")
	c.node.Inputs[c.place] = own
	return target{name: own, constant: o.m.Graph.Initializer(t.Name) == nil}
}

// moved returns the values of a changed parameter.
func (o *operation) moved(c *cut, t *onnx.Tensor, old []float32, to target) []float32 {
	out := make([]float32, int(product(to.dims)))
	random := []float32(nil)
	if c.small && slices.Contains(o.keep, Fresh) {
		random = make([]float32, len(out))
		u := use{role: roleWeight, node: c.node}
		normals(random, smallStart*heDeviation(u.fanIn(to.dims)), o.seed, to.name)
	}
	at := make([]int64, len(to.dims))
	for i := range out {
		from, first, fresh := o.source(c, t.Dims, at)
		switch {
		case !fresh:
			out[i] = old[from]
		case random != nil && first:
			out[i] = random[i]
		case len(c.axes) == 1 && !c.small:
			out[i] = c.fresh
		}
		next(at, to.dims)
	}
	return out
}

// source maps an element of the changed parameter to the old one. first tells
// whether it is fresh along the first of the cut's axes.
func (o *operation) source(c *cut, dims, at []int64) (from int, first, fresh bool) {
	for axis, i := range at {
		if k := slices.Index(c.axes, axis); k >= 0 {
			i = int64(o.keep[i])
			if i == Fresh {
				fresh, first = true, first || k == 0
				i = 0
			}
		}
		from = from*int(dims[axis]) + int(i)
	}
	return from, first, fresh
}

// next advances an index in row-major order.
func next(at, dims []int64) {
	for k := len(at) - 1; k >= 0; k-- {
		if at[k]++; at[k] < dims[k] {
			return
		}
		at[k] = 0
	}
}
