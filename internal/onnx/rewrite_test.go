package onnx_test

import (
	"path/filepath"
	"reflect"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/testkit"
)

// Each rule on recorded single operators: the operator is gone, what replaced
// it is there, and the result is PyTorch's (relative to the largest value).
func TestRulesOnGoldenOperators(t *testing.T) {
	const tolerance = 1e-5
	for _, tt := range []struct {
		op, provider string
		rule         string // expected to apply once; "" for none
		gone, there  string
	}{
		{"prelu_1", ort.CPU, "prelu", "PRelu", "LeakyRelu"},
		{"prelu_C", ort.CPU, "", "", "PRelu"},
		{"prelu_1", ort.OpenVINO, "prelu", "PRelu", "LeakyRelu"},
		{"convtranspose3d_k3_s2_op1", ort.CPU, "upconv", "ConvTranspose", "Conv"},
		{"convtranspose3d_k3_s2_op1", ort.OpenVINO, "upconv", "ConvTranspose", "Conv"},
		{"convtranspose2d_k3_s2_op1", ort.CPU, "", "", "ConvTranspose"},
		{"convtranspose3d_k3_s1", ort.CPU, "", "", "ConvTranspose"},
		{"convtranspose3d_k2_s2", ort.CPU, "", "", "ConvTranspose"},
		{"convtranspose3d_k221", ort.CPU, "", "", "ConvTranspose"},
		{"instancenorm3d", ort.CPU, "instancenorm", "InstanceNormalization", "ReduceSumSquare"},
		{"instancenorm3d_affine", ort.OpenVINO, "instancenorm", "InstanceNormalization", "ReduceSumSquare"},
		{"instancenorm2d_affine", ort.CPU, "instancenorm", "InstanceNormalization", "ReduceSumSquare"},
		{"groupnorm_g2", ort.CPU, "instancenorm", "InstanceNormalization", "ReduceSumSquare"},
		{"groupnorm_g2", ort.OpenVINO, "instancenorm", "InstanceNormalization", "ReduceSumSquare"},
		{"groupnorm_gC", ort.CPU, "instancenorm", "InstanceNormalization", "ReduceSumSquare"},
		{"groupnorm_g1_opset20", ort.CPU, "instancenorm", "InstanceNormalization", "ReduceSumSquare"},
		{"groupnorm_op_opset21", ort.CPU, "groupnorm", "GroupNormalization", "ReduceSumSquare"},
		{"groupnorm_op_opset21", ort.OpenVINO, "groupnorm", "GroupNormalization", "ReduceSumSquare"},
		{"reducemean_spatial", ort.CPU, "mean", "", "ReduceMean"},
		{"reducemean_spatial_opset18", ort.CPU, "mean", "", "ReduceMean"},
		{"reducemean_nokeep", ort.CPU, "", "", "ReduceMean"}, // one axis only
		{"layernorm", ort.CPU, "", "", "LayerNormalization"},
	} {
		t.Run(tt.op+" "+tt.provider, func(t *testing.T) {
			dir := testkit.Shared(t, "golden", "networks", "ops", tt.op)
			x, y := testkit.ReadNPY(t, filepath.Join(dir, "x0.npy")), testkit.ReadNPY(t, filepath.Join(dir, "y.npy"))
			p, count := prepare(t, freed(parse(t, filepath.Join(dir, "model.onnx"))), tt.provider)
			delete(count, "dead")
			want := map[string]int{}
			if tt.rule != "" {
				want[tt.rule] = 1
			}
			ops := p.Features().Ops
			if !reflect.DeepEqual(count, want) || ops[tt.gone] != 0 || ops[tt.there] == 0 {
				t.Errorf("rules %v, want %v; operators %v", count, want, ops)
			}
			if e := testkit.MaxDiff(t, run(t, p, tt.provider, y.Shape, x), y.F32(t)); !(e <= tolerance*top(y.F32(t))) {
				t.Errorf("off by %g", e)
			}
		})
	}
}

// freed makes all axes of the inputs but the channels free: small fixed
// shapes would not need the rules for accuracy.
func freed(m *onnx.Model) *onnx.Model {
	for _, v := range m.Graph.Inputs {
		for i := range v.Dims {
			if i != 1 {
				v.Dims[i] = onnx.Dim{Size: -1}
			}
		}
	}
	m.Graph.Values = nil
	for _, v := range m.Graph.Outputs {
		v.HasShape, v.Dims = false, nil
	}
	return m
}

// top returns max(1, max|x|).
func top(x []float32) float64 {
	t := float32(1)
	for _, v := range x {
		t = max(t, v, -v)
	}
	return float64(t)
}

func TestPrepareKeepsItsInput(t *testing.T) {
	m := parse(t, testkit.Shared(t, "golden", "networks", "unet_res2_prelu", "model.onnx"))
	before := m.Hash()
	p, count := prepare(t, m, ort.CPU)
	if m.Hash() != before {
		t.Error("Prepare changed its input")
	}
	if want := map[string]int{"prelu": 13, "upconv": 3, "instancenorm": 13, "dead": 26}; !reflect.DeepEqual(count, want) {
		t.Errorf("rules %v, want %v", count, want)
	}
	if !reflect.DeepEqual(p.Inputs(), m.Inputs()) || !reflect.DeepEqual(p.Outputs(), m.Outputs()) {
		t.Error("the prepared model has other inputs or outputs")
	}
	again, count := prepare(t, p, ort.CPU)
	if len(count) != 0 || again.Hash() != p.Hash() {
		t.Errorf("preparing twice applied %v", count)
	}
}

func TestPrepareLeavesOldAndUnknownAlone(t *testing.T) {
	m := onnx.NewModel(9)
	m.AddInput("x", onnx.Float32, 1, 2)
	m.AddInitializer(onnx.NewFloat32("slope", []int64{1}, []float32{0.5}))
	m.AddNode("PRelu", []string{"x", "slope"}, []string{"y"})
	m.AddOutput("y", onnx.Float32, 1, 2)
	if _, count := prepare(t, m, ort.CPU); len(count) != 0 {
		t.Errorf("operator set 9: %v", count)
	}
	m.Opsets[0].Version = 17
	if p, count := prepare(t, m, ort.CPU); count["prelu"] != 1 || p.Graph.Initializer("slope") != nil {
		t.Errorf("operator set 17: %v, constants %v", count, p.Graph.Initializers)
	}
	// A slope that a caller may override is no constant.
	m.AddInput("slope", onnx.Float32, 1)
	if _, count := prepare(t, m, ort.CPU); len(count) != 0 {
		t.Errorf("overridable slope: %v", count)
	}
	m.Graph.Nodes[0].Domain = "com.example"
	if _, count := prepare(t, m, ort.CPU); len(count) != 0 {
		t.Errorf("another domain's PRelu: %v", count)
	}
}

func TestCleaningKeepsWhatIsRead(t *testing.T) {
	m := diamond() // the If reads a and w inside its branches only
	m.AddNode("Identity", []string{"a"}, []string{"captured"})
	m.Graph.Nodes[2].Attrs[0].Graph.Nodes[0].Inputs[0] = "captured" // both branches are this graph
	m.AddNode("Identity", []string{"a"}, []string{"a2"})
	m.AddNode("Neg", []string{"a2"}, []string{"e"})
	m.AddOutput("e", onnx.Float32, 1)
	m.AddNode("Identity", []string{"x"}, []string{"out"}) // an output keeps its name
	m.AddOutput("out", onnx.Float32, 1)
	m.AddInitializer(onnx.NewFloat32("unused", []int64{1}, []float32{1}))
	m.AddNode("Exp", []string{"unused"}, []string{"nobody"})
	p, count := prepare(t, m, ort.CPU)
	if want := map[string]int{"identity": 1, "dead": 1}; !reflect.DeepEqual(count, want) {
		t.Errorf("rules %v, want %v", count, want)
	}
	if got := p.Features().Ops; got["Identity"] != 2 || got["Exp"] != 0 || got["If"] != 1 || got["Neg"] != 2 {
		t.Errorf("operators %v", got)
	}
	if p.Graph.Initializer("w") == nil || p.Graph.Initializer("unused") != nil {
		t.Error("the captured constant is gone, or the unused one is not")
	}
}
