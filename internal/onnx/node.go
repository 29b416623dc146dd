package onnx

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Node is one operator call (NodeProto). An empty name in Inputs or Outputs
// is an optional value that is not given.
type Node struct {
	Name    string
	Op      string // operator type, "Conv"
	Domain  string // "" is ONNX's own operator set ("ai.onnx" means the same)
	Inputs  []string
	Outputs []string
	Attrs   []*Attr

	unknown []byte
}

// Is reports whether n is ONNX's own operator op (not another domain's).
func (n *Node) Is(op string) bool {
	return n.Op == op && (n.Domain == "" || n.Domain == "ai.onnx")
}

// Input returns the name of input i, or "" where it is not given.
func (n *Node) Input(i int) string {
	if i < len(n.Inputs) {
		return n.Inputs[i]
	}
	return ""
}

// Attr returns the attribute with that name, or nil.
func (n *Node) Attr(name string) *Attr {
	for _, a := range n.Attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// Int returns an integer attribute, or def where it is absent.
func (n *Node) Int(name string, def int64) int64 {
	if a := n.Attr(name); a != nil && a.Type == AttrInt {
		return a.Int
	}
	return def
}

// Float returns a float attribute, or def where it is absent.
func (n *Node) Float(name string, def float32) float32 {
	if a := n.Attr(name); a != nil && a.Type == AttrFloat {
		return a.Float
	}
	return def
}

// Ints returns a list attribute, or nil where it is absent.
func (n *Node) Ints(name string) []int64 {
	if a := n.Attr(name); a != nil && a.Type == AttrInts {
		return a.Ints
	}
	return nil
}

// SetAttr adds a, or replaces the attribute with its name.
func (n *Node) SetAttr(a *Attr) {
	for i, old := range n.Attrs {
		if old.Name == a.Name {
			n.Attrs[i] = a
			return
		}
	}
	n.Attrs = append(n.Attrs, a)
}

func (d *decoder) node(b []byte) (*Node, error) {
	if err := d.count(); err != nil {
		return nil, err
	}
	n := &Node{}
	err := fields(b, "node", func(f field) error {
		switch {
		case f.is(1, protowire.BytesType):
			n.Inputs = append(n.Inputs, f.string())
			return d.count()
		case f.is(2, protowire.BytesType):
			n.Outputs = append(n.Outputs, f.string())
			return d.count()
		case f.is(3, protowire.BytesType):
			n.Name = f.string()
		case f.is(4, protowire.BytesType):
			n.Op = f.string()
		case f.is(5, protowire.BytesType):
			a, err := d.attr(f.bytes)
			n.Attrs = append(n.Attrs, a)
			return err
		case f.is(7, protowire.BytesType):
			n.Domain = f.string()
		default:
			n.unknown = append(n.unknown, f.whole...)
		}
		return nil
	})
	return n, err
}

func (n *Node) encode(b []byte) []byte {
	for _, s := range n.Inputs {
		b = putBytes(b, 1, []byte(s)) // empty names count
	}
	for _, s := range n.Outputs {
		b = putBytes(b, 2, []byte(s))
	}
	b = putString(b, 3, n.Name)
	b = putString(b, 4, n.Op)
	for _, a := range n.Attrs {
		b = putMessage(b, 5, a.encode)
	}
	b = putString(b, 7, n.Domain)
	return append(b, n.unknown...)
}

func (n *Node) clone() *Node {
	c := *n
	c.Inputs, c.Outputs = slices.Clone(n.Inputs), slices.Clone(n.Outputs)
	c.Attrs = convert(n.Attrs, (*Attr).clone)
	return &c
}
