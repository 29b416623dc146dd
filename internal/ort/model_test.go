package ort

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/testkit"
)

func pbBytes(n protowire.Number, parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), all)
}

func pbInt(n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
}

// pbValue is a ValueInfoProto; a dimension below 0 is a symbol.
func pbValue(name string, elem uint64, dims ...int64) []byte {
	var shape []byte
	for _, d := range dims {
		if d < 0 {
			shape = append(shape, pbBytes(1, pbBytes(2, []byte("n")))...)
		} else {
			shape = append(shape, pbBytes(1, pbInt(1, uint64(d)))...)
		}
	}
	return append(pbBytes(1, []byte(name)), pbBytes(2, pbBytes(1, pbInt(1, elem), pbBytes(2, shape)))...)
}

// pbModel is a network with inputs x and w, where w has a default, an output
// y, and the further graph fields given.
func pbModel(more ...[]byte) []byte {
	graph := [][]byte{
		pbBytes(fieldGraphInput, pbValue("x", 1, -1, 1, 8)), pbBytes(fieldGraphInput, pbValue("w", 7, 3)),
		pbBytes(fieldGraphOutput, pbValue("y", 1, -1, 2, 8)), pbBytes(fieldGraphInit, pbBytes(fieldTensorName, []byte("w"))),
	}
	return pbBytes(fieldModelGraph, append(graph, more...)...)
}

func TestScanModel(t *testing.T) {
	in, out, err := scanModel(pbModel())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(in, out), "[{x [-1 1 8] float32}] [{y [-1 2 8] float32}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := onlyFloats(in, out, false); err != nil {
		t.Error(err)
	}
}

func TestScanModelRealFiles(t *testing.T) {
	for _, tt := range []struct{ dir, want string }{
		{"hippocampus", "[{image [-1 1 -1 -1 -1] float32}] [{logits [-1 3 -1 -1 -1] float32}]"},
	} {
		b, err := os.ReadFile(testkit.Shared(t, "models", tt.dir, "model.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		in, out, err := scanModel(b)
		if got := fmt.Sprint(in, out); err != nil || got != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.dir, got, err, tt.want)
		}
	}
}

// nested returns a node whose attribute holds a graph that holds such a node,
// and so on; the innermost graph has the given fields.
func nested(depth int, inner []byte) []byte {
	graph := inner
	for range depth {
		graph = pbBytes(fieldGraphNode, pbBytes(fieldNodeAttribute, pbBytes(6, graph)))
	}
	return graph
}

func TestScanModelRefuses(t *testing.T) {
	external := pbInt(fieldTensorLocation, 1)
	good := pbModel()
	tests := []struct {
		name string
		data []byte
		say  string
	}{
		{"empty", nil, "0 inputs"},
		{"text", []byte("not a network"), "no readable ONNX"},
		{"truncated", good[:len(good)-3], "no readable ONNX"},
		{"no outputs", pbBytes(fieldModelGraph, pbBytes(fieldGraphInput, pbValue("x", 1, 1))), "0 outputs"},
		{"nameless input", pbModel(pbBytes(fieldGraphInput, pbValue("", 1, 1))), "no readable ONNX"},
		{"external initializer", pbModel(pbBytes(fieldGraphInit, external)), "another file"},
		{"external by key", pbModel(pbBytes(fieldGraphInit, pbBytes(fieldTensorExternal, pbBytes(1, []byte("location"))))), "another file"},
		{"external sparse values", pbModel(pbBytes(fieldGraphSparse, pbBytes(1, external))), "another file"},
		{"external constant", pbModel(pbBytes(fieldGraphNode, pbBytes(fieldNodeAttribute, pbBytes(5, external)))), "another file"},
		{"external sparse constant", pbModel(pbBytes(fieldGraphNode, pbBytes(fieldNodeAttribute, pbBytes(22, pbBytes(2, external))))), "another file"},
		{"external in a branch", pbModel(nested(3, pbBytes(fieldGraphInit, external))), "another file"},
		{"external in a function", append(pbModel(), pbBytes(fieldModelFunctions,
			pbBytes(fieldFunctionNode, pbBytes(fieldNodeAttribute, pbBytes(5, external))))...), "another file"},
		{"deep nesting", pbModel(nested(maxDepth+1, nil)), "no readable ONNX"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := scanModel(tt.data)
			m, _ := fault.Message(err)
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(m, tt.say) {
				t.Errorf("got %v, want a fault of kind invalid that says %q", err, tt.say)
			}
		})
	}
}

func TestOnlyFloats(t *testing.T) {
	for _, tt := range []struct {
		elem uint64
		say  string
	}{{10, "float16"}, {7, "int64"}, {2, "uint8"}, {0, "ONNX type 0"}} {
		in, out, err := scanModel(pbModel(pbBytes(fieldGraphInput, pbValue("mask", tt.elem, 1))))
		if err != nil {
			t.Fatal(err)
		}
		err = onlyFloats(in, out, false)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), `"mask"`) || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("element type %d: got %v", tt.elem, err)
		}
		if err := onlyFloats(nil, in, false); fault.KindOf(err) != fault.Invalid {
			t.Errorf("element type %d as output: got %v", tt.elem, err)
		}
	}
}

func TestByteInputs(t *testing.T) {
	in, out, err := scanModel(pbModel(pbBytes(fieldGraphInput, pbValue("mask", elemByte, 4))))
	if err != nil {
		t.Fatal(err)
	}
	if err := onlyFloats(in, out, true); err != nil {
		t.Error(err)
	}
	if err := onlyFloats(nil, in, true); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a uint8 output: got %v", err)
	}
	shape := []int64{4}
	mask := in[slices.IndexFunc(in, func(i TensorInfo) bool { return i.Name == "mask" })]
	for _, tt := range []struct {
		name string
		give Tensor
		ok   bool
	}{
		{"bytes", Tensor{Shape: shape, Bytes: make([]uint8, 4)}, true},
		{"floats", Tensor{Shape: shape, Data: make([]float32, 4)}, false},
		{"both", Tensor{Shape: shape, Data: make([]float32, 4), Bytes: make([]uint8, 4)}, false},
		{"too few", Tensor{Shape: shape, Bytes: make([]uint8, 3)}, false},
	} {
		if err := fits("input", []TensorInfo{mask}, []Tensor{tt.give}); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if err := fits("input", []TensorInfo{{Name: "x", Shape: shape, Type: elemFloat}}, []Tensor{{Shape: shape, Bytes: make([]uint8, 4)}}); err == nil {
		t.Error("bytes were taken for a float32 input")
	}
}

func TestFits(t *testing.T) {
	want := []TensorInfo{{Name: "x", Shape: []int64{-1, 2, 3}, Type: elemFloat}}
	tests := []struct {
		name  string
		shape []int64
		n     int
		ok    bool
	}{
		{"fits", []int64{4, 2, 3}, 24, true},
		{"wrong rank", []int64{2, 3}, 6, false},
		{"wrong axis", []int64{4, 3, 3}, 36, false},
		{"too little data", []int64{4, 2, 3}, 23, false},
		{"too much data", []int64{4, 2, 3}, 25, false},
		{"zero axis", []int64{0, 2, 3}, 0, false},
		{"negative axis", []int64{-4, 2, 3}, 24, false},
		{"overflow", []int64{1 << 62, 2, 3}, 0, false},
	}
	for _, tt := range tests {
		err := fits("input", want, []Tensor{{Shape: tt.shape, Data: make([]float32, tt.n)}})
		if (err == nil) != tt.ok || (!tt.ok && fault.KindOf(err) != fault.Invalid) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if err := fits("input", want, nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no tensors: %v", err)
	}
	if err := fits("input", []TensorInfo{{Name: "x"}}, []Tensor{{Shape: []int64{5}, Data: make([]float32, 5)}}); err != nil {
		t.Errorf("rank not declared: %v", err)
	}
}

func FuzzScanModel(f *testing.F) {
	f.Add(pbModel())
	f.Add(reluModel())
	f.Add(pbModel(nested(3, pbBytes(fieldGraphInit, pbInt(fieldTensorLocation, 1)))))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, out, err := scanModel(b)
		if err == nil && (len(in) == 0 || len(out) == 0) {
			t.Error("accepted without inputs or outputs")
		}
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("kind %v: %v", fault.KindOf(err), err)
		}
	})
}

func TestPhysicalCores(t *testing.T) {
	dir := t.TempDir()
	if n := physicalCores(dir); n != 0 {
		t.Errorf("unknown machine: %d", n)
	}
	for cpu, siblings := range []string{"0,2", "1,3", "0,2", "1,3"} {
		d := fmt.Sprintf("%s/cpu%d/topology", dir, cpu)
		if err := os.MkdirAll(d, 0o750); err != nil {
			t.Fatal(err)
		}
		write(t, d+"/thread_siblings_list", []byte(siblings+"\n"))
	}
	if n := physicalCores(dir); n != 2 {
		t.Errorf("4 threads on 2 cores: %d", n)
	}
	if Cores() < 1 {
		t.Errorf("Cores: %d", Cores())
	}
}
