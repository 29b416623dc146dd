package native

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/testkit"
)

// descend applies an optimizer to a row of gradients per step and returns the
// parameters after each.
func descend(t *testing.T, o Optimizer, clip float64, rate func(step int) float64, p0 []float32, grads [][]float32) [][]float32 {
	t.Helper()
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	n := int64(len(p0))
	g := newGraph(stepOpset, (&onnx.Graph{}).Names())
	g.taping = false
	m := onnx.NewModel(g.opset)
	var in []ort.Tensor
	input := func(name string, size int64, data []float32) string {
		g.info[name] = floats([]int64{size})
		m.AddInput(name, onnx.Float32, size)
		in = append(in, ort.Tensor{Shape: []int64{size}, Data: data})
		return name
	}
	p := append([]float32{}, p0...)
	grad, factors := make([]float32, n), make([]float32, len(o.factors(1, Pace{Rate: 1})))
	input("p", n, p)
	d := input("g", n, grad)
	input("f", int64(len(factors)), factors)
	var names []string
	var state [][]float32
	for i := range o.moments() {
		state = append(state, make([]float32, n))
		names = append(names, input(fmt.Sprint("m", i), n, state[i]))
	}
	ones := make([]int64, len(factors))
	for i := range ones {
		ones[i] = 1
	}
	scalars := g.split("f", ones)
	if clip > 0 {
		d = g.clipped(d, g.norm(L2, d), clip)
	}
	next, after := o.update(g, "p", d, names, scalars)
	var out []ort.Tensor
	for i, v := range append([]string{next}, after...) {
		name := fmt.Sprint("out", i)
		g.nodes = append(g.nodes, &onnx.Node{Op: "Identity", Inputs: []string{v}, Outputs: []string{name}})
		m.AddOutput(name, onnx.Float32, n)
		out = append(out, ort.Tensor{Shape: []int64{n}, Data: make([]float32, n)})
	}
	if g.err != nil {
		t.Fatal(g.err)
	}
	m.Graph.Nodes, m.Graph.Initializers = g.nodes, g.inits
	s, err := orttest.Runtime(t).NewSession(m.Bytes(), ort.SessionOptions{Device: ort.CPU, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var path [][]float32
	for i, row := range grads {
		copy(grad, row)
		copy(factors, o.factors(i+1, Pace{Rate: rate(i)}))
		if err := s.Run(t.Context(), in, out); err != nil {
			t.Fatal(err)
		}
		copy(p, out[0].Data)
		for k := range state {
			copy(state[k], out[1+k].Data)
		}
		path = append(path, append([]float32{}, p...))
	}
	return path
}

func constantRate(r float64) func(int) float64 { return func(int) float64 { return r } }

func rows(t *testing.T, a testkit.NPY) [][]float32 {
	t.Helper()
	v := a.F32(t)
	width := len(v) / a.Shape[0]
	var out [][]float32
	for i := range a.Shape[0] {
		out = append(out, v[i*width:(i+1)*width])
	}
	return out
}

// settings are the reference's parameters of an optimizer.
type settings struct {
	LR       float64
	Momentum float64
	Decay    float64 `json:"weight_decay"`
	Nesterov bool
	Betas    []float64
	Eps      float64
	AMSGrad  bool
}

func (s settings) optimizer(name string) Optimizer {
	adam := Adam{Eps: s.Eps, Decay: s.Decay, AMSGrad: s.AMSGrad}
	if len(s.Betas) == 2 {
		adam.Beta1, adam.Beta2 = s.Betas[0], s.Betas[1]
	}
	switch name {
	case "sgd":
		return SGD{Momentum: s.Momentum, Nesterov: s.Nesterov, Decay: s.Decay}
	case "adam":
		return adam
	case "adamw":
		adam.Decoupled = true
		return adam
	}
	return nil
}

// TestNetworkOptimizers: golden/networks/ops/optim, 1e-5 relative per step.
func TestNetworkOptimizers(t *testing.T) {
	root := testkit.Shared(t, "golden", "networks", "ops")
	var cases []struct {
		Name, P0, Grads string
		After           string `json:"p_after_each_step"`
		Defaults        settings
	}
	readJSON(t, filepath.Join(root, "optim", "optim.json"), &cases)
	kinds := map[string]string{
		"sgd": "sgd", "sgd_nesterov": "sgd", "sgd_momentum_wd": "sgd", "adam": "adam", "adam_wd_l2": "adam", "adamw": "adamw", "adamw_wd": "adamw",
	}
	if len(cases) != len(kinds) {
		t.Fatalf("%d cases instead of %d", len(cases), len(kinds))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			o := c.Defaults.optimizer(kinds[c.Name])
			p0 := testkit.ReadNPY(t, filepath.Join(root, c.P0)).F32(t)
			path := descend(t, o, 0, constantRate(c.Defaults.LR), p0, rows(t, testkit.ReadNPY(t, filepath.Join(root, c.Grads))))
			want := rows(t, testkit.ReadNPY(t, filepath.Join(root, c.After)))
			if len(path) != len(want) {
				t.Fatalf("%d steps instead of %d", len(path), len(want))
			}
			for i := range want {
				var w []float64
				for _, v := range want[i] {
					w = append(w, float64(v))
				}
				if e := relative(path[i], w); !(e <= 1e-5) {
					t.Errorf("step %d is off by %.1e", i+1, e)
				}
			}
		})
	}
}

// TestClippedGradient: the direction stays, the norm becomes the bound.
func TestClippedGradient(t *testing.T) {
	grad := []float32{3, 0, -4}
	path := descend(t, SGD{}, 1, constantRate(1), make([]float32, 3), [][]float32{grad, {0.3, 0, -0.4}})
	for i, want := range []float64{-0.6, 0, 0.8} {
		if d := math.Abs(float64(path[0][i]) - want); d > 1e-6 {
			t.Errorf("clipped[%d] = %g instead of %g", i, path[0][i], want)
		}
	}
	for i, want := range []float64{-0.9, 0, 1.2} { // below the bound: unchanged
		if d := math.Abs(float64(path[1][i]) - want); d > 1e-6 {
			t.Errorf("unclipped[%d] = %g instead of %g", i, path[1][i], want)
		}
	}
}

// TestReferenceOptimizers: the trajectories of golden/numerics/optimizers at
// the tolerance of each case.
func TestReferenceOptimizers(t *testing.T) {
	root := testkit.Shared(t, "golden", "numerics", "optimizers")
	type file struct {
		File  string
		Value json.RawMessage
	}
	var all struct {
		Cases []struct {
			Name, Operation string
			Parameters      struct {
				settings
				Dampening float64
				MaxNorm   float64 `json:"max_norm"`
			}
			Inputs, Expected map[string]file
			Tolerance        struct{ Atol, Rtol float64 }
		}
	}
	readJSON(t, filepath.Join(root, "cases.json"), &all)
	kinds := map[string]string{
		"torch.optim.AdamW": "adamw", "torch.optim.Adam": "adam", "torch.optim.SGD": "sgd",
		"AdamW + clip_grad_norm_(1.0) + PolynomialLR(30, 0.9)": "adamw",
	}
	checked := 0
	for _, c := range all.Cases {
		kind := kinds[c.Operation]
		if kind == "" || c.Parameters.Dampening != 0 {
			continue
		}
		checked++
		t.Run(c.Name, func(t *testing.T) {
			read := func(f file) testkit.NPY { return testkit.ReadNPY(t, filepath.Join(root, f.File)) }
			rate := constantRate(c.Parameters.LR)
			if f := c.Expected["learning_rates"]; f.Value != nil {
				var list []float64
				if err := json.Unmarshal(f.Value, &list); err != nil {
					t.Fatal(err)
				}
				rate = func(step int) float64 { return list[step] }
			}
			o := c.Parameters.optimizer(kind)
			path := descend(t, o, c.Parameters.MaxNorm, rate, read(c.Inputs["parameters"]).F32(t), rows(t, read(c.Inputs["gradients"])))
			for i, want := range rows(t, read(c.Expected["parameters_after_each_step"])) {
				for k, w := range want {
					if d := math.Abs(float64(path[i][k] - w)); !(d <= c.Tolerance.Atol+c.Tolerance.Rtol*math.Abs(float64(w))) {
						t.Fatalf("step %d: parameter %d is %g instead of %g", i+1, k, path[i][k], w)
					}
				}
			}
		})
	}
	if checked < 11 {
		t.Errorf("only %d cases were checked", checked)
	}
}
