package onnx

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Model is an ONNX model (ModelProto).
type Model struct {
	IRVersion int64
	Producer  string
	Opsets    []Opset
	Graph     *Graph

	unknown []byte
}

// Opset is the version of one operator set that the model uses.
type Opset struct {
	Domain  string // "" is ONNX's own
	Version int64

	unknown []byte
}

// Parse decodes a model. Contents of tensors point into data, which must not
// be changed afterwards. Errors have kind fault.Invalid.
func Parse(data []byte) (*Model, error) {
	d := &decoder{}
	m := &Model{}
	err := fields(data, "model", func(f field) (err error) {
		switch {
		case f.is(1, protowire.VarintType):
			m.IRVersion = f.int64()
		case f.is(2, protowire.BytesType):
			m.Producer = f.string()
		case f.is(7, protowire.BytesType):
			if m.Graph != nil {
				return invalid("it has two graphs")
			}
			m.Graph, err = d.graph(f.bytes)
		case f.is(8, protowire.BytesType):
			err = d.opset(m, f.bytes)
		default:
			m.unknown = append(m.unknown, f.whole...)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if m.Graph == nil {
		return nil, invalid("it has no graph")
	}
	if m.IRVersion < 1 || len(m.Opsets) == 0 {
		return nil, invalid("it names no IR version or no operator set")
	}
	return m, nil
}

func (d *decoder) opset(m *Model, b []byte) error {
	if err := d.count(); err != nil {
		return err
	}
	var o Opset
	err := fields(b, "operator set", func(f field) error {
		switch {
		case f.is(1, protowire.BytesType):
			o.Domain = f.string()
		case f.is(2, protowire.VarintType):
			o.Version = f.int64()
		default:
			o.unknown = append(o.unknown, f.whole...)
		}
		return nil
	})
	m.Opsets = append(m.Opsets, o)
	return err
}

func (o Opset) encode(b []byte) []byte {
	b = putString(b, 1, o.Domain)
	return append(putVarint(b, 2, o.Version), o.unknown...)
}

// Bytes encodes the model. Equal models give equal bytes.
func (m *Model) Bytes() []byte {
	b := putVarint(make([]byte, 0, m.sizeHint()), 1, m.IRVersion)
	b = putString(b, 2, m.Producer)
	b = putMessage(b, 7, m.Graph.encode)
	for _, o := range m.Opsets {
		b = putMessage(b, 8, o.encode)
	}
	return append(b, m.unknown...)
}

// sizeHint estimates the encoded size, so that encoding rarely reallocates.
func (m *Model) sizeHint() int {
	n := 4096 + 256*len(m.Graph.Nodes)
	for _, t := range m.Graph.Initializers {
		n += 64 + len(t.Raw) + 4*len(t.Floats) + 5*len(t.Ints64)
	}
	return n
}

// Clone returns a deep copy; the contents of tensors are shared.
func (m *Model) Clone() *Model {
	c := *m
	c.Opsets = slices.Clone(m.Opsets)
	c.Graph = m.Graph.clone()
	return &c
}

// Hash returns the SHA-256 of Bytes in hexadecimal: equal for files that
// differ in encoding only.
func (m *Model) Hash() string {
	sum := sha256.Sum256(m.Bytes())
	return hex.EncodeToString(sum[:])
}
