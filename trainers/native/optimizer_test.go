package native

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/testkit"
)

// descent feeds gradients to the graph of an optimizer, which is that of
// Options.Accumulate.
type descent struct {
	o       Options
	session *ort.Session
	step    int
	scale   float32
	values  map[string][]float32 // by the graph's names
}

func newDescent(t *testing.T, o Options, p0 []float32) *descent {
	t.Helper()
	o.Shape = []int64{1, 1, 1}
	o, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{network: &network{model: onnx.NewModel(stepOpset)}, options: o, g: newGraph(stepOpset, (&onnx.Graph{}).Names())}
	m := b.optimizer(&Program{parameters: []Parameter{{Name: "p", Shape: []int64{int64(len(p0))}}}})
	if b.g.err != nil {
		t.Fatal(b.g.err)
	}
	d := &descent{o: o, scale: 1, values: map[string][]float32{}}
	if d.session, err = orttest.Runtime(t).NewSession(m.Bytes(), ort.SessionOptions{Device: ort.CPU, Threads: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.session.Close() })
	for _, in := range d.session.Inputs() {
		d.values[in.Name] = make([]float32, size(in.Shape))
	}
	copy(d.values[vecWeights], p0)
	return d
}

// next makes a step with a gradient, which may be scaled, and returns the
// gradient's L2 norm; the step counts when the norm is finite.
func (d *descent) next(t *testing.T, grad []float32, pace Pace) float64 {
	t.Helper()
	copy(d.values[inTotal], grad)
	copy(d.values[inFactors], d.o.Optimizer.factors(d.step+1, pace))
	if v := d.values[inScale]; v != nil {
		v[0] = d.scale
	}
	var in, out []ort.Tensor
	for _, i := range d.session.Inputs() {
		in = append(in, ort.Tensor{Shape: i.Shape, Data: d.values[i.Name]})
	}
	result := map[string][]float32{}
	for _, o := range d.session.Outputs() {
		result[o.Name] = make([]float32, size(o.Shape))
		out = append(out, ort.Tensor{Shape: o.Shape, Data: result[o.Name]})
	}
	if err := d.session.Run(t.Context(), in, out); err != nil {
		t.Fatal(err)
	}
	norm := float64(result[outNorm][0])
	if !finite(norm) {
		return norm
	}
	for name, v := range result {
		if state, ok := cutSuffix(name); ok {
			d.values[state] = v
		}
	}
	d.step++
	return norm
}

func (d *descent) parameters() []float32 { return slices.Clone(d.values[vecWeights]) }

// descend makes a step per row of gradients and returns the parameters after
// each.
func descend(t *testing.T, o Options, rate func(step int) float64, p0 []float32, grads [][]float32) [][]float32 {
	t.Helper()
	d := newDescent(t, o, p0)
	var path [][]float32
	for i, row := range grads {
		d.next(t, row, Pace{Rate: rate(i)})
		path = append(path, d.parameters())
	}
	return path
}

func rows(t *testing.T, a testkit.NPY) [][]float32 {
	t.Helper()
	return slices.Collect(slices.Chunk(a.F32(t), a.Shape[1]))
}

// settings are the reference's parameters of an optimizer.
type settings struct {
	LR        float64
	Momentum  float64
	Dampening float64
	Decay     float64 `json:"weight_decay"`
	Nesterov  bool
	Betas     []float64
	Alpha     float64
	Eps       float64
	AMSGrad   bool
}

func (s settings) optimizer(name string) Optimizer {
	adam := Adam{Eps: s.Eps, Decay: s.Decay, AMSGrad: s.AMSGrad}
	if len(s.Betas) == 2 {
		adam.Beta1, adam.Beta2 = s.Betas[0], s.Betas[1]
	}
	switch name {
	case "sgd":
		return SGD{Momentum: s.Momentum, Nesterov: s.Nesterov, Dampening: s.Dampening, Decay: s.Decay}
	case "rmsprop":
		return RMSprop{Alpha: s.Alpha, Momentum: s.Momentum, Eps: s.Eps, Decay: s.Decay}
	case "radam":
		return RAdam{Beta1: adam.Beta1, Beta2: adam.Beta2, Eps: s.Eps, Decay: s.Decay}
	case "nadam":
		return NAdam{Beta1: adam.Beta1, Beta2: adam.Beta2, Eps: s.Eps, Decay: s.Decay}
	case "adamw":
		adam.Decoupled = true
	}
	return adam
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
			if kinds[c.Name] == "" {
				t.Fatal("no optimizer of this name")
			}
			o := c.Defaults.optimizer(kinds[c.Name])
			p0 := testkit.ReadNPY(t, filepath.Join(root, c.P0)).F32(t)
			path := descend(t, Options{Optimizer: o}, Constant(c.Defaults.LR).Rate, p0, rows(t, testkit.ReadNPY(t, filepath.Join(root, c.Grads))))
			want := rows(t, testkit.ReadNPY(t, filepath.Join(root, c.After)))
			if len(path) != len(want) {
				t.Fatalf("%d steps instead of %d", len(path), len(want))
			}
			worst := 0.0
			for i := range want {
				worst = max(worst, relative(path[i], wide(want[i])))
			}
			if t.Logf("off by %.1e", worst); !(worst <= 1e-5) {
				t.Errorf("off by %.1e", worst)
			}
		})
	}
}

// TestClippedGradient: the direction stays, the norm becomes the bound; bounds
// of elements come first.
func TestClippedGradient(t *testing.T) {
	for _, c := range []struct {
		name       string
		o          Options
		grad, want []float32
	}{
		{"L2", Options{ClipNorm: 1}, []float32{3, 0, -4}, []float32{0.6, 0, -0.8}},
		{"below the bound", Options{ClipNorm: 1}, []float32{0.3, 0, -0.4}, []float32{0.3, 0, -0.4}},
		{"L1", Options{ClipNorm: 1, ClipKind: L1}, []float32{3, 0, -1}, []float32{0.75, 0, -0.25}},
		{"largest", Options{ClipNorm: 1, ClipKind: LMax}, []float32{2, 0, -4}, []float32{0.5, 0, -1}},
		{"elements", Options{ClipValue: 2}, []float32{3, 1, -4}, []float32{2, 1, -2}},
		{"elements, then L2", Options{ClipValue: 3, ClipNorm: 1}, []float32{3, 0, -9}, []float32{0.70710678, 0, -0.70710678}},
	} {
		c.o.Optimizer = SGD{}
		d := newDescent(t, c.o, make([]float32, 3))
		d.next(t, c.grad, Pace{Rate: -1})
		for i, got := range d.parameters() {
			if diff := math.Abs(float64(got - c.want[i])); diff > 2e-6 {
				t.Errorf("%s: element %d is %g instead of %g", c.name, i, got, c.want[i])
			}
		}
	}
}

// TestMomentumOfAStep: the pace's momentum takes the place of the optimizer's,
// and is refused where there is none.
func TestMomentumOfAStep(t *testing.T) {
	grads := [][]float32{{1, -2}, {0.5, 3}, {-1, 1}}
	for _, c := range []struct{ own, other Optimizer }{
		{SGD{Momentum: 0.5}, SGD{Momentum: 0.9}},
		{SGD{Momentum: 0.5, Nesterov: true}, SGD{Momentum: 0.9, Nesterov: true}},
		{RMSprop{Momentum: 0.5}, RMSprop{Momentum: 0.9}},
		{Adam{Beta1: 0.5}, Adam{}},
		{RAdam{Beta1: 0.5}, RAdam{}},
	} {
		a, b := newDescent(t, Options{Optimizer: c.own}, make([]float32, 2)), newDescent(t, Options{Optimizer: c.other}, make([]float32, 2))
		plain := newDescent(t, Options{Optimizer: c.own}, make([]float32, 2))
		for _, row := range grads {
			a.next(t, row, Pace{Rate: 0.1, Momentum: 0.9})
			b.next(t, row, Pace{Rate: 0.1})
			plain.next(t, row, Pace{Rate: 0.1})
		}
		if !slices.Equal(a.parameters(), b.parameters()) || slices.Equal(a.parameters(), plain.parameters()) {
			t.Errorf("%+v: %v with the pace's momentum, %v with %+v, %v without", c.own, a.parameters(), b.parameters(), c.other, plain.parameters())
		}
	}
	for _, o := range []Optimizer{SGD{}, NAdam{}, RMSprop{}} {
		if err := checkPace(o, Pace{Rate: 1, Momentum: 0.9}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%T with momentum: %v", o, err)
		}
	}
	if err := checkPace(Adam{}, Pace{Rate: 1, Momentum: 1}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("momentum 1: %v", err)
	}
}

// TestDecayOfVariants: decay by the gradient and decoupled decay are what they
// are in Adam.
func TestDecayOfVariants(t *testing.T) {
	p0, grad, rate := []float32{2, -1}, []float32{0.5, 0.25}, 0.1
	for _, c := range []struct{ coupled, decoupled, plain Optimizer }{
		{RAdam{Decay: 0.2}, RAdam{Decay: 0.2, Decoupled: true}, RAdam{}},
		{NAdam{Decay: 0.2}, NAdam{Decay: 0.2, Decoupled: true}, NAdam{}},
	} {
		step := func(o Optimizer, p0, grad []float32) []float32 {
			d := newDescent(t, Options{Optimizer: o}, p0)
			d.next(t, grad, Pace{Rate: rate})
			return d.parameters()
		}
		added := []float32{grad[0] + 0.2*p0[0], grad[1] + 0.2*p0[1]}
		shrunk := []float32{p0[0] * 0.98, p0[1] * 0.98}
		for i, want := range step(c.plain, p0, added) {
			if got := step(c.coupled, p0, grad)[i]; math.Abs(float64(got-want)) > 1e-6 {
				t.Errorf("%T: decay by the gradient gives %g instead of %g", c.plain, got, want)
			}
		}
		for i, want := range step(c.plain, shrunk, grad) {
			if got := step(c.decoupled, p0, grad)[i]; math.Abs(float64(got-want)) > 1e-6 {
				t.Errorf("%T: decoupled decay gives %g instead of %g", c.plain, got, want)
			}
		}
	}
}

// Settings that make no sense are refused before anything is compiled.
func TestOptimizersRefuseBadSettings(t *testing.T) {
	for i, c := range []struct {
		o    Options
		says string
	}{
		{Options{Optimizer: SGD{Momentum: 1}}, "momentum"},
		{Options{Optimizer: SGD{Nesterov: true}}, "Nesterov"},
		{Options{Optimizer: SGD{Dampening: 0.5}}, "dampening"},
		{Options{Optimizer: SGD{Momentum: 0.9, Nesterov: true, Dampening: 0.5}}, "dampening"},
		{Options{Optimizer: Adam{Beta2: 1}}, "betas"},
		{Options{Optimizer: RMSprop{Alpha: 1}}, "alpha"},
		{Options{Optimizer: RMSprop{Momentum: -1}}, "momentum"},
		{Options{Optimizer: RAdam{Beta1: -1}}, "betas"},
		{Options{Optimizer: NAdam{Warming: -1}}, "warming"},
		{Options{Optimizer: NAdam{Decay: -1}}, "decay"},
		{Options{ClipNorm: math.NaN()}, "norm"},
		{Options{ClipValue: -1}, "elements"},
		{Options{ClipKind: 3}, "norm 3"},
		{Options{Accumulate: -1}, "batches"},
		{Options{Average: Averaging{Decay: 1}}, "average"},
		{Options{Scaling: Scaling{Initial: -1}}, "scale"},
		{Options{Scaling: Scaling{Initial: 1, Growth: 0.5}}, "growth"},
	} {
		c.o.Shape = []int64{1, 1, 1}
		_, err := c.o.withDefaults()
		if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%d: %v", i, err)
		}
	}
}
