package infer

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort/orttest"
)

// toy is a network of one node: channels of a weighted input, [N, 1, spatial…]
// to [N, channels, spatial…]; end names an operator that follows.
func toy(dimension, channels int, end ...string) *onnx.Model {
	m := onnx.NewModel(17)
	shape := []int64{-1, 1, -1, -1, -1}[:dimension+2]
	m.AddInput("x", onnx.Float32, shape...)
	weights, kernel := make([]float32, channels), []int64{int64(channels), 1, 1, 1, 1}[:dimension+2]
	for i := range weights {
		weights[i] = float32(i)
	}
	m.AddInitializer(onnx.NewFloat32("w", kernel, weights))
	m.AddNode("Conv", []string{"x", "w"}, []string{"v0"})
	for i, op := range end {
		m.AddNode(op, []string{fmt.Sprintf("v%d", i)}, []string{fmt.Sprintf("v%d", i+1)})
	}
	shape = slices.Clone(shape)
	shape[1] = int64(channels)
	m.AddOutput(fmt.Sprintf("v%d", len(end)), onnx.Float32, shape...)
	return m
}

// toyPipeline opens a toy network under a manifest.
func toyPipeline(t *testing.T, manifest string, m *onnx.Model, o PipelineOptions) (*Pipeline, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir+"/"+NetworkFile, m.Bytes())
	write(t, dir+"/"+ManifestFile, []byte("inputs: [{name: T1, source: image}]\n"+manifest))
	return OpenPipeline(os.DirFS(dir), o)
}

const argmaxOf3 = "outputs: [{activation: softmax}]\nlabels: [{name: a, value: 5, channel: 1}, {name: b, value: 9, channel: 2}]\n"

func TestClassesOfManifests(t *testing.T) {
	for _, tt := range []struct {
		name, manifest string
		m              *onnx.Model
		ignore         int
		classes        string // name value index; or, from !, a part of the refusal
	}{
		{"argmax", argmaxOf3, toy(3, 3), 0, "[{a 5 1} {b 9 2}]"},
		{"ignored", argmaxOf3, toy(3, 3), 3, "[{a 5 1} {b 9 2}]"},
		{"logits", "outputs: [{activation: none, decision: argmax}]\nlabels: [{name: a, value: 1}]\n", toy(3, 2), 0, "[{a 1 1}]"},
		{"two background channels", "outputs: [{activation: softmax}]\nlabels: [{name: a, value: 1}, {name: rest, value: 0, channel: 2}]\n", toy(3, 3), 0, "[{a 1 1}]"},
		{"sigmoid", "outputs: [{activation: sigmoid}]\nlabels: [{name: lesion, value: 4}]\n", toy(3, 1), 0, "[{lesion 4 1}]"},
		{"open channels", argmaxOf3, withoutShape(toy(3, 3)), 0, "[{a 5 1} {b 9 2}]"},
		{"overlap", "outputs: [{activation: sigmoid, priority: [{channel: 0}, {channel: 1}]}]\nlabels: [{name: a, value: 1}, {name: b, value: 2}]\n", toy(3, 2), 0, "!may overlap"},
		{"two heads", "outputs: [{activation: softmax, index: 0}, {activation: softmax, index: 1}]\nlabels: [{name: a, value: 1}, {name: b, value: 2, output: 1, channel: 1}]\n", twoHeads(), 0, "!exclusive classes"},
		{"second output", "outputs: [{activation: softmax, index: 1}]\nlabels: [{name: a, value: 1}]\n", twoHeads(), 0, "!first output"},
		{"ends with softmax", argmaxOf3, toy(3, 3, "Softmax"), 0, "!ends with Softmax"},
		{"hidden sigmoid", "outputs: [{activation: none, decision: threshold}]\nlabels: [{name: a, value: 1}]\n", toy(3, 1, "Sigmoid", "Identity"), 0, "!ends with Sigmoid"},
		{"one value twice", "outputs: [{activation: softmax}]\nlabels: [{name: a, value: 1}, {name: b, value: 1, channel: 2}]\n", toy(3, 3), 0, "!two labels"},
		{"else", "outputs: [{activation: sigmoid, else_value: 2}]\nlabels: [{name: a, value: 1}, {name: b, value: 2, channel: 1}]\n", toy(3, 1), 0, "!"},
		{"ignored is a label", argmaxOf3, toy(3, 3), 9, "!is a label"},
		{"ignored is a class", argmaxOf3, toy(3, 3), 2, "!number of a class"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := toyPipeline(t, tt.manifest, tt.m, PipelineOptions{Ignore: tt.ignore})
			if want, refused := strings.CutPrefix(tt.classes, "!"); refused {
				if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(p.Classes()); got != tt.classes {
				t.Errorf("%s, want %s", got, tt.classes)
			}
			if want := int(tt.m.Outputs()[0].Shape[max(0, min(1, len(tt.m.Outputs()[0].Shape)-1))]); want > 0 && p.Outputs() != want || p.Outputs() < 1 {
				t.Errorf("%d outputs", p.Outputs())
			}
		})
	}
}

func withoutShape(m *onnx.Model) *onnx.Model {
	m.Graph.Outputs[0].Dims[1].Size = -1
	return m
}

func twoHeads() *onnx.Model {
	m := toy(3, 2, "Relu")
	m.Graph.Outputs = append(m.Graph.Outputs, onnx.NewValue("v0", onnx.Float32, -1, 2, -1, -1, -1))
	return m
}

// A 2-D model's slices come first, whichever axis lies across them, and a
// single sigmoid channel has class 1.
func TestSlicesAndSigmoid(t *testing.T) {
	size := [3]int{4, 5, 6}
	v := volumeOf(1, size, func(_, x, y, z int) float32 { return float32(100*x + 10*y + z) })
	truth := imaging.NewLabelMap(v.Grid)
	truth.Data[1+4*(2+5*3)] = 7 // (1, 2, 3)
	for _, tt := range []struct {
		axis, axes string
		size, at   [3]int
	}{
		{"z", "xyz", [3]int{6, 4, 5}, [3]int{3, 1, 2}},
		{"z", "zyx", [3]int{6, 5, 4}, [3]int{3, 2, 1}},
		{"x", "xyz", [3]int{4, 5, 6}, [3]int{1, 2, 3}},
		{"y", "zyx", [3]int{5, 6, 4}, [3]int{2, 3, 1}},
	} {
		manifest := fmt.Sprintf("dimension: 2\nnetwork: {axes: %s, slice_axis: %s}\nwindow: {size: [2, 2], overlap: 0.5}\noutputs: [{activation: sigmoid}]\nlabels: [{name: lesion, value: 7}]\n", tt.axes, tt.axis)
		p, err := toyPipeline(t, manifest, toy(2, 1), PipelineOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if p.Window() != [3]int{1, 2, 2} || p.Dimension() != 2 {
			t.Errorf("%s: window %v", tt.axis, p.Window())
		}
		c, _ := prepareBoth(t, p, Input{Volumes: []*imaging.Volume{v}}, truth)
		i := (tt.at[0]*tt.size[1]+tt.at[1])*tt.size[2] + tt.at[2]
		if c.Size != tt.size || c.Image[i] != 123 || c.Labels[i] != 1 || slices.Index(c.Labels, 1) != i {
			t.Errorf("slices across %s in %s: size %v, image %g, label %d", tt.axis, tt.axes, c.Size, c.Image[i], c.Labels[i])
		}
	}
}

// A network in training is judged with its own weights, and one of another
// interface is refused.
func TestEvaluatorTakesOtherNetworks(t *testing.T) {
	p, err := toyPipeline(t, "window: {size: [4, 4, 4]}\n"+argmaxOf3, toy(3, 3), PipelineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	in := Input{Volumes: []*imaging.Volume{volumeOf(1, [3]int{5, 4, 4}, func(_, _, _, _ int) float32 { return 1 })}}
	for _, tt := range []struct {
		weights []float32
		want    uint16
	}{{[]float32{0, 1, 2}, 9}, {[]float32{0, 3, 2}, 5}, {[]float32{4, 3, 2}, 0}} {
		trained := p.Network().Clone()
		trained.Graph.SetInitializer(onnx.NewFloat32("w", []int64{3, 1, 1, 1, 1}, tt.weights))
		e, err := p.Evaluator(t.Context(), orttest.Runtime(t), trained, 1)
		if err != nil {
			t.Fatal(err)
		}
		l, err := e.Run(t.Context(), in, Options{})
		if err = errors.Join(err, e.Close()); err != nil {
			t.Fatal(err)
		}
		if l.Data[0] != tt.want || l.Data[len(l.Data)-1] != tt.want {
			t.Errorf("weights %v: label %d, want %d", tt.weights, l.Data[0], tt.want)
		}
	}
	for name, other := range map[string]*onnx.Model{"two channels": toy(3, 2), "slices": toy(2, 3)} {
		if _, err := p.Evaluator(t.Context(), orttest.Runtime(t), other, 1); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
