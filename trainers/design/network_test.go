package design

import (
	"math"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/trainers/native"
)

// Every kind of network takes every size that its strides divide, and its heads
// have the image's size, half of it, and so on.
func TestShapes(t *testing.T) {
	for name, n := range small() {
		t.Run(name, func(t *testing.T) {
			m := built(t, n, 1)
			multiple := n.Multiple()
			for _, factors := range [][]int{{2, 2, 2}, {4, 2, 3}} {
				shape := []int64{2, int64(n.Channels)}
				for k, d := range multiple {
					shape = append(shape, int64(d*factors[k]))
				}
				out, shapes := forward(t, m, noise(int(product(shape)), name), shape)
				if len(out) != n.Heads {
					t.Fatalf("%d outputs, want %d", len(out), n.Heads)
				}
				want := append([]int64{2, int64(n.Classes)}, shape[2:]...)
				for i, got := range shapes {
					if i > 0 {
						for k, s := range n.Stages[i].Stride {
							want[2+k] /= int64(s)
						}
					}
					if !slices.Equal(got, want) {
						t.Errorf("image %v: head %d has shape %v, want %v", shape, i, got, want)
					}
					for _, v := range out[i] {
						if math.IsNaN(float64(v)) || math.Abs(float64(v)) > 100 {
							t.Fatalf("image %v: head %d has a score of %g", shape, i, v)
						}
					}
				}
			}
		})
	}
}

// Every parameter gets a gradient, the loss falls within a few steps, and the
// estimate of the cost counts the parameters that there are.
func TestLearns(t *testing.T) {
	rt := orttest.Runtime(t)
	for name, n := range small() {
		t.Run(name, func(t *testing.T) {
			shape := []int64{2, int64(n.Channels)}
			var size []int
			for _, d := range n.Multiple() {
				shape, size = append(shape, int64(2*d)), append(size, 2*d)
			}
			p, err := native.Compile(built(t, n, 1), native.Options{Shape: shape, Gradients: true})
			if err != nil {
				t.Fatal(err)
			}
			s, err := p.Open(rt, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			x := noise(int(product(shape)), name)
			labels := make([]float32, int(product(shape))/n.Channels)
			for i := range labels {
				if x[i] > 0 {
					labels[i] = 1
				}
			}
			var first, last float64
			for i := range 12 {
				if last, err = s.Run(t.Context(), x, labels, 1e-2); err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					first = last
					everyGradient(t, p, s)
				}
			}
			if last > 0.9*first {
				t.Errorf("the loss went from %g to %g in 12 steps", first, last)
			}
			count := int64(0)
			for _, q := range p.Parameters() {
				count += q.Len()
			}
			if got := n.Cost(2, size, 1).Parameters; got != count {
				t.Errorf("the estimate counts %d parameters, there are %d", got, count)
			}
		})
	}
}

func everyGradient(t *testing.T, p *native.Program, s *native.Step) {
	t.Helper()
	for _, q := range p.Parameters() {
		g, err := s.Gradient(q.Name)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(g, func(v float32) bool { return math.Abs(float64(v)) > 1e-8 }) {
			t.Errorf("no gradient reaches %s", q.Name)
		}
	}
}

// Readable names, one per parameter, and He's deviation for each weight.
func TestParameters(t *testing.T) {
	m := built(t, small()["light residual"], 1)
	var names []string
	for _, v := range m.Graph.Initializers {
		names = append(names, v.Name)
	}
	for _, want := range []string{
		"enc.1.stem.conv.weight", "enc.1.block1.conv1.weight", "enc.1.block1.norm2.scale", "enc.2.block1.short.conv.weight",
		"up.1.weight", "up.0.bias", "dec.0.conv1.weight", "dec.1.norm1.bias", "head.0.weight", "head.0.bias",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no parameter %s among %v", want, names)
		}
	}
	wide := Network{Plain, 3, 1, 2, []Stage{{16, cube(3), cube(1), 2, 2}, {32, cube(3), cube(2), 2, 0}}, 1, 0}
	m = built(t, wide, 1)
	for name, fanIn := range map[string]float64{"enc.0.conv2.weight": 16 * 27, "enc.1.conv1.weight": 16 * 27, "up.0.weight": 32, "dec.0.conv1.weight": 32 * 27} {
		v, err := m.Graph.Initializer(name).Float32()
		if err != nil {
			t.Fatal(err)
		}
		var sum, squares float64
		for _, x := range v {
			sum += float64(x)
			squares += float64(x) * float64(x)
		}
		n := float64(len(v))
		want := math.Sqrt(2 / 1.0001 / fanIn)
		if sd := math.Sqrt(squares / n); math.Abs(sd/want-1) > 4/math.Sqrt(2*n) || math.Abs(sum/n) > 4*want/math.Sqrt(n) {
			t.Errorf("%s: mean %g, deviation %g, want 0 and %g", name, sum/n, sd, want)
		}
	}
}

func TestSameSeedSameBytes(t *testing.T) {
	for name, n := range small() {
		a, b, other := built(t, n, 1).Hash(), built(t, n, 1).Hash(), built(t, n, 2).Hash()
		if a != b {
			t.Errorf("%s: the same seed gives other bytes", name)
		}
		if a == other {
			t.Errorf("%s: another seed gives the same bytes", name)
		}
	}
}

// A network without batches of values: Dropout must drop nothing in inference.
func TestDropoutIsInferenceForm(t *testing.T) {
	n := small()["plain"]
	m := built(t, n, 1)
	count := 0
	for _, node := range m.Graph.Nodes {
		if node.Is("Dropout") {
			count++
			if len(node.Inputs) != 2 {
				t.Errorf("%s has %d inputs; training_mode must be absent", node.Name, len(node.Inputs))
			}
		}
	}
	if count != 3 { // two encoder stages below the full resolution, one decoder stage
		t.Errorf("%d Dropout nodes, want 3", count)
	}
	shape := []int64{1, 1, 8, 8, 8}
	x := noise(512, "x")
	with, _ := forward(t, m, x, shape)
	n.Dropout = 0
	without, _ := forward(t, built(t, n, 1), x, shape)
	if !slices.Equal(with[0], without[0]) {
		t.Error("Dropout changes what inference computes")
	}
}

func TestWrongNetworks(t *testing.T) {
	for name, change := range map[string]func(*Network){
		"type":     func(n *Network) { n.Type = "dense" },
		"axes":     func(n *Network) { n.Dimension = 4 },
		"channels": func(n *Network) { n.Channels = 0 },
		"classes":  func(n *Network) { n.Classes = 1 },
		"stages":   func(n *Network) { n.Stages = n.Stages[:1] },
		"heads":    func(n *Network) { n.Heads = 3 },
		"dropout":  func(n *Network) { n.Dropout = 1 },
		"kernel":   func(n *Network) { n.Stages[1].Kernel = []int{3, 2, 3} },
		"stride":   func(n *Network) { n.Stages[0].Stride = cube(2) },
		"encode":   func(n *Network) { n.Stages[1].Encode = 0 },
		"decode":   func(n *Network) { n.Stages[0].Decode = 0 },
	} {
		n := small()["plain"]
		change(&n)
		if _, err := n.Build(1); err == nil {
			t.Errorf("a wrong %s is accepted", name)
		}
	}
}
