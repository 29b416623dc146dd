package onnx_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
)

// padded returns [1, C, n, n, n] values: every channel is one constant, as in
// padding, but for a share of its slices along the first axis, which hold
// noise of deviation spread around another mean.
func padded(channels, n int, share, spread float64) []float32 {
	r := rand.New(rand.NewPCG(1, 2))
	levels := []float64{0.3, -1.7, 0.0123, 5.1}
	x := make([]float32, channels*n*n*n)
	noisy := int(share * float64(n))
	for i := range x {
		c, z := i/(n*n*n), i/(n*n)%n
		v := levels[c%len(levels)]
		if z < noisy {
			v += spread * (r.NormFloat64() + 1)
		}
		x[i] = float32(v)
	}
	return x
}

// normalise64 is (x - mean)/sqrt(variance + eps)·scale + bias in float64, over
// groups of channels; scale and bias are per channel.
func normalise64(x []float32, channels, groups int, eps float64, scale, bias []float32) []float64 {
	size, per := len(x)/groups, len(x)/channels
	out := make([]float64, len(x))
	for g := range groups {
		part := x[g*size : (g+1)*size]
		var mean, variance float64
		for _, v := range part {
			mean += float64(v)
		}
		mean /= float64(size)
		for _, v := range part {
			variance += (float64(v) - mean) * (float64(v) - mean)
		}
		sd := math.Sqrt(variance/float64(size) + eps)
		for i, v := range part {
			c := (g*size + i) / per
			out[g*size+i] = (float64(v)-mean)/sd*float64(scale[c]) + float64(bias[c])
		}
	}
	return out
}

// normModel builds a network of one normalisation, the way exporters write it.
func normModel(kind string, scale, bias []float32) *onnx.Model {
	c := int64(len(scale))
	opset := int64(17)
	switch kind {
	case "GroupNormalization operator":
		opset = 21
	case "GroupNormalization operator of 18":
		opset = 18
	}
	m := onnx.NewModel(opset)
	m.AddInput("x", onnx.Float32, -1, c, -1, -1, -1)
	vector := func(name string, v ...float32) { m.AddInitializer(onnx.NewFloat32(name, []int64{int64(len(v))}, v)) }
	column := func(name string, v []float32) { m.AddInitializer(onnx.NewFloat32(name, []int64{c, 1, 1, 1}, v)) }
	switch kind {
	case "InstanceNormalization":
		vector("scale", scale...)
		vector("bias", bias...)
		m.AddNode(kind, []string{"x", "scale", "bias"}, []string{"y"}, onnx.FloatAttr("epsilon", 1e-5))
	case "GroupNormalization operator":
		vector("scale", scale...)
		vector("bias", bias...)
		m.AddNode("GroupNormalization", []string{"x", "scale", "bias"}, []string{"y"}, onnx.FloatAttr("epsilon", 1e-5), onnx.IntAttr("num_groups", 2))
	case "GroupNormalization operator of 18": // scale and bias per group
		vector("scale", scale[0], scale[len(scale)-1])
		vector("bias", bias[0], bias[len(bias)-1])
		m.AddNode("GroupNormalization", []string{"x", "scale", "bias"}, []string{"y"}, onnx.FloatAttr("epsilon", 1e-5), onnx.IntAttr("num_groups", 2))
	case "group norm as exported":
		m.AddInitializer(onnx.NewInt64("groups", []int64{3}, []int64{0, 2, -1}))
		vector("ones", 1, 1)
		vector("zeros", 0, 0)
		column("scale", scale)
		column("bias", bias)
		m.AddNode("Reshape", []string{"x", "groups"}, []string{"g"})
		m.AddNode("InstanceNormalization", []string{"g", "ones", "zeros"}, []string{"n"}, onnx.FloatAttr("epsilon", 1e-5))
		m.AddNode("Shape", []string{"x"}, []string{"s"})
		m.AddNode("Reshape", []string{"n", "s"}, []string{"r"})
		m.AddNode("Mul", []string{"r", "scale"}, []string{"m"})
		m.AddNode("Add", []string{"m", "bias"}, []string{"y"})
	case "written out":
		column("scale", scale)
		column("bias", bias)
		m.AddInitializer(onnx.NewFloat32("eps", nil, []float32{1e-5}))
		axes := onnx.IntsAttr("axes", 2, 3, 4)
		m.AddNode("ReduceMean", []string{"x"}, []string{"mean"}, axes)
		m.AddNode("Sub", []string{"x", "mean"}, []string{"c"})
		m.AddNode("Mul", []string{"c", "c"}, []string{"q"})
		m.AddNode("ReduceMean", []string{"q"}, []string{"v"}, axes)
		m.AddNode("Add", []string{"v", "eps"}, []string{"ve"})
		m.AddNode("Sqrt", []string{"ve"}, []string{"sd"})
		m.AddNode("Div", []string{"c", "sd"}, []string{"n"})
		m.AddNode("Mul", []string{"n", "scale"}, []string{"m"})
		m.AddNode("Add", []string{"m", "bias"}, []string{"y"})
	}
	m.AddOutput("y", onnx.Float32, -1, c, -1, -1, -1)
	return m
}

// Windows of 64³ that are mostly padding: untouched, both providers are off by
// up to 0.5 in normalised values; the limit is ten times PyTorch's error.
func TestNormalisationDoesNotDrift(t *testing.T) {
	const n, limit = 64, 1e-4
	inputs := []struct {
		name          string
		share, spread float64
	}{
		{"constant", 0, 0}, {"nearly constant", 0.05, 0.05}, {"a tenth noise", 0.1, 0.5}, {"half noise", 0.5, 0.3}, {"noise", 1, 1},
	}
	for _, tt := range []struct {
		kind   string
		groups int
	}{
		{"InstanceNormalization", 4},
		{"group norm as exported", 2},
		{"GroupNormalization operator", 2},
		{"GroupNormalization operator of 18", 2},
		{"written out", 4},
	} {
		scale, bias := []float32{1, 0.5, -1, 2}, []float32{0, 1, -0.25, 0}
		if tt.kind == "GroupNormalization operator of 18" {
			scale, bias = []float32{0.5, 0.5, 2, 2}, []float32{1, 1, -0.25, -0.25}
		}
		for _, provider := range []string{ort.CPU, ort.OpenVINO} {
			for _, fixed := range []bool{false, true} {
				m := normModel(tt.kind, scale, bias)
				if fixed {
					if err := m.FixShape("x", []int64{1, 4, n, n, n}); err != nil {
						t.Fatal(err)
					}
				}
				p, count := prepare(t, m, provider)
				if len(count) == 0 {
					t.Errorf("%s on %s: no rule applied", tt.kind, provider)
				}
				sess := session(t, p, provider)
				for _, in := range inputs {
					x := tensor([]int64{1, 4, n, n, n})
					copy(x.Data, padded(4, n, in.share, in.spread))
					y := tensor(x.Shape)
					if err := sess.Run(t.Context(), []ort.Tensor{x}, []ort.Tensor{y}); err != nil {
						t.Fatal(err)
					}
					want := normalise64(x.Data, 4, tt.groups, 1e-5, scale, bias)
					worst := 0.0
					for i, v := range want {
						worst = max(worst, math.Abs(float64(y.Data[i])-v)/max(1, math.Abs(v)))
					}
					if !(worst <= limit) {
						t.Errorf("%s on %s (fixed %v), %s: off by %.2g", tt.kind, provider, fixed, in.name, worst)
					}
				}
			}
		}
	}
}
