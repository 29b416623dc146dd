package design

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/testkit"
)

// odd is a value that no initialisation gives.
const odd = 7.25

// Every trainable tensor of every golden network gets new values, constants of
// formulas keep theirs, and the fresh network computes finite scores that are
// not all the same.
func TestInitialiseGoldenNetworks(t *testing.T) {
	root := testkit.Shared(t, "golden", "networks")
	for _, name := range []string{
		"unet_res2_prelu", "unet_res0_bn", "unet2d_bn", "basicunet", "dynunet_ds", "deepedit_dynunet", "segresnet_gn", "dints", "unetr",
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(root, name)
			m := parsed(t, filepath.Join(dir, "model.onnx"))
			trainable := trainableOf(t, dir)
			kept := map[string][]float32{}
			for _, v := range m.Graph.Initializers {
				if v.Type != onnx.Float32 {
					continue
				}
				old, err := v.Float32()
				if err != nil {
					t.Fatal(err)
				}
				if !trainable[v.Name] {
					kept[v.Name] = old
					continue
				}
				v.SetFloat32(slices.Repeat([]float32{odd}, len(old)))
			}
			if err := Initialise(m, 3); err != nil {
				t.Fatal(err)
			}
			for _, v := range m.Graph.Initializers {
				if v.Type != onnx.Float32 {
					continue
				}
				now, _ := v.Float32()
				if trainable[v.Name] && slices.Contains(now, odd) {
					t.Errorf("%s %v keeps its values", v.Name, v.Dims)
				}
				if old, ok := kept[v.Name]; ok && len(v.Dims) == 0 && !slices.Equal(old, now) {
					t.Errorf("the number %s was %v and is %v", v.Name, old, now)
				}
			}
			finite(t, m, testkit.ReadNPY(t, filepath.Join(dir, "forward0_x.npy")).F32(t), filepath.Join(dir, "forward0_x.npy"))
		})
	}
}

// finite runs the network on a recorded image.
func finite(t *testing.T, m *onnx.Model, x []float32, npy string) {
	t.Helper()
	var shape []int64
	for _, d := range testkit.ReadNPY(t, npy).Shape {
		shape = append(shape, int64(d))
	}
	out, _ := forward(t, m, x, shape)
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range out[0] {
		low, high = min(low, float64(v)), max(high, float64(v))
	}
	if !(high-low > 1e-3 && high-low < 1e4) {
		t.Errorf("scores of the fresh network lie within %g..%g", low, high)
	}
}

// trainableOf reads from golden.json which initializers are parameters.
func trainableOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Models []struct {
			File         string `json:"file"`
			Initializers []struct {
				ONNX      string `json:"onnx"`
				Trainable bool   `json:"trainable"`
			} `json:"initializers"`
		} `json:"models"`
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, m := range g.Models {
		if m.File != "model.onnx" {
			continue
		}
		for _, i := range m.Initializers {
			out[i.ONNX] = i.Trainable
		}
	}
	if len(out) == 0 {
		t.Fatal("golden.json lists no initializers")
	}
	return out
}

func TestInitialiseExcept(t *testing.T) {
	m := built(t, small()["plain"], 1)
	before := m.Clone()
	if err := InitialiseExcept(m, 2, func(name string) bool { return name == "enc.0.conv1.weight" }); err != nil {
		t.Fatal(err)
	}
	same := func(name string) bool {
		a, _ := before.Graph.Initializer(name).Float32()
		b, _ := m.Graph.Initializer(name).Float32()
		return slices.Equal(a, b)
	}
	if !same("enc.0.conv1.weight") || same("enc.0.conv2.weight") {
		t.Error("the kept parameter has changed, or another has not")
	}
}

func TestInitialiseRefuses(t *testing.T) {
	m := onnx.NewModel(opset)
	m.AddInput("x", onnx.Float32, 1, 1, 4, 4)
	m.AddNode("Relu", []string{"x"}, []string{"y"})
	m.AddOutput("y", onnx.Float32, 1, 1, 4, 4)
	if err := Initialise(m, 1); err == nil {
		t.Error("a network without weights is accepted")
	}
}

// A mask of an attention is no parameter, a table of positions is.
func TestTables(t *testing.T) {
	m := onnx.NewModel(opset)
	m.AddInput("x", onnx.Float32, 2, 3)
	m.AddInitializer(onnx.NewFloat32("mask", []int64{2, 3}, []float32{0, -100, 0, -100, 0, 0}))
	m.AddInitializer(onnx.NewFloat32("place", []int64{2, 3}, []float32{1, 2, 3, 4, 5, 6}))
	m.AddInitializer(onnx.NewFloat32("root", nil, []float32{1.5}))
	m.AddInitializer(onnx.NewFloat32("w", []int64{3, 3}, make([]float32, 9)))
	m.AddNode("Add", []string{"x", "mask"}, []string{"a"})
	m.AddNode("Add", []string{"a", "place"}, []string{"b"})
	m.AddNode("Mul", []string{"b", "root"}, []string{"c"})
	m.AddNode("MatMul", []string{"c", "w"}, []string{"y"})
	m.AddOutput("y", onnx.Float32, 2, 3)
	if err := Initialise(m, 1); err != nil {
		t.Fatal(err)
	}
	value := func(name string) []float32 {
		v, _ := m.Graph.Initializer(name).Float32()
		return v
	}
	if !slices.Equal(value("mask"), []float32{0, -100, 0, -100, 0, 0}) || value("root")[0] != 1.5 {
		t.Errorf("a mask or a number has changed: %v, %v", value("mask"), value("root"))
	}
	for _, x := range value("place") {
		if math.Abs(float64(x)) > 5*tableDeviation {
			t.Errorf("the table's values are %v", value("place"))
			break
		}
	}
}
