package onnx

import (
	"math"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"
)

// Tensor is a constant (TensorProto): row-major, last axis fastest. Its values
// are either in Raw (little-endian elements) or in the list that ONNX pairs
// with its type. Parse has checked that their number fits Dims.
type Tensor struct {
	Name string
	Type DataType
	Dims []int64 // empty for a scalar
	Raw  []byte  // nil when a list below holds the values

	Floats  []float32 // Float32
	Ints32  []int32   // Int32, Int16, Int8, Uint16, Uint8, Bool, Float16 (bits), BFloat16 (bits)
	Ints64  []int64   // Int64
	Doubles []float64 // Float64
	Uints64 []uint64  // Uint64, Uint32
	Strings [][]byte  // String

	unknown []byte
}

// Len returns the number of elements, or -1 where a dimension is negative or
// the product overflows.
func (t *Tensor) Len() int {
	n := uint64(1)
	zero := false
	for _, d := range t.Dims {
		if d < 0 {
			return -1
		}
		if d == 0 {
			zero = true
			continue
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > math.MaxInt64/16 {
			return -1
		}
		n = lo
	}
	if zero {
		return 0
	}
	return int(n)
}

func (d *decoder) tensor(b []byte) (*Tensor, error) {
	if err := d.count(); err != nil {
		return nil, err
	}
	t := &Tensor{}
	external := false
	err := fields(b, "tensor", func(f field) (err error) {
		switch {
		case f.num == 1:
			t.Dims, err = repeated(t.Dims, f, protowire.VarintType, "tensor", field.int64)
		case f.is(2, protowire.VarintType):
			t.Type = DataType(f.int32())
		case f.num == 4:
			t.Floats, err = repeated(t.Floats, f, protowire.Fixed32Type, "tensor", field.float32)
		case f.num == 5:
			t.Ints32, err = repeated(t.Ints32, f, protowire.VarintType, "tensor", field.int32)
		case f.is(6, protowire.BytesType):
			t.Strings = append(t.Strings, f.bytes)
			err = d.count()
		case f.num == 7:
			t.Ints64, err = repeated(t.Ints64, f, protowire.VarintType, "tensor", field.int64)
		case f.is(8, protowire.BytesType):
			t.Name = f.string()
		case f.is(9, protowire.BytesType):
			t.Raw = f.bytes
		case f.num == 10:
			t.Doubles, err = repeated(t.Doubles, f, protowire.Fixed64Type, "tensor", field.float64)
		case f.num == 11:
			t.Uints64, err = repeated(t.Uints64, f, protowire.VarintType, "tensor", func(f field) uint64 { return f.val })
		case f.is(14, protowire.VarintType) && f.val == 1, f.num == 13:
			external = true
		default:
			t.unknown = append(t.unknown, f.whole...)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if external {
		return nil, invalid("tensor %q keeps its values in another file (external data); save the model as one file", t.Name)
	}
	return t, t.check()
}

// check compares the number of stored values with the dimensions.
func (t *Tensor) check() error {
	n := t.Len()
	if n < 0 {
		return invalid("tensor %q has impossible dimensions %v", t.Name, t.Dims)
	}
	have, want := t.stored(), n
	if t.Raw != nil {
		if t.Type == String {
			return invalid("text tensor %q has raw data", t.Name)
		}
		size := t.Type.Size()
		if size == 0 {
			return nil // a packed or 8-bit type: passed through, the runtime checks it
		}
		have, want = len(t.Raw), n*size
	} else if t.Type.Size() == 0 && t.Type != String {
		return nil
	}
	if have != want {
		return invalid("tensor %q with dimensions %v of %s holds %d values or bytes, not %d", t.Name, t.Dims, t.Type, have, want)
	}
	return nil
}

// stored returns the number of values in the list that belongs to the type.
func (t *Tensor) stored() int {
	switch t.Type {
	case Float32:
		return len(t.Floats)
	case Int64:
		return len(t.Ints64)
	case Float64:
		return len(t.Doubles)
	case Uint64, Uint32:
		return len(t.Uints64)
	case String:
		return len(t.Strings)
	case Int32, Int16, Int8, Uint16, Uint8, Bool, Float16, BFloat16:
		return len(t.Ints32)
	case Undefined:
	}
	return 0
}

func (t *Tensor) encode(b []byte) []byte {
	for _, d := range t.Dims { // declared without packing
		b = putVarint(b, 1, d)
	}
	b = putVarint(b, 2, int64(t.Type))
	b = putPacked(b, 4, t.Floats, appendFloat32)
	b = putPacked(b, 5, t.Ints32, func(b []byte, v int32) []byte { return appendInt64(b, int64(v)) })
	for _, s := range t.Strings {
		b = putBytes(b, 6, s)
	}
	b = putPacked(b, 7, t.Ints64, appendInt64)
	b = putString(b, 8, t.Name)
	if t.Raw != nil {
		b = putBytes(b, 9, t.Raw)
	}
	b = putPacked(b, 10, t.Doubles, appendFloat64)
	b = putPacked(b, 11, t.Uints64, protowire.AppendVarint)
	return append(b, t.unknown...)
}
