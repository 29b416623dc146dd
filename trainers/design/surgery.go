package design

import (
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// Change says which channels a network shall have. Each entry stands for a new
// channel and names the old one that it continues; Fresh begins anew. nil leaves
// them as they are.
type Change struct {
	Classes []int // of the outputs
	Inputs  []int // of the image
}

// Fresh marks a channel that continues none.
const Fresh = -1

// smallStart is the deviation of a fresh class's weights as a share of
// He's: its scores begin near 0.
const smallStart = 0.1

// Surgery returns a copy of a network with other classes or input channels.
// What a kept channel computes stays what it was: the weights of kept channels
// are moved, a fresh input channel begins with weights 0 (it learns from the
// first step on), and kept classes do not look at fresh ones. Fresh classes
// begin with small random weights (by the seed), bias 0. Only where a network
// mixes its classes (MONAI's UNet ends in a residual unit of them) and some are
// taken away, those that stay miss what they got from them.
//
// The change is followed from the outputs back, and from the image on, up to
// the convolutions where channels begin and end: through activations,
// normalisations, pooling, interpolation and sums. Errors are of kind
// fault.Invalid and name the node at which that is not possible.
func Surgery(m *onnx.Model, c Change, seed uint64) (*onnx.Model, error) {
	out := m.Clone()
	if err := out.Graph.Sort(); err != nil {
		return nil, err
	}
	inputs := out.Inputs()
	if len(inputs) != 1 || len(inputs[0].Shape) < 3 {
		return nil, fault.New(fault.Invalid, "the network cannot be changed: one input [N, C, spatial…] is needed")
	}
	rank := len(inputs[0].Shape)
	if c.Classes != nil {
		var names []string
		for _, o := range out.Outputs() {
			names = append(names, o.Name)
		}
		if err := newOperation(out, c.Classes, rank, seed).run(names); err != nil {
			return nil, err
		}
		for _, v := range out.Graph.Outputs {
			setChannels(v, len(c.Classes))
		}
	}
	if c.Inputs != nil {
		if err := newOperation(out, c.Inputs, rank, seed).run([]string{inputs[0].Name}); err != nil {
			return nil, err
		}
		for _, v := range out.Graph.Inputs {
			if v.Name == inputs[0].Name {
				setChannels(v, len(c.Inputs))
			}
		}
	}
	return out, nil
}

func setChannels(v *onnx.Value, n int) {
	if len(v.Dims) > 1 {
		v.Dims[1] = onnx.Dim{Size: int64(n)}
	}
}

// operation gives one set of values another number of channels.
type operation struct {
	m    *onnx.Model
	x    *onnx.Index
	keep []int // new channel → old one
	rank int   // of the values: batch, channels, space
	seed uint64

	in    map[string]bool // values whose channels change
	queue []string
	cuts  []*cut
}

// cut is a parameter that has the changed channels on one or two axes.
type cut struct {
	node  *onnx.Node
	place int // among the node's inputs
	axes  []int
	fresh float32 // value of fresh channels where they are not random
	small bool    // fresh channels along the first of axes get small random weights
}

func newOperation(m *onnx.Model, keep []int, rank int, seed uint64) *operation {
	return &operation{m: m, x: m.Graph.Index(), keep: keep, rank: rank, seed: seed, in: map[string]bool{}}
}

func (o *operation) run(start []string) error {
	if len(o.keep) == 0 {
		return fault.New(fault.Invalid, "the network cannot be changed: no channel would be left")
	}
	for _, name := range start {
		o.join(name)
	}
	for len(o.queue) > 0 {
		name := o.queue[0]
		o.queue = o.queue[1:]
		if p := o.x.Producer(name); p != nil {
			if err := o.visit(p, name); err != nil {
				return err
			}
		} else if !slices.Contains(start, name) {
			return fault.New(fault.Invalid, "the network cannot be changed: the classes are tied to the image's channels")
		}
		for _, n := range o.x.Consumers(name) {
			if err := o.visit(n, name); err != nil {
				return err
			}
		}
	}
	for _, c := range o.cuts {
		if err := o.apply(c); err != nil {
			return err
		}
	}
	o.m.Graph.Values = slices.DeleteFunc(o.m.Graph.Values, func(v *onnx.Value) bool { return o.in[v.Name] })
	return nil
}

// join adds a value to those that change.
func (o *operation) join(name string) {
	if !o.in[name] {
		o.in[name] = true
		o.queue = append(o.queue, name)
	}
}

// along are operators whose result has the channels of their first input.
var along = []string{
	"Identity", "Dropout", "Cast", "LeakyRelu", "Relu", "Elu", "Selu", "Sigmoid", "Tanh", "Softplus", "Softsign", "HardSigmoid", "HardSwish",
	"Gelu", "Mish", "Erf", "Exp", "Log", "Abs", "Neg", "Sqrt", "Clip", "Softmax", "LogSoftmax", "Pad", "Resize",
	"MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool",
}

// visit follows the change through a node that makes or reads the value.
func (o *operation) visit(n *onnx.Node, name string) error {
	made := slices.Contains(n.Outputs, name)
	switch {
	case slices.Contains(along, n.Op) && (made || n.Input(0) == name):
		o.join(n.Input(0))
		o.join(n.Outputs[0])
	case n.Is("Conv") && n.Int("group", 1) == 1:
		o.weight(n, made, 0, 1)
	case n.Is("ConvTranspose") && n.Int("group", 1) == 1:
		o.weight(n, made, 1, 0)
	case n.Is("InstanceNormalization"), n.Is("BatchNormalization"):
		o.join(n.Input(0))
		o.join(n.Outputs[0])
		for i := 1; i < len(n.Inputs); i++ {
			o.cut(&cut{node: n, place: i, axes: []int{0}, fresh: []float32{0, 1, 0, 0, 1}[i]})
		}
	case n.Is("PRelu"):
		o.join(n.Input(0))
		o.join(n.Outputs[0])
		o.operand(n, 1, 0.25)
	case n.Is("Add"), n.Is("Sub"), n.Is("Mul"), n.Is("Div"), n.Is("Sum"), n.Is("Max"), n.Is("Min"):
		o.join(n.Outputs[0])
		for i := range n.Inputs {
			o.operand(n, i, map[string]float32{"Mul": 1, "Div": 1}[n.Op])
		}
	case n.Is("Shape") && !made:
	default:
		return fault.New(fault.Invalid, "the network's channels cannot be changed: %s (node %q) is in the way", n.Op, n.Name)
	}
	return nil
}

// weight notes the cut of a convolution: along axis out where the value is its
// result, along axis in where it reads it.
func (o *operation) weight(n *onnx.Node, made bool, out, in int) {
	if !made {
		o.cut(&cut{node: n, place: 1, axes: []int{in}})
		return
	}
	o.cut(&cut{node: n, place: 1, axes: []int{out}, small: true})
	if n.Input(2) != "" {
		o.cut(&cut{node: n, place: 2, axes: []int{0}})
	}
}

// operand joins an operand of elementwise arithmetic, or notes its cut where it
// is a constant with channels.
func (o *operation) operand(n *onnx.Node, place int, fresh float32) {
	name := n.Input(place)
	t := o.parameter(name)
	if t == nil {
		if o.x.Constant(name) == nil {
			o.join(name)
		}
		return
	}
	axis := len(t.Dims) - (o.rank - 1)
	if len(t.Dims) == 1 { // a vector that an Unsqueeze brings into place
		axis = 0
	}
	if t.Len() > 1 && axis >= 0 && t.Dims[axis] > 1 {
		o.cut(&cut{node: n, place: place, axes: []int{axis}, fresh: fresh})
	}
}

// parameter finds the initializer or constant behind a name and nodes that only
// name or unsqueeze it.
func (o *operation) parameter(name string) *onnx.Tensor {
	placed := false
	for range maxLayout {
		if p := o.x.Producer(name); p != nil && p.Is("Constant") && !placed {
			return o.x.Constant(name)
		}
		if t := o.m.Graph.Initializer(name); t != nil {
			return t
		}
		p := o.x.Producer(name)
		if p == nil || !(p.Is("Identity") || p.Is("Unsqueeze")) {
			return nil
		}
		placed = placed || p.Is("Unsqueeze")
		name = p.Input(0)
	}
	return nil
}

// cut notes a cut, joining it with one of the same parameter.
func (o *operation) cut(c *cut) {
	for _, old := range o.cuts {
		if old.node != c.node || old.place != c.place {
			continue
		}
		for _, a := range c.axes {
			switch {
			case slices.Contains(old.axes, a):
			case c.small:
				old.axes, old.small = slices.Insert(old.axes, 0, a), true
			default:
				old.axes = append(old.axes, a)
			}
		}
		return
	}
	o.cuts = append(o.cuts, c)
}
