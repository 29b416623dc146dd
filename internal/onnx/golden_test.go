package onnx_test

import (
	"encoding/json"
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
		raw, err := os.ReadFile(f)
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
	sess := session(t, m, provider)
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

// session opens a model for the length of the test, which is skipped where
// the provider does not load.
func session(t testing.TB, m *onnx.Model, provider string) *ort.Session {
	t.Helper()
	rt := orttest.Runtime(t)
	if err := rt.ProviderError(provider); err != nil {
		testkit.SkipOrFail(t, err.Error())
	}
	sess, err := rt.NewSession(m.Bytes(), ort.SessionOptions{Device: provider})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sess.Close() })
	return sess
}

// tensor returns zeros.
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

// prepare prepares m and counts what each rule replaced.
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

// With free axes only the CPU provider is compared: the product fixes the
// window's shape, and ONNX Runtime 1.24's OpenVINO provider refuses SwinUNETR
// otherwise, prepared or not.
func TestPreparedNetworksMatchTheirGoldens(t *testing.T) {
	for _, f := range forwards(t) {
		t.Run(f.name, func(t *testing.T) {
			x, y := testkit.ReadNPY(t, f.x), testkit.ReadNPY(t, f.y)
			want := y.F32(t)
			for _, c := range []struct {
				provider string
				fixed    bool
			}{{ort.CPU, false}, {ort.CPU, true}, {ort.OpenVINO, true}} {
				m := parse(t, f.model)
				if c.fixed {
					if err := m.FixShape(m.Inputs()[0].Name, int64s(x.Shape)); err != nil {
						t.Fatal(err)
					}
				}
				p, _ := prepare(t, m, c.provider)
				d := onnx.Compare(run(t, p, c.provider, y.Shape, x), want, 1)
				if !(d.MaxRel <= goldenTolerance[c.provider]) {
					t.Errorf("%s, fixed shape %v: off by %.2g, more than %g", c.provider, c.fixed, d.MaxRel, goldenTolerance[c.provider])
				}
			}
		})
	}
}
