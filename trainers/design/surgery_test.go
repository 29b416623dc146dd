package design

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/testkit"
	"github.com/voxloop/voxloop/trainers/native"
)

// channel returns one channel of [N, C, …] values.
func channel(v []float32, shape []int64, c int) []float32 {
	var out []float32
	each := int(product(shape[2:]))
	for n := range int(shape[0]) {
		from := (n*int(shape[1]) + c) * each
		out = append(out, v[from:from+each]...)
	}
	return out
}

func distance(a, b []float32) float64 {
	d := 0.0
	for i := range a {
		d = max(d, math.Abs(float64(a[i]-b[i])))
	}
	return d
}

// operated are networks for operations: own ones, and golden ones whose last
// layers are more than a convolution.
func operated(t *testing.T) map[string]*onnx.Model {
	t.Helper()
	root := testkit.Shared(t, "golden", "networks")
	out := map[string]*onnx.Model{"own heads": built(t, small()["heads"], 1), "own residual": built(t, small()["residual"], 1), "own slices": built(t, small()["slices"], 1)}
	for _, name := range []string{"unet_res2_prelu", "unet_res0_bn", "basicunet", "dynunet_ds", "segresnet_gn", "unet2d_bn"} {
		out[name] = parsed(t, filepath.Join(root, name, "model.onnx"))
	}
	return out
}

// Classes that stay compute what they did, in their new places; a fresh one has
// scores of its own, and all train.
func TestSurgeryOfClasses(t *testing.T) {
	for name, m := range operated(t) {
		t.Run(name, func(t *testing.T) {
			in := m.Inputs()[0].Shape
			shape := []int64{2, in[1]}
			for range in[2:] {
				shape = append(shape, 16)
			}
			x := noise(int(product(shape)), name)
			old, oldShapes := forward(t, m, x, shape)
			keep := []int{0, Fresh} // the old classes backwards behind a new one
			least := 1
			if strings.HasPrefix(name, "own") {
				least = int(oldShapes[0][1]) - 1 // others mix their classes: none may go
			}
			for c := int(oldShapes[0][1]) - 1; c >= least; c-- {
				keep = append(keep, c)
			}
			changed, err := Surgery(m, Change{Classes: keep}, 5)
			if err != nil {
				t.Fatal(err)
			}
			now, shapes := forward(t, changed, x, shape)
			for h := range now {
				if shapes[h][1] != int64(len(keep)) {
					t.Fatalf("head %d has %d channels, want %d", h, shapes[h][1], len(keep))
				}
				for c, from := range keep {
					if from == Fresh {
						continue
					}
					if d := distance(channel(now[h], shapes[h], c), channel(old[h], oldShapes[h], from)); d > 1e-4 {
						t.Errorf("head %d: class %d, now %d, differs by %g", h, from, c, d)
					}
				}
			}
			if o := changed.Outputs()[0].Shape[1]; o != int64(len(keep)) {
				t.Errorf("the output declares %d channels", o)
			}
			if strings.HasPrefix(name, "own") || name == "unet_res2_prelu" {
				trains(t, changed, shape)
			}
			again, err := Surgery(m, Change{Classes: keep}, 5)
			if err != nil || again.Hash() != changed.Hash() {
				t.Errorf("the same operation gives other bytes (%v)", err)
			}
		})
	}
}

// trains makes one step and wants gradients everywhere but where the network
// has none before its normalisations.
func trains(t *testing.T, m *onnx.Model, shape []int64) {
	t.Helper()
	p, err := native.Compile(m, native.Options{Shape: shape})
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Open(orttest.Runtime(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	labels := make([]float32, int(product(shape)/float64(shape[1])))
	for i := range labels {
		labels[i] = float32(i / 50 % 3)
	}
	x := noise(int(product(shape)), "t")
	first, err := s.Run(t.Context(), x, labels, 1e-2)
	if err != nil {
		t.Fatal(err)
	}
	var last float64
	for range 5 {
		if last, err = s.Run(t.Context(), x, labels, 1e-2); err != nil {
			t.Fatal(err)
		}
	}
	if !(last < first) {
		t.Errorf("the loss went from %g to %g", first, last)
	}
}

// A fresh input channel changes nothing at first, whatever it holds; exchanged
// channels compute the same from exchanged images.
func TestSurgeryOfInputs(t *testing.T) {
	for name, m := range operated(t) {
		t.Run(name, func(t *testing.T) {
			in := m.Inputs()[0].Shape
			channels := int(in[1])
			shape := []int64{1, in[1]}
			for range in[2:] {
				shape = append(shape, 16)
			}
			each := int(product(shape[2:]))
			x := noise(int(product(shape)), name)
			want, _ := forward(t, m, x, shape)
			keep := []int{Fresh} // the fresh one first, then the old ones backwards
			wide := noise(each, "more")
			for c := channels - 1; c >= 0; c-- {
				keep = append(keep, c)
				wide = append(wide, x[c*each:(c+1)*each]...)
			}
			changed, err := Surgery(m, Change{Inputs: keep}, 1)
			if err != nil {
				t.Fatal(err)
			}
			shape[1]++
			got, _ := forward(t, changed, wide, shape)
			if d := distance(got[0], want[0]); d > 1e-4 {
				t.Errorf("scores differ by %g", d)
			}
		})
	}
}

func TestSurgeryRefuses(t *testing.T) {
	m := built(t, small()["plain"], 1)
	joined := m.Clone() // two results side by side as classes
	joined.AddNode("Concat", []string{"logits", "logits"}, []string{"both"}, onnx.IntAttr("axis", 1)).Name = "side by side"
	joined.Graph.Outputs = nil
	joined.AddOutput("both", onnx.Float32, -1, 6, -1, -1, -1)
	tests := []struct {
		name string
		m    *onnx.Model
		c    Change
		want string
	}{
		{"no class", m, Change{Classes: []int{}}, "no channel"},
		{"class that is not there", m, Change{Classes: []int{0, 3}}, "no channel 3"},
		{"channel that is not there", m, Change{Inputs: []int{1}}, "no channel 1"},
		{"concatenation", joined, Change{Classes: []int{0, 1}}, `"side by side"`},
	}
	for _, tt := range tests {
		_, err := Surgery(tt.m, tt.c, 1)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestReclass(t *testing.T) {
	const text = `# from a hospital
inputs: [{source: "image[MR]"}]
window: {size: image, multiple: 8}
outputs: [{activation: softmax}]
labels:
  - {name: head, value: 1}
  - {name: tail, value: 2}
postprocess:
  - keep_largest: {labels: [head]}
  - keep_largest: {labels: [head, tail], count: 2}
`
	r, err := Reclass([]byte(text), map[string]int{"tail": 1, "body": 5}, Labelling{Name: "new", Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.Change.Classes, []int{0, 2, Fresh}) {
		t.Errorf("the change is %v", r.Change.Classes)
	}
	if !slices.Equal(r.Kept, []string{"tail"}) || !slices.Equal(r.New, []string{"body"}) || !slices.Equal(r.Gone, []string{"head"}) {
		t.Errorf("kept %v, new %v, gone %v", r.Kept, r.New, r.Gone)
	}
	got := string(r.Manifest)
	for _, want := range []string{"multiple: 8", "name: tail", "value: 5", "channel: 2", "name: new", "count: 2", "seed 3"} {
		if !strings.Contains(got, want) {
			t.Errorf("the manifest lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "head") || strings.Count(got, "keep_largest") != 1 {
		t.Errorf("the manifest still names what is gone:\n%s", got)
	}
	for name, bad := range map[string]string{
		"no YAML":      ":\n\t-",
		"sigmoid":      "outputs: [{activation: sigmoid}]\nlabels: [{name: a, value: 1}]\n",
		"two outputs":  "outputs: [{}, {}]\nlabels: [{name: a, value: 1}]\n",
		"no mapping":   "- a\n",
		"wrong labels": "outputs: [{}]\nlabels: 5\n",
	} {
		if _, err := Reclass([]byte(bad), map[string]int{"a": 1}, Labelling{}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
