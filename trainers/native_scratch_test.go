package trainers

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/testkit"
)

func floatsOf(t *testing.T, m *onnx.Model, name string) []float32 {
	t.Helper()
	v, err := m.Graph.Initializer(name).Float32()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func deviation(v []float32) float64 {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum / float64(len(v)))
}

func TestFromScratch(t *testing.T) {
	m := tinyNetwork()
	a := fromScratch(m, 1, []string{"last.*"})
	for name, sd := range map[string]float64{"first.weight": math.Sqrt(2.0 / 27), "middle.weight": math.Sqrt(2.0 / 6)} {
		if got := deviation(floatsOf(t, a, name)); math.Abs(got/sd-1) > 0.25 { // 162 and 36 values
			t.Errorf("%s has deviation %g instead of %g", name, got, sd)
		}
	}
	for name, want := range map[string]float32{"first.bias": 0, "norm.weight": 1, "norm.bias": 0} {
		if v := floatsOf(t, a, name); slices.ContainsFunc(v, func(x float32) bool { return x != want }) {
			t.Errorf("%s is %v", name, v)
		}
	}
	if !slices.Equal(floatsOf(t, a, "last.weight"), floatsOf(t, m, "last.weight")) {
		t.Error("a frozen parameter is new")
	}
	if a.Hash() != fromScratch(m, 1, []string{"last.*"}).Hash() || a.Hash() == fromScratch(m, 2, []string{"last.*"}).Hash() {
		t.Error("the weights are no function of the seed")
	}
}

// Every weight of every exported network is found, through the nodes that
// exporters put between a parameter and its reader.
func TestFromScratchKnowsExportedNetworks(t *testing.T) {
	for _, tt := range []struct {
		net  string
		left []string // single numbers
	}{{"unet_res2_prelu", nil}, {"basicunet", nil}, {"dynunet_ds", nil}, {"segresnet_gn", nil}, {"unet2d_bn", nil}, {"unetr", nil}} {
		m, err := onnx.Parse(readFile(t, filepath.Join(testkit.Shared(t, "golden", "networks", tt.net), "model.onnx")))
		if err != nil {
			t.Fatal(err)
		}
		out := fromScratch(m, 5, nil)
		for _, p := range m.Graph.Initializers {
			if p.Type != onnx.Float32 || p.Len() < 2 {
				continue
			}
			before, after := floatsOf(t, m, p.Name), floatsOf(t, out, p.Name)
			r, _ := roleOf(m.Graph.Index(), p.Name, p.Dims, 0)
			if r == roleOther || (r == roleWeight && slices.Equal(before, after)) {
				t.Errorf("%s: %s %v stays", tt.net, p.Name, p.Dims)
			}
		}
	}
}
