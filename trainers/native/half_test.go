package native

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort/orttest"
)

// rounding makes the CPU provider round. It has no products in half precision: it
// computes them in single precision and drops the casts around them, unless
// something stands in between.
func rounding(m *onnx.Model) {
	names := m.Graph.Names()
	var nodes []*onnx.Node
	bar := func(in, out string) *onnx.Node {
		return &onnx.Node{Name: out, Op: "Concat", Inputs: []string{in}, Outputs: []string{out}, Attrs: []*onnx.Attr{onnx.IntAttr("axis", 0)}}
	}
	for _, n := range m.Graph.Nodes {
		switch {
		case n.Op == "Cast" && n.Int("to", 0) == int64(onnx.Float16):
			out := n.Outputs[0]
			n.Outputs[0] = names.New(out)
			n.Name = n.Outputs[0]
			nodes = append(nodes, n, bar(n.Outputs[0], out))
		case n.Op == "Cast":
			in := n.Inputs[0]
			n.Inputs[0] = names.New(in)
			nodes = append(nodes, bar(in, n.Inputs[0]), n)
		default:
			nodes = append(nodes, n)
		}
	}
	m.Graph.Nodes = nodes
}

// TestHalfPrecision: the golden networks' gradients in mixed precision are those
// in single precision to what 11 bits of mantissa allow, and no nearer: the
// products were rounded. The scale of the loss decides which small ones survive.
func TestHalfPrecision(t *testing.T) {
	for _, v := range variants(t) {
		if !slices.Contains([]string{"unet_res2_prelu", "dynunet_ds", "unet2d_bn", "unetr"}, v.Network) {
			continue
		}
		t.Run(v.Network+"/"+v.Variant, func(t *testing.T) {
			x, labels := v.read(t, v.X).F32(t), v.read(t, v.Labels).F32(t)
			gradient := func(half bool, scale float64) []float32 {
				o := Options{
					Shape: int64s(v.read(t, v.X).Shape), BatchStatistics: v.BatchStatistics, Gradients: true, Half: half,
					Optimizer: SGD{}, Scaling: Scaling{Initial: scale},
				}
				p, err := Compile(v.model(t), o)
				if err != nil {
					t.Fatal(err)
				}
				if half {
					rounding(p.graph)
				}
				s, err := p.Open(orttest.Runtime(t), 2)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = s.Close() }()
				for range 30 {
					_, err := s.Run(t.Context(), x, labels, 0)
					if err == nil {
						return slices.Clone(s.fixed[outGrad])
					}
					if !errors.Is(err, ErrOverflow) {
						t.Fatal(err)
					}
				}
				t.Fatal("30 scales overflow")
				return nil
			}
			single := gradient(false, 0)
			e := relative(gradient(true, 1<<16), wide(single))
			if !(e > 1e-5 && e < 0.1) {
				t.Errorf("the gradient in mixed precision is off by %.1e", e)
			}
			t.Logf("relative difference %.1e", e)
			if lost := relative(gradient(true, math.Ldexp(1, -20)), wide(single)); !(lost > 10*e) {
				t.Errorf("with a scale of 2^-20 the gradient is off by %.1e: nothing vanished in half precision", lost)
			}
		})
	}
}

// TestHalfPrecisionTrains: the tiny network learns the same way in mixed
// precision.
func TestHalfPrecisionTrains(t *testing.T) {
	p, err := Compile(tiny(), Options{Shape: []int64{2, 1, 8, 6}, Half: true, Scaling: Scaling{Initial: 1 << 12}})
	if err != nil {
		t.Fatal(err)
	}
	halves := 0
	for _, n := range p.graph.Graph.Nodes {
		if n.Op == "Cast" && n.Int("to", 0) == int64(onnx.Float16) {
			halves++
		}
	}
	if halves == 0 {
		t.Error("nothing is computed in half precision")
	}
	rounding(p.graph)
	half, err := p.Open(orttest.Runtime(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = half.Close() }()
	single := open(t, tiny(), Options{})
	first, a, b := steps(t, open(t, tiny(), Options{}), 1), steps(t, single, 60), steps(t, half, 60)
	if !(math.Abs(a-b) < 0.02*(first-a)) || a == b {
		t.Errorf("loss %g after 60 steps where single precision has %g, from %g", b, a, first)
	}
}
