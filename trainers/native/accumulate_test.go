package native

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
)

var singleShape = []int64{1, 1, 8, 6}

// withBatchNorm is the tiny network with batch normalisation.
func withBatchNorm() *onnx.Model {
	m := tiny()
	m.AddInitializer(onnx.NewFloat32("norm.mean", []int64{4}, []float32{0.1, -0.1, 0, 0.2}))
	m.AddInitializer(onnx.NewFloat32("norm.var", []int64{4}, []float32{1, 0.5, 2, 1}))
	n := m.Graph.Nodes[1]
	n.Op, n.Inputs = "BatchNormalization", append(n.Inputs, "norm.mean", "norm.var")
	return m
}

// sameWay compares five steps of the tiny network, computed whole and in parts.
func sameWay(t *testing.T, l Loss, whole, parts *Step) {
	t.Helper()
	for range 5 {
		a, b := steps(t, whole, 1), steps(t, parts, 1)
		if math.Abs(a-b) > 1e-6 {
			t.Errorf("%T: loss %g instead of %g", l, b, a)
		}
		if a, b := whole.GradientNorm(), parts.GradientNorm(); math.Abs(a-b) > 1e-5*a {
			t.Errorf("%T: gradient norm %g instead of %g", l, b, a)
		}
	}
	start := open(t, tiny(), Options{}).State().Vectors[vecWeights]
	a, b := whole.State().Vectors[vecWeights], parts.State().Vectors[vecWeights]
	if way := change(a, start); !(change(a, b) <= 1e-4*way) || way == 0 {
		t.Errorf("%T: %g apart after a way of %g", l, change(a, b), way)
	}
}

// TestAccumulatedBatchesAreOneLargeOne: losses that are means over samples give
// the same step from two batches of one as from one batch of two.
func TestAccumulatedBatchesAreOneLargeOne(t *testing.T) {
	for _, o := range []Options{
		{},
		{Loss: Combined{{1, Dice{NoBackground: true}}, {2, Focal{Gamma: 2}}}, Optimizer: SGD{Momentum: 0.9, Nesterov: true}},
		{Loss: Tversky{Alpha: 0.3, Beta: 0.7}, Optimizer: RAdam{}, ClipNorm: 1e-2},
		{Loss: GeneralizedDice{}, Optimizer: SGD{}, ClipValue: 1e-3},
	} {
		one := open(t, tiny(), o)
		o.Shape, o.Accumulate, o.Gradients = singleShape, 2, true
		two := open(t, tiny(), o)
		sameWay(t, o.Loss, one, two)
		if g, err := two.Gradient("last.bias"); err != nil || len(g) != 3 {
			t.Errorf("gradient %v, %v", g, err)
		}
	}
}

// The exceptions that Options.Accumulate names are real ones.
func TestAccumulationHasExceptions(t *testing.T) {
	for _, l := range []Loss{Dice{Batch: true}, TopK{}, CrossEntropy{Weights: []float64{1, 2, 3}}} {
		x, labels := batch()
		for i := range labels[:40] { // the samples differ in what they hold
			labels[i] = 2
		}
		one, err := open(t, tiny(), Options{Loss: l}).Run(t.Context(), x, labels, 0)
		if err != nil {
			t.Fatal(err)
		}
		two, err := open(t, tiny(), Options{Loss: l, Shape: singleShape, Accumulate: 2}).Run(t.Context(), x, labels, 0)
		if err != nil || math.Abs(one-two) < 1e-4 {
			t.Errorf("%T: %g at once and %g in two batches, %v", l, one, two, err)
		}
	}
}

// TestAccumulationAndStatistics: running statistics follow every batch, and go
// back when the step does not come about.
func TestAccumulationAndStatistics(t *testing.T) {
	o := Options{Shape: singleShape, BatchStatistics: true, Optimizer: SGD{}, Average: Averaging{Decay: 0.5}}
	x, labels := batch()
	half := len(x) / 2
	single := open(t, withBatchNorm(), o)
	for i := range 2 {
		if _, err := single.Run(t.Context(), x[i*half:(i+1)*half], labels[i*half:(i+1)*half], 0); err != nil {
			t.Fatal(err)
		}
	}
	o.Accumulate = 2
	two := open(t, withBatchNorm(), o)
	before := two.State()
	bad := slices.Clone(x)
	bad[half+3] = float32(math.NaN())
	if _, err := two.Run(t.Context(), bad, labels, 0.1); !errors.Is(err, ErrNotFinite) {
		t.Fatalf("NaN in the second batch: %v", err)
	}
	for name, v := range two.State().Vectors {
		if !slices.Equal(v, before.Vectors[name]) {
			t.Errorf("%s changed in a step that did not come about", name)
		}
	}
	if _, err := two.Run(t.Context(), x, labels, 0); err != nil {
		t.Fatal(err)
	}
	a, b := single.State().Vectors[vecStats], two.State().Vectors[vecStats]
	if !slices.Equal(a, b) || slices.Equal(a, before.Vectors[vecStats]) {
		t.Errorf("statistics %v instead of %v", b, a)
	}
	if _, err := two.Run(t.Context(), x[:half], labels[:half], 0); err == nil {
		t.Error("half of the batches are accepted")
	}
}

// TestAverageOfAStep: the averaged network is the average of what the steps
// gave, statistics included, also across a checkpoint.
func TestAverageOfAStep(t *testing.T) {
	average := Averaging{Decay: 0.9, WarmUp: true}
	o := Options{BatchStatistics: true, Average: average}
	s := open(t, withBatchNorm(), o)
	want := map[string][]float64{vecWeights: wide(s.State().Vectors[vecWeights]), vecStats: wide(s.State().Vectors[vecStats])}
	for i := range 6 {
		steps(t, s, 1)
		st := s.State()
		d := average.decay(i + 1)
		for name, w := range want {
			for k, v := range st.Vectors[name] {
				w[k] = d*w[k] + (1-d)*float64(v)
			}
		}
		if i == 3 { // goes on in another process
			s = open(t, withBatchNorm(), o)
			if err := s.SetState(st); err != nil {
				t.Fatal(err)
			}
		}
	}
	st := s.State()
	averaged, ok := Averaged(st)
	if !ok {
		t.Fatal("no average")
	}
	for name, w := range want {
		if d := relative(averaged.Vectors[name], w); !(d < 1e-6) {
			t.Errorf("%s is off by %g", name, d)
		}
		if d := relative(st.Vectors[name], w); d < 1e-4 {
			t.Errorf("%s is its own average", name)
		}
	}
	fromState, err := s.program.Model(averaged)
	if err != nil {
		t.Fatal(err)
	}
	direct, ok := s.AveragedModel()
	if !ok || direct.Hash() != fromState.Hash() || direct.Hash() == s.Model().Hash() {
		t.Errorf("the averaged model is not that of the averaged state, or that without average: %v", ok)
	}
	now, err := s.program.Model(st)
	if err != nil || now.Hash() != s.Model().Hash() {
		t.Errorf("the model of the present state is another one, %v", err)
	}
	if _, err := s.program.Model(State{}); err == nil {
		t.Error("an empty state gives a model")
	}
	plain := open(t, tiny(), Options{})
	if _, ok := plain.AveragedModel(); ok {
		t.Error("an average that nobody keeps")
	}
	if _, ok := Averaged(plain.State()); ok {
		t.Error("a state without an average gives one")
	}
}

// TestScaledLoss: a scale that is a power of 2 changes no bit; one at which
// gradients overflow skips the step and falls.
func TestScaledLoss(t *testing.T) {
	for _, parts := range []int{1, 2} {
		o := Options{Accumulate: parts, ClipNorm: 1}
		if parts == 2 {
			o.Shape = singleShape
		}
		plain := open(t, tiny(), o)
		o.Scaling = Scaling{Initial: 1024, Interval: 3}
		scaled := open(t, tiny(), o)
		if a, b := steps(t, plain, 7), steps(t, scaled, 7); a != b {
			t.Errorf("%d: loss %g instead of %g", parts, b, a)
		}
		a, b := plain.State().Vectors, scaled.State().Vectors
		for name, v := range a {
			if !slices.Equal(v, b[name]) {
				t.Errorf("%d: %s differs", parts, name)
			}
		}
		if !slices.Equal(b[vecScaling], []float32{4096, 1}) { // grown after 3 and 6 steps
			t.Errorf("%d: scale and count %v", parts, b[vecScaling])
		}
		o.Scaling = Scaling{Initial: math.Ldexp(1, 127), Backoff: 1. / (1 << 30)}
		high := open(t, tiny(), o)
		start := high.State().Vectors
		x, labels := batch()
		for i := range labels { // far from the truth: gradients near 1
			x[i], labels[i] = 1e3*x[i], 2
		}
		skipped := 0
		for range 6 {
			_, err := high.Run(t.Context(), x, labels, 0.01)
			if !errors.Is(err, ErrOverflow) {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			skipped++
			if now := high.State().Vectors; !slices.Equal(now[vecWeights], start[vecWeights]) || now[vecScaling][0] >= start[vecScaling][0] {
				t.Errorf("%d: an overflow changed the weights, or left the scale at %g", parts, now[vecScaling][0])
			}
		}
		if skipped == 0 || high.Done() != 1 {
			t.Errorf("%d: %d steps skipped, %d made", parts, skipped, high.Done())
		}
	}
}

// TestResumeWithEverything: a state holds all that the next steps depend on.
func TestResumeWithEverything(t *testing.T) {
	o := Options{
		Shape: singleShape, Accumulate: 2, BatchStatistics: true, Optimizer: NAdam{},
		Average: Averaging{Decay: 0.99}, Scaling: Scaling{Initial: 64, Interval: 4},
	}
	whole := open(t, withBatchNorm(), o)
	steps(t, whole, 9)
	part := open(t, withBatchNorm(), o)
	steps(t, part, 3)
	rest := open(t, withBatchNorm(), o)
	if err := rest.SetState(part.State()); err != nil {
		t.Fatal(err)
	}
	steps(t, rest, 6)
	a, b := whole.State().Vectors, rest.State().Vectors
	if len(a) != 7 { // parameters, statistics, two moments, two averages, scaling
		t.Errorf("%d vectors in the state", len(a))
	}
	for name, v := range a {
		if !slices.Equal(v, b[name]) {
			t.Errorf("%s differs after resuming", name)
		}
	}
}
