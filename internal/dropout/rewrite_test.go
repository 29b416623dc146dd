package dropout

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/testkit"
)

func golden(t *testing.T, file string) *onnx.Model {
	t.Helper()
	b, err := os.ReadFile(testkit.Shared(t, "golden", "networks", "unet_res2_prelu", file))
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// sampler runs a masked network on one image again and again.
type sampler struct {
	layers []Layer
	masks  [][]uint8
	y      []float32
	bound  *ort.Bound
}

func newSampler(t *testing.T, m *onnx.Model, ratio float64, x testkit.NPY) *sampler {
	t.Helper()
	m = m.Clone()
	shape := []int64{}
	for _, d := range x.Shape {
		shape = append(shape, int64(d))
	}
	if err := m.FixShape("x", shape); err != nil {
		t.Fatal(err)
	}
	masked, layers, err := WithMasks(m, ratio, false)
	if err != nil {
		t.Fatal(err)
	}
	session, err := orttest.Runtime(t).NewSession(masked.Bytes(), ort.SessionOptions{Device: ort.CPU, Threads: 1, ByteInputs: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	s := &sampler{layers: layers}
	in := []ort.Tensor{{Shape: shape, Data: x.F32(t)}}
	for _, l := range layers {
		s.masks = append(s.masks, make([]uint8, l.Len()))
		in = append(in, ort.Tensor{Shape: l.Shape, Bytes: s.masks[len(s.masks)-1]})
	}
	out := []int64{shape[0], 3, shape[2], shape[3], shape[4]}
	s.y = make([]float32, out[0]*out[1]*out[2]*out[3]*out[4])
	if s.bound, err = session.Bind(in, []ort.Tensor{{Shape: out, Data: s.y}}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *sampler) run(t *testing.T, pass uint64) []float32 {
	t.Helper()
	for i, l := range s.layers {
		Fill(s.masks[i], 0, Key{Seed: 1, Pass: pass, Node: l.Node}, l.Ratio)
	}
	if err := s.bound.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s.y
}

// Both forms of the golden network get the same masks, and their samples are
// distributed as PyTorch's: means within the sampling error at every voxel.
func TestMonteCarloAgainstGolden(t *testing.T) {
	dir := []string{"golden", "networks", "unet_res2_prelu"}
	read := func(file string) testkit.NPY { return testkit.ReadNPY(t, testkit.Shared(t, append(dir, file)...)) }
	x := read("forward0_x.npy")
	mean, sd := read("dropout_mc_mean.npy").F64(t), read("dropout_mc_std.npy").F64(t)
	form := newSampler(t, golden(t, "model_dropout_switch.onnx"), 0, x)
	other := newSampler(t, golden(t, "model_dropout_random.onnx"), 0.2, x)
	if len(form.layers) != 13 || len(other.layers) != 13 {
		t.Fatalf("%d and %d layers instead of 13", len(form.layers), len(other.layers))
	}
	const samples, reference = 60, 200
	sum := make([]float64, len(mean))
	for pass := range uint64(samples) {
		p := softmax(form.run(t, pass), 3, x.Shape[0])
		for i, v := range p {
			sum[i] += v / samples
		}
		if pass < 2 && testkit.MaxDiff(t, form.y, other.run(t, pass)) > 1e-4 {
			t.Error("the forms differ under the same masks")
		}
	}
	var z float64
	for i := range mean {
		se := sd[i]*math.Sqrt(1.0/samples+1.0/reference) + 1e-6
		d := (sum[i] - mean[i]) / se
		z += d * d / float64(len(mean))
	}
	if z = math.Sqrt(z); !(z > 0.7 && z < 1.3) {
		t.Errorf("the mean of %d samples is %.2f standard errors off PyTorch's (root mean square), want about 1", samples, z)
	}
}

// softmax over classes of [N, classes, …].
func softmax(y []float32, classes, n int) []float64 {
	out := make([]float64, len(y))
	voxels := len(y) / classes / n
	for b := range n {
		for v := range voxels {
			var total float64
			at := func(c int) int { return (b*classes+c)*voxels + v }
			for c := range classes {
				out[at(c)] = math.Exp(float64(y[at(c)]))
				total += out[at(c)]
			}
			for c := range classes {
				out[at(c)] /= total
			}
		}
	}
	return out
}

// With a ratio of 0 nothing is left of a dropout, and the network is itself.
func TestWithoutDropout(t *testing.T) {
	m := golden(t, "model_dropout_random.onnx")
	if err := m.FixShape("x", []int64{1, 1, 16, 16, 16}); err != nil {
		t.Fatal(err)
	}
	plain, layers, err := WithMasks(m, 0, false)
	if err != nil || len(layers) != 0 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	if n := plain.Features().Ops["RandomUniformLike"]; n != 0 {
		t.Errorf("%d random nodes remain", n)
	}
}

func TestRefused(t *testing.T) {
	build := func(shape []int64, ratio ...string) *onnx.Model {
		m := onnx.NewModel(17)
		m.AddInput("x", onnx.Float32, shape...)
		m.AddInput("p", onnx.Float32, 1)
		m.AddOutput("y", onnx.Float32, shape...)
		m.AddInitializer(onnx.NewFloat32("all", nil, []float32{1}))
		n := m.AddNode("Dropout", append([]string{"x"}, ratio...), []string{"y"})
		n.Name = "the/node"
		return m
	}
	fixed := []int64{1, 2, 4}
	mask := build(fixed)
	mask.Graph.Nodes[0].Outputs = []string{"y", "m"}
	mask.AddNode("Not", []string{"m"}, []string{"z"})
	for name, c := range map[string]struct {
		m    *onnx.Model
		says string
	}{
		"everything dropped": {build(fixed, "all"), "[0, 1)"},
		"ratio of a caller":  {build(fixed, "p"), "[0, 1)"},
		"free size":          {build([]int64{1, -1, 4}), "size"},
		"mask in use":        {mask, "mask"},
	} {
		_, _, err := WithMasks(c.m, 0, false)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "the/node") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, layers, err := WithMasks(build(fixed, "p"), 0.5, false); err != nil || len(layers) != 1 || !slices.Equal(layers[0].Shape, fixed) {
		t.Errorf("a given ratio: %v, %v", layers, err)
	}
}

// With a free size, masks follow the input: their names are those of a copy of
// fixed size, which tells their shapes.
func TestFreeSize(t *testing.T) {
	m := golden(t, "model_dropout_switch.onnx")
	_, open, err := WithMasks(m, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.FixShape("x", []int64{2, 1, 16, 24, 16}); err != nil {
		t.Fatal(err)
	}
	_, layers, err := WithMasks(m, 0, false)
	if err != nil || len(layers) != 13 || len(open) != 13 {
		t.Fatalf("%d and %d layers, %v", len(open), len(layers), err)
	}
	for i, l := range layers {
		o := open[i]
		if o.Input != l.Input || o.Node != l.Node || len(o.Shape) != len(l.Shape) || !slices.Contains(o.Shape, -1) || l.Len() < 1 {
			t.Errorf("layer %d: %+v and %+v", i, o, l)
		}
	}
}

// Inference drops nothing, whatever the form: neither a Dropout node in
// training mode, nor one whose mask is read, nor masks written out.
func TestOff(t *testing.T) {
	m := onnx.NewModel(17)
	m.AddInput("x", onnx.Float32, 1, 1, 64)
	m.AddOutput("y", onnx.Float32, 1, 1, 64)
	m.AddInitializer(onnx.NewFloat32("ratio", nil, []float32{0.5}))
	m.AddInitializer(&onnx.Tensor{Name: "training", Type: onnx.Bool, Raw: []byte{1}})
	m.AddNode("Dropout", []string{"x", "ratio", "training"}, []string{"a"})
	m.AddNode("Dropout", []string{"a", "ratio", "training"}, []string{"b", "kept"})
	m.AddNode("Cast", []string{"kept"}, []string{"k"}, onnx.IntAttr("to", int64(onnx.Float32)))
	m.AddNode("Mul", []string{"b", "k"}, []string{"y"})
	if all, dropping := Count(m); all != 2 || dropping != 2 {
		t.Fatalf("%d dropouts, %d of them drop", all, dropping)
	}
	off := Off(m)
	if n := off.Features().Ops["Dropout"]; n != 1 {
		t.Errorf("%d Dropout nodes remain, want the one whose mask is read", n)
	}
	in, out := make([]float32, 64), make([]float32, 64)
	for i := range in {
		in[i] = float32(i + 1)
	}
	run(t, off, in, out)
	if !slices.Equal(in, out) {
		t.Errorf("values are dropped: %v", out)
	}
	written := Off(golden(t, "model_dropout_random.onnx"))
	if f := written.Features().Ops; f["RandomUniformLike"] != 0 || f["Identity"] < 13 {
		t.Errorf("%d random nodes remain", f["RandomUniformLike"])
	}
}

// run runs a network with one input and output.
func run(t *testing.T, m *onnx.Model, in, out []float32) {
	t.Helper()
	session, err := orttest.Runtime(t).NewSession(m.Bytes(), ort.SessionOptions{Device: ort.CPU, Threads: 1, OptimizationsOff: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	shape := m.Inputs()[0].Shape
	if err := session.Run(t.Context(), []ort.Tensor{{Shape: shape, Data: in}}, []ort.Tensor{{Shape: shape, Data: out}}); err != nil {
		t.Fatal(err)
	}
}
