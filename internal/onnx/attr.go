package onnx

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// AttrType says which value an attribute holds (AttributeProto.AttributeType).
type AttrType int32

// The attribute types whose values are decoded. Others (type protos, sparse
// tensors, references in functions) are passed through.
const (
	AttrUndefined AttrType = 0
	AttrFloat     AttrType = 1
	AttrInt       AttrType = 2
	AttrString    AttrType = 3
	AttrTensor    AttrType = 4
	AttrGraph     AttrType = 5
	AttrFloats    AttrType = 6
	AttrInts      AttrType = 7
	AttrStrings   AttrType = 8
	AttrTensors   AttrType = 9
	AttrGraphs    AttrType = 10
)

// Attr is one attribute of a node (AttributeProto); Type names the field that
// holds the value.
type Attr struct {
	Name    string
	Type    AttrType
	Float   float32
	Int     int64
	String  string
	Tensor  *Tensor
	Graph   *Graph
	Floats  []float32
	Ints    []int64
	Strings []string
	Tensors []*Tensor
	Graphs  []*Graph

	unknown []byte
}

// IntAttr returns an integer attribute.
func IntAttr(name string, v int64) *Attr { return &Attr{Name: name, Type: AttrInt, Int: v} }

// FloatAttr returns a float attribute.
func FloatAttr(name string, v float32) *Attr { return &Attr{Name: name, Type: AttrFloat, Float: v} }

// IntsAttr returns an attribute that is a list of integers.
func IntsAttr(name string, v ...int64) *Attr { return &Attr{Name: name, Type: AttrInts, Ints: v} }

// StringAttr returns a text attribute.
func StringAttr(name, v string) *Attr { return &Attr{Name: name, Type: AttrString, String: v} }

// TensorAttr returns an attribute that is a tensor.
func TensorAttr(name string, t *Tensor) *Attr { return &Attr{Name: name, Type: AttrTensor, Tensor: t} }

func (d *decoder) attr(b []byte) (*Attr, error) {
	if err := d.count(); err != nil {
		return nil, err
	}
	a := &Attr{}
	declared := AttrUndefined
	err := fields(b, "attribute", func(f field) error {
		switch {
		case f.is(1, protowire.BytesType):
			a.Name = f.string()
		case f.is(20, protowire.VarintType):
			declared = AttrType(f.int32())
		default:
			return d.attrValue(a, f)
		}
		return nil
	})
	if declared != AttrUndefined { // files before IR version 2 leave it out
		a.Type = declared
	}
	if err == nil && ((a.Type == AttrTensor && a.Tensor == nil) || (a.Type == AttrGraph && a.Graph == nil)) {
		err = invalid("attribute %q has no value", a.Name)
	}
	return a, err
}

// attrValue decodes one of the value fields of a.
func (d *decoder) attrValue(a *Attr, f field) (err error) {
	switch {
	case f.is(2, protowire.Fixed32Type):
		a.Float, a.Type = f.float32(), AttrFloat
	case f.is(3, protowire.VarintType):
		a.Int, a.Type = f.int64(), AttrInt
	case f.is(4, protowire.BytesType):
		a.String, a.Type = f.string(), AttrString
	case f.is(5, protowire.BytesType):
		a.Tensor, err = d.tensor(f.bytes)
		a.Type = AttrTensor
	case f.is(6, protowire.BytesType):
		a.Graph, err = d.graph(f.bytes)
		a.Type = AttrGraph
	case f.num == 7:
		a.Floats, err = repeated(a.Floats, f, protowire.Fixed32Type, "attribute", field.float32)
		a.Type = AttrFloats
	case f.num == 8:
		a.Ints, err = repeated(a.Ints, f, protowire.VarintType, "attribute", field.int64)
		a.Type = AttrInts
	case f.is(9, protowire.BytesType):
		a.Strings, a.Type = append(a.Strings, f.string()), AttrStrings
		err = d.count()
	case f.is(10, protowire.BytesType):
		var t *Tensor
		t, err = d.tensor(f.bytes)
		a.Tensors, a.Type = append(a.Tensors, t), AttrTensors
	case f.is(11, protowire.BytesType):
		var g *Graph
		g, err = d.graph(f.bytes)
		a.Graphs, a.Type = append(a.Graphs, g), AttrGraphs
	default:
		a.unknown = append(a.unknown, f.whole...)
	}
	return err
}

func (a *Attr) encode(b []byte) []byte {
	b = putString(b, 1, a.Name)
	switch a.Type {
	case AttrFloat:
		b = appendFloat32(protowire.AppendTag(b, 2, protowire.Fixed32Type), a.Float)
	case AttrInt:
		b = putVarint(b, 3, a.Int)
	case AttrString:
		b = putBytes(b, 4, []byte(a.String))
	case AttrTensor:
		b = putMessage(b, 5, a.Tensor.encode)
	case AttrGraph:
		b = putMessage(b, 6, a.Graph.encode)
	case AttrFloats:
		for _, v := range a.Floats { // proto2 lists are not packed
			b = appendFloat32(protowire.AppendTag(b, 7, protowire.Fixed32Type), v)
		}
	case AttrInts:
		for _, v := range a.Ints {
			b = putVarint(b, 8, v)
		}
	case AttrStrings:
		for _, s := range a.Strings {
			b = putBytes(b, 9, []byte(s))
		}
	case AttrTensors:
		for _, t := range a.Tensors {
			b = putMessage(b, 10, t.encode)
		}
	case AttrGraphs:
		for _, g := range a.Graphs {
			b = putMessage(b, 11, g.encode)
		}
	case AttrUndefined:
	}
	b = append(b, a.unknown...)
	return putVarint(b, 20, int64(a.Type))
}

func (a *Attr) clone() *Attr {
	c := *a
	c.Ints, c.Floats, c.Strings = slices.Clone(a.Ints), slices.Clone(a.Floats), slices.Clone(a.Strings)
	if a.Tensor != nil {
		c.Tensor = a.Tensor.clone()
	}
	if a.Graph != nil {
		c.Graph = a.Graph.clone()
	}
	c.Tensors = convert(a.Tensors, (*Tensor).clone)
	c.Graphs = convert(a.Graphs, (*Graph).clone)
	return &c
}

// graphs returns the subgraphs of a (bodies of If, Loop, Scan).
func (a *Attr) graphs() []*Graph {
	if a.Graph != nil {
		return append(slices.Clone(a.Graphs), a.Graph)
	}
	return a.Graphs
}
