package onnx

import "fmt"

// DataType is ONNX's element type of a tensor (TensorProto.DataType).
type DataType int32

// The element types that have a fixed width of at least one byte, and String.
const (
	Undefined DataType = 0
	Float32   DataType = 1
	Uint8     DataType = 2
	Int8      DataType = 3
	Uint16    DataType = 4
	Int16     DataType = 5
	Int32     DataType = 6
	Int64     DataType = 7
	String    DataType = 8
	Bool      DataType = 9
	Float16   DataType = 10
	Float64   DataType = 11
	Uint32    DataType = 12
	Uint64    DataType = 13
	BFloat16  DataType = 16
)

var typeTable = map[DataType]struct {
	name  string
	bytes int
}{
	Float32: {"float32", 4}, Uint8: {"uint8", 1}, Int8: {"int8", 1}, Uint16: {"uint16", 2}, Int16: {"int16", 2},
	Int32: {"int32", 4}, Int64: {"int64", 8}, String: {"string", 0}, Bool: {"bool", 1}, Float16: {"float16", 2},
	Float64: {"float64", 8}, Uint32: {"uint32", 4}, Uint64: {"uint64", 8}, BFloat16: {"bfloat16", 2},
}

// String returns NumPy's name of the type ("float32", "int64", …).
func (t DataType) String() string {
	if e, ok := typeTable[t]; ok {
		return e.name
	}
	return fmt.Sprintf("type%d", int32(t))
}

// Size returns the bytes of one element in raw form, or 0 for strings and for
// the packed and 8-bit float types, which this package only passes through.
func (t DataType) Size() int { return typeTable[t].bytes }
