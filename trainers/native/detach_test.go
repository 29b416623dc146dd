package native

import (
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort/orttest"
)

// TestDetachedNetworks: every golden network gives the same gradients from one
// batch and from three parts that are that batch, and what depends on the weights
// alone is out of the graph of a part.
func TestDetachedNetworks(t *testing.T) {
	prepared, finished := 0, 0
	for _, v := range variants(t) {
		if v.BatchStatistics {
			continue // each part has its own
		}
		t.Run(v.Network+"/"+v.Variant, func(t *testing.T) {
			if testing.Short() && v.Network != "unet_res2_prelu" {
				t.Skip("short runs take one network; leave -short out for all of them")
			}
			whole := v.open(t, SGD{})
			defer func() { _ = whole.Close() }()
			p, err := Compile(v.model(t), Options{Shape: int64s(v.read(t, v.X).Shape), Optimizer: SGD{}, Gradients: true, Accumulate: 3})
			if err != nil {
				t.Fatal(err)
			}
			parts, err := p.Open(orttest.Runtime(t), 2)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = parts.Close() }()
			x, labels := v.read(t, v.X).F32(t), v.read(t, v.Labels).F32(t)
			for range 2 { // the second step has other weights
				a, err := whole.Run(t.Context(), x, labels, 1e-3)
				if err != nil {
					t.Fatal(err)
				}
				b, err := parts.Run(t.Context(), slices.Concat(x, x, x), slices.Concat(labels, labels, labels), 1e-3)
				if err != nil || !near(a, b, 1e-5) {
					t.Fatalf("loss %g instead of %g, %v", b, a, err)
				}
			}
			want, got := whole.fixed[outGrad], parts.fixed[outGrad]
			if e := relative(got, wide(want)); !(e <= 1e-4) {
				t.Errorf("the gradient is off by %.1e", e)
			}
			for _, w := range v.Params {
				g, err := parts.Gradient(w.Onnx)
				if err != nil {
					t.Fatal(err)
				}
				h, err := whole.Gradient(w.Onnx)
				if err != nil {
					t.Fatal(err)
				}
				if l2, _ := norm(h); !w.Noise && l2 > 1e-4*whole.GradientNorm() && !(relative(g, wide(h)) <= 1e-3) {
					t.Errorf("%s: the gradient is off by %.1e", w.Onnx, relative(g, wide(h)))
				}
			}
			if left := ofWeights(p); left != "" {
				t.Errorf("%s depends on the weights alone and is computed in every part", left)
			}
			prepared, finished = prepared+len(p.apart.prepare), finished+len(p.apart.finish)
		})
	}
	if prepared == 0 || finished == 0 {
		t.Errorf("%d graphs before and %d after the parts: nothing was taken out", prepared, finished)
	}
}

func near(a, b, limit float64) bool { return a-b <= limit && b-a <= limit }

// ofWeights returns a node of the graph of a part that moves or computes what
// depends on the weights alone, and is no larger than that; "" when there is none.
func ofWeights(p *Program) string {
	shapes := p.graph.StaticShapes()
	length := func(name string) int64 {
		if t := p.parameter(name); t != nil {
			return t.Len()
		}
		s, ok := shapes[name]
		if !ok || slices.ContainsFunc(s, func(d int64) bool { return d < 0 }) {
			return 1 << 40
		}
		return size(s)
	}
	weights, constants := map[string]bool{}, map[string]bool{"": true}
	for _, t := range p.parameters {
		weights[t.Name] = true
	}
	for _, t := range p.graph.Graph.Initializers {
		constants[t.Name] = true
	}
	for _, n := range p.graph.Graph.Nodes {
		if slices.ContainsFunc(n.Inputs, func(s string) bool { return !weights[s] && !constants[s] }) ||
			!slices.ContainsFunc(n.Inputs, func(s string) bool { return weights[s] }) {
			continue
		}
		out := n.Outputs[0]
		if isView(n) {
			weights[out] = true
			continue
		}
		var from int64
		for _, name := range n.Inputs {
			if weights[name] {
				from += length(name)
			}
		}
		if length(out) <= from {
			return n.Op + " → " + out
		}
	}
	return ""
}

// TestDetachTraps: a gradient that two parameters share, parameters that are read
// both as they are and rearranged, and products in half precision stay what they
// are.
func TestDetachTraps(t *testing.T) {
	m := onnx.NewModel(17)
	m.AddInput("x", onnx.Float32, 1, 2, 4, 4)
	m.AddInitializer(onnx.NewFloat32("w", []int64{3, 2, 1, 1}, []float32{.1, .2, .3, -.4, .5, .6}))
	m.AddInitializer(onnx.NewFloat32("a", []int64{3, 1, 1}, []float32{.1, .2, .3}))
	m.AddInitializer(onnx.NewFloat32("b", []int64{3, 1, 1}, []float32{.3, .1, .2}))
	m.AddInitializer(onnx.NewFloat32("c", []int64{4}, []float32{.1, .2, .3, .4})) // vectors: their gradients
	m.AddInitializer(onnx.NewFloat32("d", []int64{4}, []float32{.3, .1, .2, .5})) // are one and the same value
	m.AddInitializer(onnx.NewInt64("shape", []int64{3}, []int64{1, 2, 3}))
	m.AddNode("Add", []string{"a", "b"}, []string{"ab"})
	m.AddNode("Add", []string{"c", "d"}, []string{"cd"})
	m.AddNode("Conv", []string{"x", "w"}, []string{"y"})
	m.AddNode("Add", []string{"y", "ab"}, []string{"z"})
	m.AddNode("Add", []string{"z", "cd"}, []string{"zz"})
	m.AddNode("Reshape", []string{"w", "shape"}, []string{"rows"})
	m.AddNode("Transpose", []string{"rows"}, []string{"turned"}, onnx.IntsAttr("perm", 0, 2, 1))
	m.AddInitializer(onnx.NewInt64("flat", []int64{4}, []int64{1, 1, 6, 1}))
	m.AddNode("Reshape", []string{"turned", "flat"}, []string{"flatw"})
	m.AddNode("ReduceMean", []string{"flatw"}, []string{"mean"}, onnx.IntsAttr("axes", 2))
	m.AddNode("Mul", []string{"zz", "mean"}, []string{"out"})
	m.AddOutput("out", onnx.Float32, 1, 3, 4, 4)
	x, labels := make([]float32, 32), make([]float32, 16)
	for i := range x {
		x[i] = float32(i%7) - 3
	}
	for i := range labels {
		labels[i] = float32(i % 3)
	}
	for _, half := range []bool{false, true} {
		o := Options{Shape: []int64{1, 2, 4, 4}, Gradients: true, Optimizer: SGD{}, Half: half}
		whole := open(t, m, o)
		o.Accumulate = 2
		parts := open(t, m, o)
		if n := len(parts.program.apart.prepare); n == 0 {
			t.Error("the sum of two parameters is computed in every part")
		}
		for range 3 {
			a, err := whole.Run(t.Context(), x, labels, 0.1)
			if err != nil {
				t.Fatal(err)
			}
			b, err := parts.Run(t.Context(), slices.Concat(x, x), slices.Concat(labels, labels), 0.1)
			if err != nil || !near(a, b, 1e-6) {
				t.Errorf("half precision %v: loss %g instead of %g, %v", half, b, a, err)
			}
		}
		a, b := whole.State().Vectors[vecWeights], parts.State().Vectors[vecWeights]
		if e := relative(b, wide(a)); !(e < 1e-6) {
			t.Errorf("half precision %v: the weights are off by %.1e", half, e)
		}
		for _, name := range []string{"a", "b", "c", "d"} {
			if g, err := parts.Gradient(name); err != nil || !slices.ContainsFunc(g, func(v float32) bool { return v != 0 }) {
				t.Errorf("the gradient of %s is %v, %v", name, g, err)
			}
		}
	}
}
