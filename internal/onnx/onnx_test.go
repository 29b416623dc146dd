package onnx_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/testkit"
)

// modelFiles returns every model of the shared golden networks and models.
func modelFiles(t testing.TB) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{
		"golden/networks/*/model*.onnx*", "golden/networks/ops/*/model.onnx", "models/*/*.onnx", "data/bundles/*/models/*.onnx",
	} {
		root := testkit.Shared(t, "golden", "networks")
		found, err := filepath.Glob(filepath.Join(root, "..", "..", filepath.FromSlash(pattern)))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: no files (%v)", pattern, err)
		}
		files = append(files, found...)
	}
	return files
}

// readModel reads a model file, gzipped or not.
func readModel(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if data, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

// parse parses a model file.
func parse(t testing.TB, path string) *onnx.Model {
	t.Helper()
	m, err := onnx.Parse(readModel(t, path))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return m
}

func TestRoundTripOfEveryModel(t *testing.T) {
	files := modelFiles(t)
	if len(files) < 140 {
		t.Fatalf("only %d models found", len(files))
	}
	for _, f := range files {
		data := readModel(t, f)
		a, err := onnx.Parse(data)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		out := a.Bytes()
		b, err := onnx.Parse(out)
		if err != nil {
			t.Fatalf("%s: own encoding: %v", f, err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: re-parsed model differs", f)
		}
		if !reflect.DeepEqual(a.Clone(), a) || !bytes.Equal(a.Clone().Bytes(), out) {
			t.Errorf("%s: the clone differs", f)
		}
		// Field order and default values may change the length a little; lost
		// content would show as a large difference.
		if d := len(out) - len(data); d < -len(data)/20-64 || d > len(data)/20+64 {
			t.Errorf("%s: %d bytes became %d", f, len(data), len(out))
		}
	}
}

func TestDescriptionOfAModel(t *testing.T) {
	m := parse(t, testkit.Shared(t, "golden", "networks", "unet_res2_prelu", "model_dropout_random.onnx"))
	in, opt, out := m.Inputs(), m.OptionalInputs(), m.Outputs()
	if len(in) != 1 || in[0].Name != "x" || in[0].Type != onnx.Float32 || !reflect.DeepEqual(in[0].Shape, []int64{-1, 1, -1, -1, -1}) {
		t.Errorf("inputs %+v", in)
	}
	if len(opt) != 1 || opt[0].Name != "dropout_p" || !reflect.DeepEqual(opt[0].Shape, []int64{1}) {
		t.Errorf("optional inputs %+v", opt)
	}
	if len(out) != 1 || len(out[0].Shape) != 5 {
		t.Errorf("outputs %+v", out)
	}
	f := m.Features()
	// Counts of golden/networks/README.md; the parameters of the network are 143,014.
	if f.Ops["Conv"] != 15 || f.Ops["RandomUniformLike"] != 13 || f.Ops["ConvTranspose"] != 3 {
		t.Errorf("operators %v", f.Ops)
	}
	plain := parse(t, testkit.Shared(t, "golden", "networks", "unet_res2_prelu", "model.onnx"))
	if got := plain.Features().Parameters; got != 143014 {
		t.Errorf("%d parameters", got)
	}
	if m.Opset("") != 17 || m.Opset("com.microsoft") != 0 {
		t.Errorf("operator sets %d and %d", m.Opset(""), m.Opset("com.microsoft"))
	}
}

func TestHashIsOfTheMeaning(t *testing.T) {
	build := func(w float32) *onnx.Model {
		m := onnx.NewModel(17)
		m.AddInput("x", onnx.Float32, -1, 2)
		m.AddInitializer(onnx.NewFloat32("w", []int64{2}, []float32{w, 2}))
		m.AddNode("Add", []string{"x", "w"}, []string{"y"})
		m.AddOutput("y", onnx.Float32, -1, 2)
		return m
	}
	a, b := build(1), build(1.5)
	if a.Hash() != build(1).Hash() || a.Hash() == b.Hash() || len(a.Hash()) != 64 {
		t.Errorf("hashes %s, %s, %s", a.Hash(), build(1).Hash(), b.Hash())
	}
}

func TestFixShape(t *testing.T) {
	m := parse(t, testkit.Shared(t, "golden", "networks", "unet_res2_prelu", "model.onnx"))
	if err := m.FixShape("x", []int64{1, 1, 96, 64, 32}); err != nil {
		t.Fatal(err)
	}
	if got := m.Inputs()[0].Shape; !reflect.DeepEqual(got, []int64{1, 1, 96, 64, 32}) {
		t.Errorf("input shape %v", got)
	}
	for _, tt := range []struct {
		name, input string
		shape       []int64
	}{
		{"no such input", "y0", []int64{1, 1, 8, 8, 8}},
		{"another rank", "x", []int64{1, 1, 8, 8}},
		{"contradicts a fixed axis", "x", []int64{1, 2, 96, 64, 32}},
		{"size below 1", "x", []int64{0, 1, 96, 64, 32}},
	} {
		if err := m.FixShape(tt.input, tt.shape); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if got := m.Inputs()[0].Shape; !reflect.DeepEqual(got, []int64{1, 1, 96, 64, 32}) {
		t.Errorf("a refused shape changed the input to %v", got)
	}
}

func TestFixShapeFixesNamesakes(t *testing.T) {
	free := func(names ...string) []onnx.Dim {
		var dims []onnx.Dim
		for _, n := range names {
			dims = append(dims, onnx.Dim{Size: -1, Param: n})
		}
		return dims
	}
	m := onnx.NewModel(17)
	m.AddInput("x", onnx.Float32, -1, -1, -1)
	m.AddNode("Relu", []string{"x"}, []string{"y"})
	m.AddOutput("y", onnx.Float32, -1, -1, -1)
	m.Graph.Inputs[0].Dims = free("n", "s", "s") // s is misused for two sizes
	m.Graph.Outputs[0].Dims = free("n", "s", "other")
	if err := m.FixShape("x", []int64{2, 8, 16}); err != nil {
		t.Fatal(err)
	}
	want := []onnx.Dim{{Size: 2}, {Size: -1}, {Size: -1, Param: "other"}}
	if got := m.Graph.Outputs[0].Dims; !reflect.DeepEqual(got, want) {
		t.Errorf("output dimensions %+v, want %+v", got, want)
	}
}
