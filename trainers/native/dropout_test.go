package native

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/dropout"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/testkit"
)

// dropping returns the tiny network with Dropout behind its activation and on
// its image.
func dropping() *onnx.Model {
	m := tiny()
	m.AddInitializer(onnx.NewFloat32("ratio", []int64{}, []float32{0.25}))
	m.AddNode("Dropout", []string{"x", "ratio"}, []string{"x.drop"})
	m.AddNode("Dropout", []string{"c"}, []string{"c.drop"}) // one half
	for _, n := range m.Graph.Nodes {
		switch n.Outputs[0] {
		case "a":
			n.Inputs[0] = "x.drop"
		case "d":
			n.Inputs[0] = "c.drop"
		}
	}
	return m
}

// byHand is the network of dropping with its masks of one pass as constants.
func byHand(masks []dropout.Layer, o Dropout, pass uint64) *onnx.Model {
	m := dropping()
	m.Graph.Nodes = slices.DeleteFunc(m.Graph.Nodes, func(n *onnx.Node) bool { return n.Is("Dropout") })
	for _, l := range masks {
		mask := make([]uint8, l.Len())
		dropout.Fill(mask, 0, dropout.Key{Seed: o.Seed, Pass: pass, Node: l.Node}, l.Ratio)
		v := make([]float32, len(mask))
		for i, b := range mask {
			v[i] = float32(b) * float32(dropout.Scale(l.Ratio))
		}
		// A Constant node, so that it is not trained.
		c := m.AddNode("Constant", nil, []string{"mask." + l.Node}, onnx.TensorAttr("value", onnx.NewFloat32("", l.Shape, v)))
		c.Name = c.Outputs[0]
		m.AddNode("Mul", []string{map[string]string{"x.drop": "x", "c.drop": "c"}[l.Node], c.Name}, []string{l.Node})
	}
	return m
}

// A step drops what the masks of its number say: loss and every gradient are
// those of the network with these masks as constants, bit for bit.
func TestDropoutStepsWithItsMasks(t *testing.T) {
	o := Dropout{Seed: 7}
	s := open(t, dropping(), Options{Dropout: o, Gradients: true})
	if n := len(s.program.masks); n != 2 {
		t.Fatalf("%d masks instead of 2", n)
	}
	x, labels := batch()
	for pass := range 3 {
		want := open(t, byHand(s.program.masks, o, uint64(pass)), Options{Gradients: true})
		st := s.State()
		if err := want.SetState(st); err != nil {
			t.Fatal(err)
		}
		a, err := s.Run(t.Context(), x, labels, 0.01)
		if err != nil {
			t.Fatal(err)
		}
		b, err := want.Run(t.Context(), x, labels, 0.01)
		if err != nil {
			t.Fatal(err)
		}
		if a != b {
			t.Errorf("pass %d: loss %g instead of %g", pass, a, b)
		}
		for _, p := range s.program.Parameters() {
			ga, _ := s.Gradient(p.Name)
			gb, err := want.Gradient(p.Name)
			if err != nil || testkit.MaxDiff(t, ga, gb) != 0 {
				t.Errorf("pass %d: the gradient of %s differs (%v)", pass, p.Name, err)
			}
		}
	}
}

func TestDropoutResumesBitEqual(t *testing.T) {
	o := Options{Dropout: Dropout{Seed: 3}}
	whole := open(t, dropping(), o)
	steps(t, whole, 9)
	part := open(t, dropping(), o)
	steps(t, part, 4)
	rest := open(t, dropping(), o)
	steps(t, rest, 1) // masks of other passes are at hand
	if err := rest.SetState(part.State()); err != nil {
		t.Fatal(err)
	}
	steps(t, rest, 5)
	for name, v := range whole.State().Vectors {
		if !slices.Equal(v, rest.State().Vectors[name]) {
			t.Errorf("%s differs after resuming", name)
		}
	}
	other := open(t, dropping(), Options{Dropout: Dropout{Seed: 4}})
	steps(t, other, 9)
	if slices.Equal(other.State().Vectors[vecWeights], whole.State().Vectors[vecWeights]) {
		t.Error("another seed gives the same weights")
	}
}

// Batches of one step have masks of their own: two equal batches differ from
// one twice.
func TestDropoutOfAccumulatedBatches(t *testing.T) {
	s := open(t, dropping(), Options{Accumulate: 2, Gradients: true, Optimizer: SGD{}})
	x, labels := batch()
	if _, err := s.Run(t.Context(), slices.Repeat(x, 2), slices.Repeat(labels, 2), 0); err != nil {
		t.Fatal(err)
	}
	got, err := s.Gradient("last.weight")
	if err != nil {
		t.Fatal(err)
	}
	single := open(t, dropping(), Options{Gradients: true, Optimizer: SGD{}})
	mean := make([]float64, len(got))
	for range 2 {
		if _, err := single.Run(t.Context(), x, labels, 0); err != nil {
			t.Fatal(err)
		}
		g, _ := single.Gradient("last.weight")
		for i, v := range g {
			mean[i] += float64(v) / 2
		}
	}
	if e := relative(got, mean); !(e < 1e-6) {
		t.Errorf("the gradient of two batches is off the mean of both passes by %g", e)
	}
}

// Off is the network without its dropouts; the trained file keeps its nodes.
func TestDropoutOff(t *testing.T) {
	plain := dropping()
	plain.Graph.Nodes = slices.DeleteFunc(plain.Graph.Nodes, func(n *onnx.Node) bool { return n.Is("Dropout") })
	for _, n := range plain.Graph.Nodes {
		for i, name := range n.Inputs {
			if name == "x.drop" || name == "c.drop" {
				n.Inputs[i] = name[:1]
			}
		}
	}
	off, without := open(t, dropping(), Options{Dropout: Dropout{Off: true}}), open(t, plain, Options{})
	if a, b := steps(t, off, 4), steps(t, without, 4); a != b {
		t.Errorf("loss %g instead of %g", a, b)
	}
	if n := off.Model().Features().Ops["Dropout"]; n != 2 {
		t.Errorf("%d Dropout nodes in the trained file instead of 2", n)
	}
}

// The golden network with dropout, in both of its forms, trains: with the
// ratio of its nodes, or one that is given where its default is 0.
func TestGoldenDropoutNetworks(t *testing.T) {
	dir := testkit.Shared(t, "golden", "networks", "unet_res2_prelu")
	losses := map[string]float64{}
	for name, c := range map[string]struct {
		file  string
		o     Dropout
		masks int
	}{
		"switch":               {"model_dropout_switch.onnx", Dropout{Seed: 5}, 13},
		"switch, off":          {"model_dropout_switch.onnx", Dropout{Off: true}, 0},
		"random":               {"model_dropout_random.onnx", Dropout{Seed: 5, Ratio: 0.2}, 13},
		"random, its default":  {"model_dropout_random.onnx", Dropout{Seed: 5}, 0},
		"switch, other ratio":  {"model_dropout_switch.onnx", Dropout{Seed: 5, Ratio: 0.4}, 13},
		"switch, another seed": {"model_dropout_switch.onnx", Dropout{Seed: 6}, 13},
	} {
		x := testkit.ReadNPY(t, filepath.Join(dir, "train_x.npy"))
		labels := testkit.ReadNPY(t, filepath.Join(dir, "train_labels.npy"))
		s := open(t, parseModel(t, filepath.Join(dir, c.file)), Options{Shape: int64s(x.Shape), Dropout: c.o})
		if n := len(s.program.masks); n != c.masks {
			t.Errorf("%s: %d masks instead of %d", name, n, c.masks)
		}
		var first, last float64
		for i := range 8 {
			loss, err := s.Run(t.Context(), x.F32(t), labels.F32(t), 2e-3)
			if err != nil {
				t.Fatal(err)
			}
			if last = loss; i == 0 {
				first = loss
			}
		}
		losses[name] = first
		if !(last < first) || math.IsNaN(last) {
			t.Errorf("%s: the loss went from %g to %g", name, first, last)
		}
	}
	for _, pair := range [][2]string{{"switch", "random"}, {"switch, off", "random, its default"}} {
		if a, b := losses[pair[0]], losses[pair[1]]; math.Abs(a-b) > 1e-5 {
			t.Errorf("%s and %s: losses %g and %g", pair[0], pair[1], a, b)
		}
	}
	for _, name := range []string{"switch, off", "switch, other ratio", "switch, another seed"} {
		if math.Abs(losses[name]-losses["switch"]) < 1e-3 {
			t.Errorf("%s: loss %g as with the network's own ratio", name, losses[name])
		}
	}
}
