package onnx

import "slices"

// Info describes an input or output of a model.
type Info struct {
	Name  string
	Type  DataType
	Shape []int64 // -1 where free; nil when the rank is unknown
}

// Inputs returns the values that a caller must supply, in the model's order.
func (m *Model) Inputs() []Info { return m.inputs(false) }

// OptionalInputs returns the inputs that have a default (an initializer of the
// same name), such as a dropout probability.
func (m *Model) OptionalInputs() []Info { return m.inputs(true) }

func (m *Model) inputs(optional bool) []Info {
	defaults := make(map[string]bool, len(m.Graph.Initializers))
	for _, t := range m.Graph.Initializers {
		defaults[t.Name] = true
	}
	var out []Info
	for _, v := range m.Graph.Inputs {
		if defaults[v.Name] == optional {
			out = append(out, v.info())
		}
	}
	return out
}

// Outputs returns what the model computes, in its order.
func (m *Model) Outputs() []Info { return convert(m.Graph.Outputs, (*Value).info) }

func (v *Value) info() Info { return Info{Name: v.Name, Type: v.Type, Shape: v.Shape()} }

// Opset returns the version of the operator set of a domain ("" is ONNX's
// own), or 0 when the model does not use it.
func (m *Model) Opset(domain string) int64 {
	for _, o := range m.Opsets {
		if o.Domain == domain || (domain == "" && o.Domain == "ai.onnx") {
			return o.Version
		}
	}
	return 0
}

// Features are figures about a model for people and logs.
type Features struct {
	Ops        map[string]int // operator (with domain where it is not ONNX's own) → nodes, subgraphs included
	Parameters int64          // elements of the floating-point initializers
}

// Features counts operators and parameters.
func (m *Model) Features() Features {
	f := Features{Ops: map[string]int{}}
	m.Graph.walk(func(n *Node) {
		name := n.Op
		if !n.Is(n.Op) {
			name = n.Domain + "." + n.Op
		}
		f.Ops[name]++
	})
	for _, t := range m.Graph.Initializers {
		if slices.Contains([]DataType{Float32, Float64, Float16, BFloat16}, t.Type) {
			f.Parameters += int64(t.Len())
		}
	}
	return f
}

// walk calls fn for every node of g and of its subgraphs.
func (g *Graph) walk(fn func(*Node)) {
	for _, n := range g.Nodes {
		fn(n)
		for _, a := range n.Attrs {
			for _, sub := range a.graphs() {
				sub.walk(fn)
			}
		}
	}
}
