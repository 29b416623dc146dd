package onnx

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Dim is one axis of a value: a fixed Size, a named free Param, or neither
// (Size -1, Param ""), which is unknown.
type Dim struct {
	Size  int64 // -1 when free
	Param string

	unknown []byte
}

// Value is a named, typed value of a graph (ValueInfoProto). Values that are
// no plain tensors (sequences, maps, optionals) have Type Undefined.
type Value struct {
	Name     string
	Type     DataType
	HasShape bool // false: even the rank is unknown
	Dims     []Dim

	unknown   []byte // fields of the value
	otherType []byte // a TypeProto that is no tensor type, as it stood
	typeExtra []byte // further fields of the TypeProto (denotation)
	tensExtra []byte // further fields of its tensor type
}

// NewValue returns a tensor value. A dimension of -1 is free and anonymous.
func NewValue(name string, t DataType, shape ...int64) *Value {
	return &Value{Name: name, Type: t, HasShape: true, Dims: convert(shape, func(s int64) Dim { return Dim{Size: max(s, -1)} })}
}

// Shape returns the sizes, -1 for free ones; nil when the rank is unknown.
func (v *Value) Shape() []int64 {
	if !v.HasShape {
		return nil
	}
	return append([]int64{}, convert(v.Dims, func(d Dim) int64 { return d.Size })...)
}

func (d *decoder) value(b []byte) (*Value, error) {
	if err := d.count(); err != nil {
		return nil, err
	}
	v := &Value{}
	err := fields(b, "value", func(f field) error {
		switch {
		case f.is(1, protowire.BytesType):
			v.Name = f.string()
		case f.is(2, protowire.BytesType):
			return d.typeProto(v, f.bytes)
		default:
			v.unknown = append(v.unknown, f.whole...)
		}
		return nil
	})
	return v, err
}

func (d *decoder) typeProto(v *Value, b []byte) error {
	tensor := false
	err := fields(b, "type", func(f field) error {
		if !f.is(1, protowire.BytesType) {
			v.typeExtra = append(v.typeExtra, f.whole...)
			return nil
		}
		tensor = true
		return fields(f.bytes, "tensor type", func(f field) error {
			switch {
			case f.is(1, protowire.VarintType):
				v.Type = DataType(f.int32())
			case f.is(2, protowire.BytesType):
				v.HasShape = true
				return d.shape(v, f.bytes)
			default:
				v.tensExtra = append(v.tensExtra, f.whole...)
			}
			return nil
		})
	})
	if !tensor {
		v.otherType, v.typeExtra = append([]byte{}, b...), nil
	}
	return err
}

func (d *decoder) shape(v *Value, b []byte) error {
	return fields(b, "shape", func(f field) error {
		if !f.is(1, protowire.BytesType) {
			return invalid("shape of %q has an unknown field", v.Name)
		}
		if err := d.count(); err != nil {
			return err
		}
		dim := Dim{Size: -1}
		err := fields(f.bytes, "dimension", func(f field) error {
			switch {
			case f.is(1, protowire.VarintType):
				dim.Size = max(f.int64(), -1)
			case f.is(2, protowire.BytesType):
				dim.Param = f.string()
			default:
				dim.unknown = append(dim.unknown, f.whole...)
			}
			return nil
		})
		v.Dims = append(v.Dims, dim)
		return err
	})
}

func (v *Value) encode(b []byte) []byte {
	b = putString(b, 1, v.Name)
	switch {
	case v.otherType != nil:
		b = putBytes(b, 2, v.otherType)
	case v.Type != Undefined || v.HasShape:
		b = putMessage(b, 2, v.encodeType)
	}
	return append(b, v.unknown...)
}

func (v *Value) encodeType(b []byte) []byte {
	b = putMessage(b, 1, func(b []byte) []byte {
		b = putVarint(b, 1, int64(v.Type))
		if v.HasShape {
			b = putMessage(b, 2, func(b []byte) []byte {
				for _, d := range v.Dims {
					b = putMessage(b, 1, d.encode)
				}
				return b
			})
		}
		return append(b, v.tensExtra...)
	})
	return append(b, v.typeExtra...)
}

func (d Dim) encode(b []byte) []byte {
	if d.Size >= 0 {
		b = putVarint(b, 1, d.Size)
	} else {
		b = putString(b, 2, d.Param)
	}
	return append(b, d.unknown...)
}

func (v *Value) clone() *Value {
	c := *v
	c.Dims = slices.Clone(v.Dims)
	return &c
}
