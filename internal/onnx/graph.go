package onnx

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Graph is a dataflow graph (GraphProto). Nodes stand in topological order,
// as ONNX demands; Sort restores it after edits.
type Graph struct {
	Name         string
	Nodes        []*Node
	Initializers []*Tensor
	Inputs       []*Value // may list initializers: those are optional inputs
	Outputs      []*Value
	Values       []*Value // types of inner values, as far as the exporter wrote them

	unknown []byte
}

// Initializer returns the constant with that name, or nil. It searches; an
// Index is faster for many questions.
func (g *Graph) Initializer(name string) *Tensor {
	for _, t := range g.Initializers {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// SetInitializer adds t, or replaces the constant with its name.
func (g *Graph) SetInitializer(t *Tensor) {
	for i, old := range g.Initializers {
		if old.Name == t.Name {
			g.Initializers[i] = t
			return
		}
	}
	g.Initializers = append(g.Initializers, t)
}

func (d *decoder) graph(b []byte) (*Graph, error) {
	if err := d.count(); err != nil {
		return nil, err
	}
	if d.depth++; d.depth > maxDepth {
		return nil, invalid("graphs are nested more than %d deep", maxDepth)
	}
	defer func() { d.depth-- }()
	g := &Graph{}
	err := fields(b, "graph", func(f field) (err error) {
		switch {
		case f.is(1, protowire.BytesType):
			err = grow(&g.Nodes, d.node, f.bytes)
		case f.is(2, protowire.BytesType):
			g.Name = f.string()
		case f.is(5, protowire.BytesType):
			err = grow(&g.Initializers, d.tensor, f.bytes)
		case f.is(11, protowire.BytesType):
			err = grow(&g.Inputs, d.value, f.bytes)
		case f.is(12, protowire.BytesType):
			err = grow(&g.Outputs, d.value, f.bytes)
		case f.is(13, protowire.BytesType):
			err = grow(&g.Values, d.value, f.bytes)
		default:
			g.unknown = append(g.unknown, f.whole...)
		}
		return err
	})
	return g, err
}

// grow decodes one message and appends it to list.
func grow[T any](list *[]*T, decode func([]byte) (*T, error), b []byte) error {
	v, err := decode(b)
	if err != nil {
		return err
	}
	*list = append(*list, v)
	return nil
}

func (g *Graph) encode(b []byte) []byte {
	for _, n := range g.Nodes {
		b = putMessage(b, 1, n.encode)
	}
	b = putString(b, 2, g.Name)
	for _, t := range g.Initializers {
		b = putMessage(b, 5, t.encode)
	}
	for _, v := range g.Inputs {
		b = putMessage(b, 11, v.encode)
	}
	for _, v := range g.Outputs {
		b = putMessage(b, 12, v.encode)
	}
	for _, v := range g.Values {
		b = putMessage(b, 13, v.encode)
	}
	return append(b, g.unknown...)
}

func (g *Graph) clone() *Graph {
	c := *g
	c.Nodes = convert(g.Nodes, (*Node).clone)
	c.Initializers = convert(g.Initializers, (*Tensor).clone)
	c.Inputs, c.Outputs, c.Values = convert(g.Inputs, (*Value).clone), convert(g.Outputs, (*Value).clone), convert(g.Values, (*Value).clone)
	return &c
}

// clone copies the description; the values are shared.
func (t *Tensor) clone() *Tensor {
	c := *t
	c.Dims = slices.Clone(t.Dims)
	return &c
}
