package native

import (
	"context"
	"errors"
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

// tiny returns a network of two convolutions, an instance normalisation and a
// ReLU on one channel, three classes.
func tiny() *onnx.Model {
	m := onnx.NewModel(17)
	m.AddInput("x", onnx.Float32, -1, 1, -1, -1)
	m.AddOutput("y", onnx.Float32, -1, 3, -1, -1)
	weights := func(name string, dims ...int64) {
		v := make([]float32, size(dims))
		for i := range v {
			v[i] = float32(math.Sin(float64(7*i+len(name)))) / 3
		}
		m.AddInitializer(onnx.NewFloat32(name, dims, v))
	}
	weights("first.weight", 4, 1, 3, 3)
	weights("norm.weight", 4)
	weights("norm.bias", 4)
	weights("last.weight", 3, 4, 1, 1)
	weights("last.bias", 3)
	m.AddInitializer(onnx.NewFloat32("half", []int64{1}, []float32{0.5}))
	m.AddNode("Conv", []string{"x", "first.weight"}, []string{"a"}, onnx.IntsAttr("pads", 1, 1, 1, 1))
	m.AddNode("InstanceNormalization", []string{"a", "norm.weight", "norm.bias"}, []string{"b"})
	m.AddNode("Relu", []string{"b"}, []string{"c"})
	m.AddNode("Mul", []string{"c", "half"}, []string{"d"})
	m.AddNode("Conv", []string{"d", "last.weight", "last.bias"}, []string{"y"})
	return m
}

var tinyShape = []int64{2, 1, 8, 6}

// batch returns a disc to be found in a smooth image.
func batch() (x, labels []float32) {
	for n := range 2 {
		for i := range 8 {
			for j := range 6 {
				r := math.Hypot(float64(i-3-n), float64(j-2))
				x = append(x, float32(math.Exp(-r)))
				switch {
				case r < 1.5:
					labels = append(labels, 2)
				case r < 3:
					labels = append(labels, 1)
				default:
					labels = append(labels, 0)
				}
			}
		}
	}
	return x, labels
}

func open(t *testing.T, m *onnx.Model, o Options) *Step {
	t.Helper()
	if o.Shape == nil {
		o.Shape = tinyShape
	}
	p, err := Compile(m, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Open(orttest.Runtime(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func steps(t *testing.T, s *Step, n int) (loss float64) {
	t.Helper()
	x, labels := batch()
	for range n {
		var err error
		if loss, err = s.Run(t.Context(), x, labels, 0.02); err != nil {
			t.Fatal(err)
		}
	}
	return loss
}

func TestTrainingLearnsAndComesBackAsTheSameNetwork(t *testing.T) {
	m := tiny()
	before := m.Hash()
	s := open(t, m, Options{Gradients: true})
	first := steps(t, s, 1)
	last := steps(t, s, 200)
	if !(last < first/2) {
		t.Errorf("the loss went from %g to %g only", first, last)
	}
	if m.Hash() != before {
		t.Error("training changed the model that it was given")
	}
	// The trained file, run by itself, gives the logits of the next step.
	trained, err := onnx.Parse(s.Model().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	session, err := orttest.Runtime(t).NewSession(trained.Bytes(), ort.SessionOptions{Device: ort.CPU, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close() }()
	x, labels := batch()
	y := make([]float32, 2*3*8*6)
	if err := session.Run(t.Context(), []ort.Tensor{{Shape: tinyShape, Data: x}}, []ort.Tensor{{Shape: []int64{2, 3, 8, 6}, Data: y}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(t.Context(), x, labels, 0); err != nil {
		t.Fatal(err)
	}
	logits, _, err := s.Logits(0)
	if err != nil {
		t.Fatal(err)
	}
	if d := testkit.MaxDiff(t, logits, y); d > 1e-4 {
		t.Errorf("the trained file's logits are off by %g", d)
	}
}

func TestResumeIsBitEqual(t *testing.T) {
	for _, o := range []Optimizer{SGD{Momentum: 0.9, Nesterov: true}, AdamW(1e-4), Adam{AMSGrad: true}} {
		whole := open(t, tiny(), Options{Optimizer: o})
		steps(t, whole, 12)
		part := open(t, tiny(), Options{Optimizer: o})
		steps(t, part, 5)
		rest := open(t, tiny(), Options{Optimizer: o})
		if err := rest.SetState(part.State()); err != nil {
			t.Fatal(err)
		}
		steps(t, rest, 7)
		a, b := whole.State(), rest.State()
		if a.Done != 12 || b.Done != 12 {
			t.Errorf("%T: %d and %d steps instead of 12", o, a.Done, b.Done)
		}
		for name, v := range a.Vectors {
			if !slices.Equal(v, b.Vectors[name]) {
				t.Errorf("%T: %s differs after resuming", o, name)
			}
		}
		if err := rest.SetState(State{}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("an empty state: %v", err)
		}
	}
}

// A step that fails leaves everything as it was.
func TestFailedStepChangesNothing(t *testing.T) {
	s := open(t, tiny(), Options{})
	steps(t, s, 3)
	before := s.State()
	x, labels := batch()
	unchanged := func(what string) {
		t.Helper()
		after := s.State()
		if after.Done != before.Done {
			t.Errorf("%s counted as a step", what)
		}
		for name, v := range before.Vectors {
			if !slices.Equal(v, after.Vectors[name]) {
				t.Errorf("%s changed %s", what, name)
			}
		}
	}
	bad := slices.Clone(x)
	bad[5] = float32(math.NaN())
	if _, err := s.Run(t.Context(), bad, labels, 0.1); !errors.Is(err, ErrNotFinite) {
		t.Errorf("NaN voxel: %v", err)
	}
	unchanged("a NaN voxel")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Run(ctx, x, labels, 0.1); fault.KindOf(err) != fault.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	unchanged("a cancelled step")
	if _, err := s.Run(t.Context(), x[1:], labels, 0.1); fault.KindOf(err) != fault.Invalid {
		t.Errorf("short batch: %v", err)
	}
	unchanged("a short batch")
	if loss := steps(t, s, 1); math.IsNaN(loss) {
		t.Error("the step after a NaN is NaN, too")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Run(t.Context(), x, labels, 0.1); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("closed: %v", err)
	}
}

// A finite loss may have a gradient that is not: √x at 0.
func TestGradientThatIsNotFinite(t *testing.T) {
	m := tiny()
	m.Graph.Nodes[3].Inputs[0] = "root"
	m.AddNode("Sqrt", []string{"c"}, []string{"root"})
	s := open(t, m, Options{})
	before := s.State()
	x, labels := batch()
	loss, err := s.Run(t.Context(), x, labels, 0.1)
	if !errors.Is(err, ErrNotFinite) || math.IsNaN(loss) {
		t.Errorf("loss %g, %v", loss, err)
	}
	if after := s.State(); !slices.Equal(before.Vectors[vecWeights], after.Vectors[vecWeights]) {
		t.Error("the step changed the parameters")
	}
}

func TestGradientNorm(t *testing.T) {
	s := open(t, tiny(), Options{Gradients: true, ClipNorm: 1e-3, Optimizer: SGD{}})
	before := s.State().Vectors[vecWeights]
	steps(t, s, 1)
	var sum float64
	for _, p := range s.program.Parameters() {
		g, err := s.Gradient(p.Name)
		if err != nil {
			t.Fatal(err)
		}
		l2, _ := norm(g)
		sum += l2 * l2
	}
	if d := math.Abs(s.GradientNorm() - math.Sqrt(sum)); !(d < 1e-6) || sum == 0 {
		t.Errorf("norm %g instead of %g", s.GradientNorm(), math.Sqrt(sum))
	}
	// One step of SGD moves by rate · clipped norm.
	if d := change(s.State().Vectors[vecWeights], before); math.Abs(d-0.02*1e-3) > 1e-7 {
		t.Errorf("moved by %g instead of 2e-5", d)
	}
}

func TestFrozenParametersAndConstantsStay(t *testing.T) {
	m := tiny()
	s := open(t, m, Options{Frozen: []string{"first.*", "norm.bias"}})
	var names []string
	for _, p := range s.program.Parameters() {
		names = append(names, p.Name)
	}
	if want := []string{"norm.weight", "last.weight", "last.bias"}; !slices.Equal(names, want) {
		t.Errorf("trains %v instead of %v", names, want)
	}
	steps(t, s, 5)
	out := s.Model()
	for _, in := range m.Graph.Initializers {
		a, err := in.Float32()
		if err != nil {
			t.Fatal(err)
		}
		b, err := out.Graph.Initializer(in.Name).Float32()
		if err != nil {
			t.Fatal(err)
		}
		if same := slices.Equal(a, b); same == slices.Contains(names, in.Name) {
			t.Errorf("%s: unchanged is %v", in.Name, same)
		}
	}
}

// Ignored voxels have no influence: whatever the image's label there, the loss
// of the others is the same.
func TestIgnoredLabel(t *testing.T) {
	x, labels := batch()
	full := slices.Clone(labels)
	for i := range labels {
		if i%5 == 0 {
			labels[i] = 9
		}
	}
	s := open(t, tiny(), Options{IgnoreLabel: 9})
	some, err := s.Run(t.Context(), x, labels, 0)
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.Run(t.Context(), x, full, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range labels {
		labels[i] = 9
	}
	none, err := s.Run(t.Context(), x, labels, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	if some == all || math.IsNaN(none) {
		t.Errorf("losses %g of some, %g of all, %g of no voxels", some, all, none)
	}
}

func TestCompileRefuses(t *testing.T) {
	change := func(f func(m *onnx.Model)) *onnx.Model {
		m := tiny()
		f(m)
		return m
	}
	swap := func(op string, attrs ...*onnx.Attr) func(m *onnx.Model) {
		return func(m *onnx.Model) {
			n := m.Graph.Nodes[2]
			n.Op, n.Name, n.Attrs = op, "the/node", attrs
		}
	}
	ok := Options{Shape: tinyShape}
	for name, c := range map[string]struct {
		model *onnx.Model
		o     Options
		says  []string
	}{
		"unknown operator":  {change(swap("Hardmax")), ok, []string{"Hardmax", "the/node", "no rule"}},
		"other domain":      {change(func(m *onnx.Model) { m.Graph.Nodes[2].Domain = "com.example" }), ok, []string{"Relu", "no rule"}},
		"no gradient":       {change(func(m *onnx.Model) { m.Graph.Nodes[2].Op, m.Graph.Nodes[2].Inputs = "Mod", []string{"b", "half"} }), ok, []string{"Mod", "no gradient"}},
		"old operator set":  {change(func(m *onnx.Model) { m.Opsets[0].Version = 11 }), ok, []string{"operator set is 11"}},
		"frozen by nothing": {tiny(), Options{Shape: tinyShape, Frozen: []string{"nowhere.*"}}, []string{"nowhere.*"}},
		"all frozen":        {tiny(), Options{Shape: tinyShape, Frozen: []string{"*"}}, []string{"none of its parameters"}},
		"broken pattern":    {tiny(), Options{Shape: tinyShape, Frozen: []string{"["}}, []string{"cannot be read"}},
		"wrong rank":        {tiny(), Options{Shape: []int64{2, 1, 8}}, []string{"4 axes"}},
		"wrong channels":    {tiny(), Options{Shape: []int64{2, 2, 8, 6}}, []string{"does not fit"}},
		"no shape":          {tiny(), Options{}, []string{"batch's shape"}},
		"head weights":      {tiny(), Options{Shape: tinyShape, HeadWeights: []float64{1, 1}}, []string{"1 outputs", "2 weights"}},
		"class weights":     {tiny(), Options{Shape: tinyShape, Loss: Dice{Weights: []float64{1}}}, []string{"class weights"}},
		"optimizer":         {tiny(), Options{Shape: tinyShape, Optimizer: SGD{Momentum: 1}}, []string{"momentum"}},
		"betas":             {tiny(), Options{Shape: tinyShape, Optimizer: Adam{Beta1: 2}}, []string{"betas"}},
		"clip":              {tiny(), Options{Shape: tinyShape, ClipNorm: -1}, []string{"norm"}},
		"ignore":            {tiny(), Options{Shape: tinyShape, IgnoreLabel: -1}, []string{"ignored"}},
		"two inputs":        {change(func(m *onnx.Model) { m.AddInput("z", onnx.Float32, 1) }), ok, []string{"2 inputs"}},
		"missing value":     {change(func(m *onnx.Model) { m.Graph.Nodes[2].Inputs[0] = "lost" }), ok, []string{"lost"}},
		"shapes apart":      {change(func(m *onnx.Model) { m.Graph.Nodes[3].Inputs[1] = "norm.weight" }), ok, []string{"do not go together"}},
		"dropout of everything": {change(func(m *onnx.Model) {
			m.AddInitializer(onnx.NewFloat32("ratio", []int64{}, []float32{1}))
			m.Graph.Nodes[2].Op, m.Graph.Nodes[2].Inputs = "Dropout", []string{"b", "ratio"}
		}), ok, []string{"Dropout", "[0, 1)"}},
		"dropout": {tiny(), Options{Shape: tinyShape, Dropout: Dropout{Ratio: 1}}, []string{"[0, 1)"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(c.model, c.o)
			if err == nil || fault.KindOf(err) != fault.Invalid {
				t.Fatalf("error %v", err)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
		})
	}
}

// Everything that follows from shapes leaves the graph: of SwinUNETR's 3,000
// nodes of shape arithmetic none remains.
func TestShapeArithmeticIsFolded(t *testing.T) {
	for _, v := range variants(t) {
		if v.Network != "swinunetr" {
			continue
		}
		p, err := Compile(v.model(t), Options{Shape: int64s(v.read(t, v.X).Shape)})
		if err != nil {
			t.Fatal(err)
		}
		ops := p.Graph().Features().Ops
		for _, op := range []string{"Shape", "Constant", "Equal", "ScatterND", "Unsqueeze", "ConstantOfShape", "Range", "Mod"} {
			n := ops[op]
			if op == "Equal" && n <= 1 || op == "ConstantOfShape" && n <= 12 { // of the loss and of scatter-add
				continue
			}
			if n > 0 && op != "Unsqueeze" {
				t.Errorf("%d nodes %s remain", n, op)
			}
		}
		t.Logf("%d nodes in the network, %d in its step", len(v.model(t).Graph.Nodes), len(p.Graph().Graph.Nodes))
	}
}

// The dynamo exporter's files and folded ones train, too.
func TestOtherExportsCompile(t *testing.T) {
	root := testkit.Shared(t, "golden", "networks")
	for file, shape := range map[string][]int64{
		"basicunet/model_dynamo.onnx":    {2, 1, 16, 16, 32},
		"dynunet_ds/model_dynamo.onnx":   {2, 1, 16, 16, 24},
		"segresnet_gn/model_dynamo.onnx": {2, 1, 16, 16, 24},
		"unet_res0_bn/model_folded.onnx": {2, 1, 16, 16, 24},
		"unet_res2_prelu/model.onnx":     {1, 1, 32, 16, 16},
	} {
		p, err := Compile(parseModel(t, filepath.Join(root, file)), Options{Shape: shape})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if len(p.Parameters()) < 12 {
			t.Errorf("%s: %d parameters", file, len(p.Parameters()))
		}
	}
}
