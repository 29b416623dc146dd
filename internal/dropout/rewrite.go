package dropout

import (
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// Layer is one dropout of a network and the mask that belongs to it.
type Layer struct {
	Node  string  // name of the dropout's result: what a Key names
	Input string  // of the network: the mask, uint8
	Shape []int64 // of the mask and of the value that it is for
	Ratio float64 // share that is dropped
}

// Len is the number of the mask's values.
func (l Layer) Len() int {
	n := int64(1)
	for _, d := range l.Shape {
		n *= d
	}
	return int(n)
}

// Unify returns a copy of a network (operator set 12 or newer) in which every
// form of dropout is a Dropout node with a constant ratio as its second input
// and no further ones: a switch for the training mode and masks that are
// written out with RandomUniformLike go. A ratio above 0 takes the place of the
// network's own. Errors have kind fault.Invalid and name the node.
func Unify(m *onnx.Model, ratio float64) (*onnx.Model, error) {
	out := m.Clone()
	names := out.Graph.Names()
	var err error
	replace(out.Graph, find(out.Graph), func(s site) []*onnx.Node {
		p, e := s.chosen(ratio)
		if e != nil && err == nil {
			err = e
		}
		t := onnx.NewFloat32(names.New("dropout.ratio"), nil, []float32{float32(p)})
		out.Graph.SetInitializer(t)
		return []*onnx.Node{{Name: s.node.Name, Op: "Dropout", Inputs: []string{s.x, t.Name}, Outputs: []string{s.out}}}
	})
	return out, err
}

// Off returns a copy of a network in which every form of dropout passes its
// values on: what inference runs. A Dropout node that was exported in training
// mode would drop there too.
func Off(m *onnx.Model) *onnx.Model {
	out := m.Clone()
	replace(out.Graph, find(out.Graph), func(s site) []*onnx.Node {
		if s.shared {
			s.node.Inputs = s.node.Inputs[:min(2, len(s.node.Inputs))] // without a switch it does not drop
			return []*onnx.Node{s.node}
		}
		return []*onnx.Node{{Name: s.node.Name, Op: "Identity", Inputs: []string{s.x}, Outputs: []string{s.out}}}
	})
	return out
}

// Count returns the number of dropouts of a network, and how many of them have
// a constant ratio above 0.
func Count(m *onnx.Model) (all, dropping int) {
	for _, s := range find(m.Graph) {
		all++
		if s.ratio > 0 && dropped(s.ratio) > 0 {
			dropping++
		}
	}
	return all, dropping
}

// WithMasks returns a copy of a network for inference whose dropouts multiply
// by masks. Masks are further inputs, behind the network's own, in the order of
// the layers; values that a layer with ratio 0 passes on get no mask. A ratio
// above 0 takes the place of the network's own.
//
// The shape of the input must be fixed (onnx.Model.FixShape), unless free is
// set: the masks' shapes then hold -1 where they are not known, and those for
// one size of the input are the shapes of the layers of a copy that is fixed to
// it. Errors have kind fault.Invalid and name the node.
func WithMasks(m *onnx.Model, ratio float64, free bool) (*onnx.Model, []Layer, error) {
	out, err := Unify(m, ratio) // sizes follow through Dropout nodes only
	if err != nil {
		return nil, nil, err
	}
	if err := out.Graph.Sort(); err != nil {
		return nil, nil, err
	}
	shapes, names := out.StaticShapes(), out.Graph.Names()
	var layers []Layer
	replace(out.Graph, find(out.Graph), func(s site) []*onnx.Node {
		shape := shapes[s.x]
		switch {
		case dropped(s.ratio) == 0:
			return []*onnx.Node{{Name: s.node.Name, Op: "Identity", Inputs: []string{s.x}, Outputs: []string{s.out}}}
		case shape == nil || !free && slices.Min(append([]int64{1}, shape...)) < 1:
			err = fault.New(fault.Invalid, "node %q: the size of what it drops does not follow from the input's", s.node.Name)
			return nil
		}
		layers = append(layers, Layer{Node: s.out, Input: names.New("dropout.mask"), Shape: shape, Ratio: s.ratio})
		return masked(out, names, s, layers[len(layers)-1])
	})
	return out, layers, err
}

// masked is x·float(mask)·scale.
func masked(m *onnx.Model, names *onnx.Names, s site, l Layer) []*onnx.Node {
	m.AddInput(l.Input, onnx.Uint8, l.Shape...)
	scale := onnx.NewFloat32(names.New("dropout.scale"), nil, []float32{float32(Scale(l.Ratio))})
	m.AddInitializer(scale)
	mask, kept := names.New("dropout.float"), names.New("dropout.kept")
	return []*onnx.Node{
		{Name: mask, Op: "Cast", Inputs: []string{l.Input}, Outputs: []string{mask}, Attrs: []*onnx.Attr{onnx.IntAttr("to", int64(onnx.Float32))}},
		{Name: kept, Op: "Mul", Inputs: []string{s.x, mask}, Outputs: []string{kept}},
		{Name: s.node.Name, Op: "Mul", Inputs: []string{kept, scale.Name}, Outputs: []string{s.out}},
	}
}
