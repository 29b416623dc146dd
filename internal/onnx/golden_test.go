package onnx_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/testkit"
)

// goldenTolerance is the largest |difference| from float64 PyTorch per
// provider, times max(1, max|y|).
var goldenTolerance = map[string]float64{ort.CPU: 1e-4, ort.OpenVINO: 3e-4}

// forward is one recorded network call.
type forward struct{ name, model, x, y string }

// forwards returns the recorded calls of every golden network.
func forwards(t *testing.T) []forward {
	t.Helper()
	root := testkit.Shared(t, "golden", "networks")
	files, err := filepath.Glob(filepath.Join(root, "*", "golden.json"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d golden networks, %v", len(files), err)
	}
	var out []forward
	for _, f := range files {
		var g struct {
			Name    string
			Models  []struct{ File string }
			Forward []struct {
				X, Y string
				Max  map[string]float64 `json:"ort_max_abs"`
			}
			Dropout *struct {
				X string
				Y string `json:"y_off"`
			}
			Train []struct {
				Model, Variant, X string
				BN                bool `json:"bn_training"`
				Logits            []string
			}
		}
		raw, err := os.ReadFile(f) //nolint:gosec // the test's own files
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &g); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		dir := filepath.Dir(f)
		add := func(model, x, y string) {
			out = append(out, forward{g.Name + "/" + model + "/" + x, filepath.Join(dir, model), filepath.Join(dir, x), filepath.Join(dir, y)})
		}
		for _, m := range g.Models {
			for _, w := range g.Forward {
				if _, ok := w.Max[m.File]; ok {
					add(m.File, w.X, w.Y)
				}
			}
		}
		if len(g.Forward) == 0 { // swinunetr has its training logits only
			for _, w := range g.Train {
				if !w.BN {
					add(w.Model, w.X, w.Logits[0])
				}
			}
		}
		if g.Dropout != nil {
			add("model_dropout_switch.onnx", g.Dropout.X, g.Dropout.Y)
			add("model_dropout_random.onnx", g.Dropout.X, g.Dropout.Y)
		}
	}
	return out
}

// run runs a model once on a provider; the first output is returned.
func run(t testing.TB, m *onnx.Model, provider string, outShape []int, xs ...testkit.NPY) []float32 {
	t.Helper()
	sess, err := orttest.Runtime(t).NewSession(m.Bytes(), ort.SessionOptions{Device: provider})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sess.Close() }()
	var in []ort.Tensor
	for _, x := range xs {
		in = append(in, ort.Tensor{Shape: int64s(x.Shape), Data: x.F32(t)})
	}
	out := []ort.Tensor{tensor(int64s(outShape))}
	for _, o := range sess.Outputs()[1:] {
		out = append(out, tensor(o.Shape))
	}
	if err := sess.Run(t.Context(), in, out); err != nil {
		t.Fatal(err)
	}
	return out[0].Data
}

func tensor(shape []int64) ort.Tensor {
	n := int64(1)
	for _, s := range shape {
		n *= s
	}
	return ort.Tensor{Shape: shape, Data: make([]float32, n)}
}

func int64s(shape []int) []int64 {
	out := make([]int64, len(shape))
	for i, s := range shape {
		out[i] = int64(s)
	}
	return out
}

// off is the largest difference over max(1, max|want|).
func off(t testing.TB, got, want []float32) float64 {
	t.Helper()
	top := 1.0
	for _, v := range want {
		top = max(top, math.Abs(float64(v)))
	}
	return testkit.MaxDiff(t, got, want) / top
}

func prepare(t testing.TB, m *onnx.Model, provider string) (*onnx.Model, map[string]int) {
	t.Helper()
	p, applied, err := onnx.Prepare(m, onnx.PrepareOptions{Provider: provider})
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, a := range applied {
		count[a.Rule] += a.Count
	}
	return p, count
}

func TestPreparedNetworksMatchTheirGoldens(t *testing.T) {
	for _, f := range forwards(t) {
		t.Run(f.name, func(t *testing.T) {
			x, y := testkit.ReadNPY(t, f.x), testkit.ReadNPY(t, f.y)
			for _, provider := range []string{ort.CPU, ort.OpenVINO} {
				for _, fixed := range []bool{false, true} {
					m := parse(t, f.model)
					if fixed {
						if err := m.FixShape(m.Inputs()[0].Name, int64s(x.Shape)); err != nil {
							t.Fatal(err)
						}
					}
					p, count := prepare(t, m, provider)
					e := off(t, run(t, p, provider, y.Shape, x), y.F32(t))
					var e0 float64
					if os.Getenv("B2") != "" {
						e0 = off(t, run(t, m, provider, y.Shape, x), y.F32(t))
					}
					t.Logf("%s fixed %v: %.1e untouched %.1e; %v", provider, fixed, e, e0, count)
					if e > goldenTolerance[provider] {
						t.Errorf("%s, fixed shape %v: off by %.2g, more than %g", provider, fixed, e, goldenTolerance[provider])
					}
				}
			}
		})
	}
}
