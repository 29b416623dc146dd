package native

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// array is a constant during compilation, row-major. All element types are
// held as float64: whole numbers are exact up to 2^53, larger ones appear only
// as "to the end" of slices and come back saturated.
type array struct {
	typ   onnx.DataType
	shape []int64
	v     []float64
}

// maxFold is the number of elements up to which constants are computed here;
// larger ones (attention masks of big windows) stay in the graph, where ONNX
// Runtime folds them.
const maxFold = 1 << 22

func newArray(t onnx.DataType, shape []int64) *array {
	return &array{typ: t, shape: slices.Clone(shape), v: make([]float64, size(shape))}
}

func isFloat(t onnx.DataType) bool {
	return t == onnx.Float32 || t == onnx.Float64 || t == onnx.Float16 || t == onnx.BFloat16
}

// fit rounds v to what the type can hold.
func fit(t onnx.DataType, v float64) float64 {
	switch {
	case t == onnx.Bool:
		if v != 0 {
			return 1
		}
		return 0
	case t == onnx.Float64:
		return v
	case isFloat(t):
		return float64(float32(v))
	}
	return math.Trunc(v)
}

// decode reads a constant of the graph.
func decode(t *onnx.Tensor) (*array, error) {
	a := &array{typ: t.Type, shape: slices.Clone(t.Dims)}
	switch t.Type {
	case onnx.Int64, onnx.Int32:
		v, err := t.Int64()
		if err != nil {
			return nil, err
		}
		a.v = make([]float64, len(v))
		for i, x := range v {
			a.v[i] = float64(x)
		}
	case onnx.Bool, onnx.Uint8:
		a.v = bytesOf(t)
	default:
		v, err := t.Float32()
		if err != nil {
			return nil, err
		}
		a.v = make([]float64, len(v))
		for i, x := range v {
			a.v[i] = float64(x)
		}
	}
	return a, nil
}

func bytesOf(t *onnx.Tensor) []float64 {
	v := make([]float64, t.Len())
	for i := range v {
		switch {
		case i < len(t.Raw):
			v[i] = float64(t.Raw[i])
		case i < len(t.Ints32):
			v[i] = float64(t.Ints32[i])
		}
	}
	return v
}

// tensor encodes a as a constant of the graph.
func (a *array) tensor(name string) *onnx.Tensor {
	t := &onnx.Tensor{Name: name, Type: a.typ, Dims: slices.Clone(a.shape)}
	le := binary.LittleEndian
	for _, v := range a.v {
		switch a.typ {
		case onnx.Float32:
			t.Raw = le.AppendUint32(t.Raw, math.Float32bits(float32(v)))
		case onnx.Float64:
			t.Raw = le.AppendUint64(t.Raw, math.Float64bits(v))
		case onnx.Int32:
			t.Raw = le.AppendUint32(t.Raw, uint32(int32(v))) //nolint:gosec // two's complement
		case onnx.Bool, onnx.Uint8, onnx.Int8:
			t.Raw = append(t.Raw, byte(int8(v))) //nolint:gosec // two's complement
		default:
			t.Raw = le.AppendUint64(t.Raw, uint64(whole(v))) //nolint:gosec // two's complement
		}
	}
	if t.Raw == nil {
		t.Raw = []byte{}
	}
	return t
}

// whole converts to int64 and saturates.
func whole(v float64) int64 {
	switch {
	case v >= math.MaxInt64:
		return math.MaxInt64
	case v <= math.MinInt64:
		return math.MinInt64
	}
	return int64(v)
}

// ints returns the values as whole numbers.
func (a *array) ints() []int64 {
	out := make([]int64, len(a.v))
	for i, v := range a.v {
		out[i] = whole(v)
	}
	return out
}

// size is the number of elements of a shape.
func size(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}

// broadcastTo returns, for every element of shape out, the index of the
// element of shape in that NumPy's rule puts there.
func broadcastTo(out, in []int64) []int {
	strides := make([]int, len(out))
	step := 1
	for k := 1; k <= len(in); k++ {
		if d := in[len(in)-k]; d != 1 {
			strides[len(out)-k] = step
			step *= int(d)
		}
	}
	return walk(out, strides, 0)
}

// walk returns start + Σ index·stride for every index of shape, in row-major
// order.
func walk(shape []int64, strides []int, start int) []int {
	n := int(size(shape))
	out := make([]int, 0, n)
	at := make([]int64, len(shape))
	p := start
	for range n {
		out = append(out, p)
		for k := len(shape) - 1; k >= 0; k-- {
			at[k]++
			p += strides[k]
			if at[k] < shape[k] {
				break
			}
			p -= strides[k] * int(shape[k])
			at[k] = 0
		}
	}
	return out
}

// rowMajor returns the strides of a dense array.
func rowMajor(shape []int64) []int {
	out := make([]int, len(shape))
	step := 1
	for k := len(shape) - 1; k >= 0; k-- {
		out[k] = step
		step *= int(shape[k])
	}
	return out
}

// pick returns the elements of a at the given indices, as an array of shape.
func (a *array) pick(shape []int64, index []int) *array {
	out := newArray(a.typ, shape)
	for i, p := range index {
		out.v[i] = a.v[p]
	}
	return out
}
