package onnx

import (
	"encoding/binary"
	"math"
	"slices"
)

// NewFloat32 returns a constant with the given values, which are copied.
// It panics when their number does not fit the dimensions: the caller's bug.
func NewFloat32(name string, dims []int64, values []float32) *Tensor {
	t := &Tensor{Name: name, Dims: slices.Clone(dims)}
	t.SetFloat32(values)
	mustFit(t, len(values))
	return t
}

// NewInt64 is NewFloat32 for int64 values.
func NewInt64(name string, dims []int64, values []int64) *Tensor {
	t := &Tensor{Name: name, Dims: slices.Clone(dims)}
	t.SetInt64(values)
	mustFit(t, len(values))
	return t
}

func mustFit(t *Tensor, n int) {
	if t.Len() != n {
		panic("onnx: the number of values does not fit the dimensions of " + t.Name)
	}
}

// SetFloat32 replaces the values (and the type); Dims stay as they are.
func (t *Tensor) SetFloat32(values []float32) {
	raw := make([]byte, 0, 4*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	t.setRaw(Float32, raw)
}

// SetInt64 replaces the values (and the type); Dims stay as they are.
func (t *Tensor) SetInt64(values []int64) {
	raw := make([]byte, 0, 8*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v)) //nolint:gosec // two's complement
	}
	t.setRaw(Int64, raw)
}

func (t *Tensor) setRaw(typ DataType, raw []byte) {
	*t = Tensor{Name: t.Name, Dims: t.Dims, Type: typ, Raw: raw, unknown: t.unknown}
}

// Float32 returns a copy of the values as float32. Float16, bfloat16 and
// float64 are converted; other types are an error of kind fault.Invalid.
func (t *Tensor) Float32() ([]float32, error) {
	le := binary.LittleEndian
	switch t.Type {
	case Float32:
		if t.Raw == nil {
			return slices.Clone(t.Floats), nil
		}
		return fromRaw(t.Raw, 4, func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) }), nil
	case Float64:
		if t.Raw == nil {
			return convert(t.Doubles, func(v float64) float32 { return float32(v) }), nil
		}
		return fromRaw(t.Raw, 8, func(b []byte) float32 { return float32(math.Float64frombits(le.Uint64(b))) }), nil
	case Float16:
		if t.Raw == nil {
			return convert(t.Ints32, func(v int32) float32 { return halfToFloat(uint16(v)) }), nil //nolint:gosec // low 16 bits
		}
		return fromRaw(t.Raw, 2, func(b []byte) float32 { return halfToFloat(le.Uint16(b)) }), nil
	case BFloat16:
		if t.Raw == nil {
			return convert(t.Ints32, func(v int32) float32 { return math.Float32frombits(uint32(v) << 16) }), nil //nolint:gosec // low 16 bits
		}
		return fromRaw(t.Raw, 2, func(b []byte) float32 { return math.Float32frombits(uint32(le.Uint16(b)) << 16) }), nil
	default:
		return nil, invalid("tensor %q is %s where floating point is needed", t.Name, t.Type)
	}
}

// Int64 returns a copy of the values of an int64 or int32 tensor as int64;
// other types are an error of kind fault.Invalid.
func (t *Tensor) Int64() ([]int64, error) {
	le := binary.LittleEndian
	switch t.Type {
	case Int64:
		if t.Raw == nil {
			return slices.Clone(t.Ints64), nil
		}
		return fromRaw(t.Raw, 8, func(b []byte) int64 { return int64(le.Uint64(b)) }), nil //nolint:gosec // two's complement
	case Int32:
		if t.Raw == nil {
			return convert(t.Ints32, func(v int32) int64 { return int64(v) }), nil
		}
		return fromRaw(t.Raw, 4, func(b []byte) int64 { return int64(int32(le.Uint32(b))) }), nil //nolint:gosec // two's complement
	default:
		return nil, invalid("tensor %q is %s where whole numbers are needed", t.Name, t.Type)
	}
}

func fromRaw[T any](raw []byte, size int, conv func([]byte) T) []T {
	out := make([]T, len(raw)/size)
	for i := range out {
		out[i] = conv(raw[i*size:])
	}
	return out
}

// convert maps a list; nil stays nil.
func convert[S, T any](in []S, conv func(S) T) []T {
	if in == nil {
		return nil
	}
	out := make([]T, len(in))
	for i, v := range in {
		out[i] = conv(v)
	}
	return out
}

// halfToFloat widens an IEEE 754 binary16 value; the result is exact.
func halfToFloat(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch exp {
	case 0: // zero or subnormal: frac · 2^-24
		v := float32(frac) / (1 << 24)
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 0x1f: // infinity or NaN
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	default:
		return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
	}
}
