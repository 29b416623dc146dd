package onnx_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/testkit"
)

// doubling returns a network of one 3-D k3 s2 p1 op1 ConvTranspose.
func doubling(cin, cout int, bias bool) *onnx.Model {
	r := rand.New(rand.NewPCG(5, 6))
	random := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		return v
	}
	m := onnx.NewModel(17)
	m.AddInput("x", onnx.Float32, -1, int64(cin), -1, -1, -1)
	m.AddInitializer(onnx.NewFloat32("w", []int64{int64(cin), int64(cout), 3, 3, 3}, random(cin*cout*27)))
	inputs := []string{"x", "w"}
	if bias {
		m.AddInitializer(onnx.NewFloat32("b", []int64{int64(cout)}, random(cout)))
		inputs = append(inputs, "b")
	}
	m.AddNode("ConvTranspose", inputs, []string{"y"},
		onnx.IntsAttr("strides", 2, 2, 2), onnx.IntsAttr("pads", 1, 1, 1, 1, 1, 1),
		onnx.IntsAttr("output_padding", 1, 1, 1), onnx.IntsAttr("kernel_shape", 3, 3, 3))
	m.AddOutput("y", onnx.Float32, -1, int64(cout), -1, -1, -1)
	return m
}

// Odd sizes, batches, other channel counts, with and without bias, free and
// fixed shapes: the rewritten form equals ONNX Runtime's ConvTranspose.
func TestUpConvEqualsConvTranspose(t *testing.T) {
	for _, tt := range []struct {
		name  string
		shape []int64
		cout  int
		bias  bool
	}{
		{"bias", []int64{2, 3, 5, 4, 7}, 2, true},
		{"no bias, one voxel along x", []int64{1, 1, 1, 3, 2}, 4, false},
	} {
		for _, fixed := range []bool{false, true} {
			m := doubling(int(tt.shape[1]), tt.cout, tt.bias)
			if fixed {
				if err := m.FixShape("x", tt.shape); err != nil {
					t.Fatal(err)
				}
			}
			x, out := tensor(tt.shape), slices.Clone(tt.shape)
			r := rand.New(rand.NewPCG(7, 8))
			for i := range x.Data {
				x.Data[i] = float32(r.NormFloat64())
			}
			out[1] = int64(tt.cout)
			for i := range 3 {
				out[i+2] *= 2
			}
			p, count := prepare(t, m, ort.CPU)
			if count["upconv"] != 1 {
				t.Errorf("%s: rules %v", tt.name, count)
			}
			want, got := tensor(out), tensor(out)
			for _, c := range []struct {
				m *onnx.Model
				y ort.Tensor
			}{{m, want}, {p, got}} {
				if err := session(t, c.m, ort.CPU).Run(t.Context(), []ort.Tensor{x}, []ort.Tensor{c.y}); err != nil {
					t.Fatal(err)
				}
			}
			if e := testkit.MaxDiff(t, got.Data, want.Data); !(e <= 1e-5) {
				t.Errorf("%s, fixed %v: off by %g", tt.name, fixed, e)
			}
		}
	}
}

// OpenVINO keeps its own form in a graph with a large ConvTranspose; unknown
// sizes count as small.
func TestUpConvOnOpenVINOIsForSmallWindows(t *testing.T) {
	for _, tt := range []struct {
		shape    []int64
		provider string
		want     int
	}{
		{[]int64{1, 2, 32, 32, 32}, ort.OpenVINO, 1},
		{[]int64{1, 2, 33, 32, 32}, ort.OpenVINO, 0},
		{[]int64{1, 2, 33, 32, 32}, ort.CPU, 1},
		{nil, ort.OpenVINO, 1},
	} {
		m := doubling(2, 2, true)
		if tt.shape != nil {
			if err := m.FixShape("x", tt.shape); err != nil {
				t.Fatal(err)
			}
		}
		if _, count := prepare(t, m, tt.provider); count["upconv"] != tt.want {
			t.Errorf("%v on %s: rules %v", tt.shape, tt.provider, count)
		}
	}
}

// ConvTransposes that differ in one respect stay.
func TestUpConvLeavesOthersAlone(t *testing.T) {
	for name, change := range map[string]func(m *onnx.Model, n *onnx.Node){
		"stride 1":               func(_ *onnx.Model, n *onnx.Node) { n.SetAttr(onnx.IntsAttr("strides", 2, 2, 1)) },
		"no output padding":      func(_ *onnx.Model, n *onnx.Node) { n.SetAttr(onnx.IntsAttr("output_padding", 1, 0, 1)) },
		"padding 0":              func(_ *onnx.Model, n *onnx.Node) { n.SetAttr(onnx.IntsAttr("pads", 1, 1, 1, 1, 1, 0)) },
		"dilated":                func(_ *onnx.Model, n *onnx.Node) { n.SetAttr(onnx.IntsAttr("dilations", 1, 2, 1)) },
		"groups":                 func(_ *onnx.Model, n *onnx.Node) { n.SetAttr(onnx.IntAttr("group", 2)) },
		"automatic padding":      func(_ *onnx.Model, n *onnx.Node) { n.SetAttr(onnx.StringAttr("auto_pad", "SAME_UPPER")) },
		"output shape":           func(_ *onnx.Model, n *onnx.Node) { n.SetAttr(onnx.IntsAttr("output_shape", 8, 8, 8)) },
		"computed weight":        func(m *onnx.Model, _ *onnx.Node) { m.AddInput("w", onnx.Float32, 2, 2, 3, 3, 3) },
		"computed bias":          func(m *onnx.Model, _ *onnx.Node) { m.AddInput("b", onnx.Float32, 2) },
		"another domain's":       func(_ *onnx.Model, n *onnx.Node) { n.Domain = "com.example" },
		"weight of float64":      func(m *onnx.Model, _ *onnx.Node) { m.Graph.Initializer("w").Type = onnx.Float64 },
		"weight of two axes":     func(m *onnx.Model, _ *onnx.Node) { m.Graph.Initializer("w").Dims = []int64{18, 6} },
		"kernel of another size": func(m *onnx.Model, _ *onnx.Node) { m.Graph.Initializer("w").Dims = []int64{2, 2, 1, 3, 9} },
	} {
		m := doubling(2, 2, true)
		change(m, m.Graph.Nodes[0])
		if _, count := prepare(t, m, ort.CPU); len(count) != 0 {
			t.Errorf("%s: %v", name, count)
		}
	}
}
