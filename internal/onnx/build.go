package onnx

import "strconv"

// irVersion is written by NewModel: 8 goes with operator sets 15 to 18 and is
// read by every runtime in use.
const irVersion = 8

// NewModel returns an empty model on ONNX's operator set of that version.
func NewModel(opset int64) *Model {
	return &Model{
		IRVersion: irVersion, Producer: "voxloop",
		Opsets: []Opset{{Version: opset}}, Graph: &Graph{Name: "main"},
	}
}

// AddInput adds an input; a dimension of -1 is free.
func (m *Model) AddInput(name string, t DataType, shape ...int64) {
	m.Graph.Inputs = append(m.Graph.Inputs, NewValue(name, t, shape...))
}

// AddOutput declares a computed value as output; a dimension of -1 is free.
func (m *Model) AddOutput(name string, t DataType, shape ...int64) {
	m.Graph.Outputs = append(m.Graph.Outputs, NewValue(name, t, shape...))
}

// AddNode appends an operator call and returns it.
func (m *Model) AddNode(op string, inputs, outputs []string, attrs ...*Attr) *Node {
	n := &Node{Name: op + "_" + strconv.Itoa(len(m.Graph.Nodes)), Op: op, Inputs: inputs, Outputs: outputs, Attrs: attrs}
	m.Graph.Nodes = append(m.Graph.Nodes, n)
	return n
}

// AddInitializer adds or replaces a constant.
func (m *Model) AddInitializer(t *Tensor) { m.Graph.SetInitializer(t) }
