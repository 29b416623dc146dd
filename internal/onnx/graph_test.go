package onnx_test

import (
	"reflect"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// diamond returns x → a → {b, c} → d, with a constant w read by c only inside
// the branch of an If.
func diamond() *onnx.Model {
	m := onnx.NewModel(17)
	m.AddInput("x", onnx.Float32, 1)
	m.AddInput("cond", onnx.Bool)
	m.AddInitializer(onnx.NewFloat32("w", []int64{1}, []float32{2}))
	m.AddNode("Relu", []string{"x"}, []string{"a"})
	m.AddNode("Neg", []string{"a"}, []string{"b"})
	branch := onnx.NewModel(17)
	branch.AddNode("Mul", []string{"a", "w"}, []string{"inner"})
	branch.AddOutput("inner", onnx.Float32, 1)
	m.AddNode("If", []string{"cond"}, []string{"c"},
		&onnx.Attr{Name: "then_branch", Type: onnx.AttrGraph, Graph: branch.Graph},
		&onnx.Attr{Name: "else_branch", Type: onnx.AttrGraph, Graph: branch.Graph})
	m.AddNode("Add", []string{"b", "c"}, []string{"d"})
	m.AddOutput("d", onnx.Float32, 1)
	return m
}

func ops(nodes []*onnx.Node) []string {
	var names []string
	for _, n := range nodes {
		names = append(names, n.Op)
	}
	return names
}

func TestIndexSeesSubgraphs(t *testing.T) {
	m := diamond()
	x := m.Graph.Index()
	if p := x.Producer("c"); p == nil || p.Op != "If" {
		t.Errorf("c is computed by %v", p)
	}
	if got := ops(x.Consumers("a")); !reflect.DeepEqual(got, []string{"Neg", "If"}) {
		t.Errorf("a is read by %v", got)
	}
	if got := ops(x.Consumers("w")); !reflect.DeepEqual(got, []string{"If"}) {
		t.Errorf("w is read by %v", got)
	}
	if x.Constant("w") == nil || x.Constant("a") != nil || !x.IsOutput("d") || x.IsOutput("c") {
		t.Error("wrong constants or outputs")
	}
}

func TestConstantLooksThroughIdentity(t *testing.T) {
	m := onnx.NewModel(17)
	m.AddInput("free", onnx.Float32, 1)
	m.AddInitializer(onnx.NewFloat32("free", []int64{1}, []float32{1})) // a default, not a constant
	m.AddInitializer(onnx.NewFloat32("w", []int64{1}, []float32{3}))
	m.AddNode("Identity", []string{"w"}, []string{"w1"})
	m.AddNode("Identity", []string{"w1"}, []string{"w2"})
	m.AddNode("Identity", []string{"free"}, []string{"f1"})
	m.AddNode("Constant", nil, []string{"k"}, onnx.IntAttr("value_int", 4))
	x := m.Graph.Index()
	if c := x.Constant("w2"); c == nil || c.Name != "w" {
		t.Errorf("w2 is %v", c)
	}
	if c := x.Constant("f1"); c != nil {
		t.Errorf("an overridable default was taken as constant: %v", c)
	}
	k := x.Constant("k")
	if k == nil {
		t.Fatal("the Constant node was not seen")
	}
	if v, err := k.Int64(); err != nil || v[0] != 4 || len(k.Dims) != 0 {
		t.Errorf("k = %v %v %v", v, k.Dims, err)
	}
}

func TestSort(t *testing.T) {
	m := diamond()
	n := m.Graph.Nodes
	m.Graph.Nodes = []*onnx.Node{n[3], n[2], n[1], n[0]}
	if err := m.Graph.Sort(); err != nil {
		t.Fatal(err)
	}
	// The If reads a through its branches only, so Relu must stand before it.
	if got := ops(m.Graph.Nodes); !reflect.DeepEqual(got, []string{"Relu", "Neg", "If", "Add"}) {
		t.Errorf("order %v", got)
	}
	n[0].Inputs[0] = "d"
	if err := m.Graph.Sort(); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a cycle gave %v", err)
	}
}

func TestNamesAreNew(t *testing.T) {
	names := diamond().Graph.Names()
	for _, tt := range []struct{ base, want string }{{"z", "z"}, {"z", "z_1"}, {"inner", "inner_1"}, {"w", "w_1"}, {"x", "x_1"}} {
		if got := names.New(tt.base); got != tt.want {
			t.Errorf("New(%q) = %q, want %q", tt.base, got, tt.want)
		}
	}
}
