package onnx_test

import (
	"encoding/binary"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// message encodes fields of a protobuf message: int is a varint, uint32 a
// fixed 32-bit value, text and bytes are length-delimited.
func message(pairs ...any) []byte {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		n := protowire.Number(pairs[i].(int))
		switch v := pairs[i+1].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
		case uint32:
			b = protowire.AppendFixed32(protowire.AppendTag(b, n, protowire.Fixed32Type), v)
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
		}
	}
	return b
}

// modelOf wraps encoded graph fields into a model of IR version 8, opset 17.
func modelOf(graph []byte) []byte {
	return message(1, 8, 7, graph, 8, message(2, 17))
}

func TestTensorEncodings(t *testing.T) {
	half := func(bits ...uint16) []byte {
		var b []byte
		for _, v := range bits {
			b = binary.LittleEndian.AppendUint16(b, v)
		}
		return b
	}
	f32 := func(v float32) uint32 { return math.Float32bits(v) }
	tests := []struct {
		name   string
		tensor []byte
		want   []float32
	}{
		{"float_data packed", message(1, 2, 2, 1, 4, protowire.AppendFixed32(protowire.AppendFixed32(nil, f32(1.5)), f32(-2))), []float32{1.5, -2}},
		{"float_data one by one", message(1, 2, 2, 1, 4, f32(1.5), 4, f32(-2)), []float32{1.5, -2}},
		{"raw float32", message(1, 1, 2, 1, 9, binary.LittleEndian.AppendUint32(nil, f32(0.25))), []float32{0.25}},
		{"raw float64", message(1, 1, 2, 11, 9, binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.1))), []float32{0.1}},
		// 1, -2, the largest, the smallest subnormal, infinity (IEEE 754 binary16).
		{"raw float16", message(1, 5, 2, 10, 9, half(0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00)), []float32{1, -2, 65504, 1.0 / (1 << 24), float32(math.Inf(1))}},
		{"float16 in int32_data", message(1, 2, 2, 10, 5, []byte{0x80, 0x78, 0x80, 0x80, 0x03}), []float32{1, -2}},
		{"raw bfloat16", message(1, 2, 2, 16, 9, half(0x3f80, 0xc020)), []float32{1, -2.5}},
		{"scalar", message(2, 1, 4, f32(7)), []float32{7}},
		{"empty", message(1, 0, 2, 1), []float32{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := onnx.Parse(modelOf(message(5, tt.tensor)))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // as read, and after a round trip
				got, err := m.Graph.Initializers[0].Float32()
				if err != nil || !slices.Equal(got, tt.want) {
					t.Errorf("got %v, %v, want %v", got, err, tt.want)
				}
				if m, err = onnx.Parse(m.Bytes()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestIntegerTensors(t *testing.T) {
	minus := protowire.AppendVarint(protowire.AppendVarint(nil, 5), math.MaxUint64) // 5, -1
	for name, tensor := range map[string][]byte{
		"int64_data": message(1, 2, 2, 7, 7, minus),
		"int32_data": message(1, 2, 2, 6, 5, minus),
		"raw int64":  message(1, 2, 2, 7, 9, []byte{5, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255}),
		"raw int32":  message(1, 2, 2, 6, 9, []byte{5, 0, 0, 0, 255, 255, 255, 255}),
	} {
		m, err := onnx.Parse(modelOf(message(5, tensor)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := m.Graph.Initializers[0].Int64()
		if err != nil || !slices.Equal(got, []int64{5, -1}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if _, err := m.Graph.Initializers[0].Float32(); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s as float32: %v", name, err)
		}
	}
}

func TestSetValues(t *testing.T) {
	x := onnx.NewFloat32("x", []int64{3}, []float32{1, 2, 3})
	x.SetInt64([]int64{4, -5, 6})
	if got, err := x.Int64(); err != nil || x.Type != onnx.Int64 || !slices.Equal(got, []int64{4, -5, 6}) {
		t.Errorf("%v %v %v", x.Type, got, err)
	}
	x.SetFloat32([]float32{0.5, -1, 2})
	if got, err := x.Float32(); err != nil || x.Type != onnx.Float32 || !slices.Equal(got, []float32{0.5, -1, 2}) {
		t.Errorf("%v %v %v", x.Type, got, err)
	}
}

func TestRefusedModels(t *testing.T) {
	deep := message(2, "innermost")
	for range 40 { // graph → node → attribute → graph …
		deep = message(1, message(4, "If", 5, message(1, "then_branch", 6, deep, 20, 5)))
	}
	tests := []struct {
		name string
		data []byte
		want string // in the message
	}{
		{"empty file", nil, "no graph"},
		{"text", []byte("<!DOCTYPE html>"), ""},
		{"cut short", modelOf(message(2, "main"))[:8], "cut short"},
		{"no operator set", message(1, 8, 7, message(2, "main")), "operator set"},
		{"two graphs", message(1, 8, 7, message(2, "a"), 7, message(2, "b"), 8, message(2, 17)), "two graphs"},
		{"external data", modelOf(message(5, message(1, 2, 2, 1, 8, "w", 14, 1, 13, message(1, "location", 2, "weights.bin")))), "another file"},
		{"too few values", modelOf(message(5, message(1, 3, 2, 1, 8, "w", 9, make([]byte, 8)))), "not 12"},
		{"negative dimension", modelOf(message(5, message(1, -3, 2, 1, 8, "w"))), "dimensions"},
		{"huge dimensions", modelOf(message(5, message(1, 1<<40, 1, 1<<40, 2, 1, 8, "w"))), "dimensions"},
		{"huge dimensions, no data", modelOf(message(5, message(1, 1<<50, 2, 1, 8, "w"))), "holds 0"},
		{"nested too deep", modelOf(deep), "deep"},
		{"tensor attribute without value", modelOf(message(1, message(4, "Constant", 5, message(1, "value", 20, 4)))), "no value"},
		{"very many empty nodes", modelOf(slices.Repeat([]byte{0x0a, 0}, 1<<20+1)), "more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := onnx.Parse(tt.data)
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an invalid-model error with %q", err, tt.want)
			}
		})
	}
}

// Fields that the package does not know must survive at every level.
func TestUnknownFieldsSurvive(t *testing.T) {
	note := func(s string) []byte { return message(1, "k", 2, s) }
	data := message(1, 8, 6, "doc of model", 14, note("model"), 7, message(
		1, message(1, "x", 2, "y", 4, "Relu", 6, "doc of node", 9, note("node"), 5, message(1, "a", 3, 7, 13, "doc of attribute", 20, 2)),
		10, "doc of graph",
		5, message(1, 0, 2, 1, 8, "w", 12, "doc of tensor"),
		11, message(1, "x", 3, "doc of value", 2, message(1, message(1, 1, 2, message(1, message(1, 3, 3, "denotation of axis"))), 6, "denotation of type")),
		12, message(1, "s", 2, message(4, message(1, message(1, message(1, 1))))), // a sequence of tensors
	), 8, message(2, 17))
	m, err := onnx.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	out := m.Bytes()
	again, err := onnx.Parse(out)
	if err != nil || !reflect.DeepEqual(m, again) {
		t.Fatalf("re-parsed model differs (%v)", err)
	}
	if len(out) != len(data) {
		t.Errorf("%d bytes became %d", len(data), len(out))
	}
	for _, want := range []string{
		"doc of model", "model", "doc of node", "node", "doc of attribute", "doc of graph", "doc of tensor", "doc of value", "denotation of axis",
		"denotation of type", string(message(4, message(1, message(1, message(1, 1))))),
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is lost", want)
		}
	}
}
