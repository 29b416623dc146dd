package native

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
)

// operand is an input of an operator under test: varied floats in [low, high],
// or a constant.
type operand struct {
	shape     []int64
	low, high float64
	fixed     *array
}

func varied(shape ...int64) operand { return operand{shape: shape, low: -2, high: 2} }
func within(low, high float64, shape ...int64) operand {
	return operand{shape: shape, low: low, high: high}
}

func fixedInts(v ...int64) operand {
	a := newArray(onnx.Int64, []int64{int64(len(v))})
	for i, x := range v {
		a.v[i] = float64(x)
	}
	return operand{fixed: a}
}

func fixedFloats(v ...float64) operand {
	return operand{fixed: &array{typ: onnx.Float32, shape: []int64{int64(len(v))}, v: v}}
}

// number is a constant of rank 0.
func number(v float64) operand {
	return operand{fixed: &array{typ: onnx.Float32, shape: []int64{}, v: []float64{v}}}
}

// opProbe is one operator whose gradient is compared with differences.
type opProbe struct {
	op    string
	in    []operand
	attrs []*onnx.Attr
	outs  int // results; 0 means 1
}

// differenceCases are operators, and forms of operators, that the goldens do
// not have.
var differenceCases = []opProbe{
	{op: "Sin", in: []operand{varied(2, 5)}},
	{op: "Cos", in: []operand{varied(2, 5)}},
	{op: "Identity", in: []operand{varied(2, 5)}},
	{op: "Reciprocal", in: []operand{within(0.5, 2, 2, 5)}},
	{op: "Cast", in: []operand{varied(2, 5)}, attrs: []*onnx.Attr{onnx.IntAttr("to", int64(onnx.Float32))}},
	{op: "CastLike", in: []operand{varied(2, 5), number(1)}},
	{op: "Dropout", in: []operand{varied(2, 5)}},
	{op: "Selu", in: []operand{varied(3, 7)}},
	{op: "Elu", in: []operand{varied(3, 7)}, attrs: []*onnx.Attr{onnx.FloatAttr("alpha", 0.7)}},
	{op: "Softplus", in: []operand{varied(3, 7)}},
	{op: "Softsign", in: []operand{varied(3, 7)}},
	{op: "HardSigmoid", in: []operand{within(-4, 4, 3, 7)}},
	{op: "HardSwish", in: []operand{within(-2.9, 2.9, 3, 9)}},
	{op: "HardSwish", in: []operand{within(3.1, 5, 3, 9)}},
	{op: "HardSwish", in: []operand{within(-5, -3.1, 3, 9)}},
	{op: "Mish", in: []operand{varied(3, 7)}},
	{op: "Gelu", in: []operand{varied(3, 7)}, attrs: []*onnx.Attr{onnx.StringAttr("approximate", "tanh")}},
	{op: "Gelu", in: []operand{varied(3, 7)}},
	{op: "Min", in: []operand{varied(3, 7), varied(7)}},
	{op: "Max", in: []operand{varied(3, 7), varied(3, 1), varied(1, 7)}},
	{op: "Sum", in: []operand{varied(3, 7), varied(7), varied(3, 1)}},
	{op: "Pow", in: []operand{within(0.5, 2, 3, 4), within(-2, 2, 4)}},
	{op: "Pow", in: []operand{within(0.5, 2, 3, 4), fixedFloats(3, 2, 0.5, -1)}},
	{op: "Where", in: []operand{{fixed: &array{typ: onnx.Bool, shape: []int64{3, 1}, v: []float64{1, 0, 1}}}, varied(3, 4), varied(4)}},
	{op: "MatMul", in: []operand{varied(1, 3, 4), varied(5, 4, 2)}},
	{op: "MatMul", in: []operand{varied(3, 4), varied(2, 4, 5)}},
	{op: "Gemm", in: []operand{varied(4, 3), varied(4, 5), varied(5)}, attrs: []*onnx.Attr{onnx.IntAttr("transA", 1), onnx.FloatAttr("alpha", 0.5), onnx.FloatAttr("beta", 2)}},
	{op: "Einsum", in: []operand{varied(2, 3, 4), varied(2, 5)}, attrs: []*onnx.Attr{onnx.StringAttr("equation", "bij,bk->bik")}},
	{op: "Einsum", in: []operand{varied(2, 3, 4)}, attrs: []*onnx.Attr{onnx.StringAttr("equation", "bij->jb")}},
	{op: "Flatten", in: []operand{varied(2, 3, 4)}, attrs: []*onnx.Attr{onnx.IntAttr("axis", 2)}},
	{op: "Squeeze", in: []operand{varied(2, 1, 4, 1)}},
	{op: "Unsqueeze", in: []operand{varied(2, 4), fixedInts(0, -1)}},
	{op: "Expand", in: []operand{varied(3, 1), fixedInts(2, 1, 4)}},
	{op: "Tile", in: []operand{varied(2, 3), fixedInts(3, 2)}},
	{op: "DepthToSpace", in: []operand{varied(2, 8, 3, 2)}, attrs: []*onnx.Attr{onnx.IntAttr("blocksize", 2)}},
	{op: "DepthToSpace", in: []operand{varied(2, 8, 3, 2)}, attrs: []*onnx.Attr{onnx.IntAttr("blocksize", 2), onnx.StringAttr("mode", "CRD")}},
	{op: "Split", in: []operand{varied(2, 7), fixedInts(3, 4)}, attrs: []*onnx.Attr{onnx.IntAttr("axis", 1)}, outs: 2},
	{op: "Slice", in: []operand{varied(4, 9), fixedInts(8, 3), fixedInts(0, 0), fixedInts(1, 0), fixedInts(-3, -1)}},
	{op: "Pad", in: []operand{varied(3, 4), fixedInts(1, 2, 0, 1)}, attrs: []*onnx.Attr{onnx.StringAttr("mode", "edge")}},
	{op: "Pad", in: []operand{varied(3, 4), fixedInts(1, 2, 0, 3)}, attrs: []*onnx.Attr{onnx.StringAttr("mode", "reflect")}},
	{op: "Pad", in: []operand{varied(3, 4), fixedInts(-1, 2, 2, -1)}},
	{op: "Gather", in: []operand{varied(5, 4), {fixed: &array{typ: onnx.Int64, shape: []int64{}, v: []float64{-2}}}}},
	{op: "Gather", in: []operand{varied(3, 5, 2), fixedInts(4, 0, 4)}, attrs: []*onnx.Attr{onnx.IntAttr("axis", 1)}},
	{op: "TopK", in: []operand{varied(12), fixedInts(5)}, outs: 2},
	{op: "ReduceSum", in: []operand{varied(2, 600), fixedInts(1)}, attrs: []*onnx.Attr{onnx.IntAttr("keepdims", 0)}},
	{op: "ReduceMin", in: []operand{varied(2, 5)}, attrs: []*onnx.Attr{onnx.IntsAttr("axes", 1)}},
	{op: "ReduceSumSquare", in: []operand{varied(2, 5)}, attrs: []*onnx.Attr{onnx.IntsAttr("axes", 0)}},
	{op: "ReduceL1", in: []operand{varied(2, 5)}, attrs: []*onnx.Attr{onnx.IntsAttr("axes", 1)}},
	{op: "ReduceL2", in: []operand{varied(2, 5)}, attrs: []*onnx.Attr{onnx.IntsAttr("axes", -1), onnx.IntAttr("keepdims", 0)}},
	{op: "ReduceLogSumExp", in: []operand{varied(2, 5)}, attrs: []*onnx.Attr{onnx.IntsAttr("axes", 1)}},
	{op: "GlobalMaxPool", in: []operand{varied(2, 3, 4, 5)}},
	{op: "MaxPool", in: []operand{varied(1, 2, 5, 6)}, attrs: []*onnx.Attr{onnx.IntsAttr("kernel_shape", 2, 2), onnx.IntsAttr("strides", 2, 2), onnx.IntAttr("ceil_mode", 1)}},
	{op: "LayerNormalization", in: []operand{varied(3, 2, 5), varied(2, 5)}, attrs: []*onnx.Attr{onnx.IntAttr("axis", 1)}},
	{op: "Conv", in: []operand{varied(1, 2, 6, 5), varied(3, 2, 3, 2)}, attrs: []*onnx.Attr{onnx.StringAttr("auto_pad", "SAME_UPPER"), onnx.IntsAttr("strides", 2, 2)}},
	{op: "Conv", in: []operand{varied(1, 2, 9, 8), varied(3, 2, 3, 2)}, attrs: []*onnx.Attr{onnx.IntsAttr("dilations", 2, 1), onnx.IntsAttr("strides", 2, 3), onnx.IntsAttr("pads", 1, 0, 2, 1)}},
	{op: "Conv", in: []operand{varied(2, 3, 7), varied(2, 3, 3), varied(2)}, attrs: []*onnx.Attr{onnx.IntsAttr("pads", 3, 4)}},
	{op: "ConvTranspose", in: []operand{varied(2, 4, 3, 4), varied(4, 3, 3, 2), varied(6)}, attrs: []*onnx.Attr{onnx.IntAttr("group", 2), onnx.IntsAttr("strides", 2, 3), onnx.IntsAttr("pads", 1, 0, 0, 1)}},
	{op: "ConvTranspose", in: []operand{varied(1, 2, 3, 4), varied(2, 3, 2, 3)}, attrs: []*onnx.Attr{onnx.IntsAttr("strides", 2, 2), onnx.IntsAttr("dilations", 2, 1)}},
	{op: "Resize", in: []operand{varied(1, 1, 4), {}, fixedFloats(1, 1, 1.5)}, attrs: []*onnx.Attr{onnx.StringAttr("mode", "nearest")}},
	{op: "Resize", in: []operand{varied(1, 1, 4), {}, {}, fixedInts(1, 1, 7)}, attrs: []*onnx.Attr{onnx.StringAttr("mode", "linear"), onnx.StringAttr("coordinate_transformation_mode", "pytorch_half_pixel")}},
}

// build compiles the operator; x holds the varied values in order.
func (oc opProbe) build(t *testing.T, x [][]float32) (p *probe, c *call, names []string) {
	t.Helper()
	g := newGraph(20, (&onnx.Graph{}).Names())
	if oc.op == "ReduceMin" || oc.op == "ReduceSumSquare" || oc.op == "ReduceL1" || oc.op == "ReduceL2" || oc.op == "ReduceLogSumExp" {
		g.opset = 17 // axes as attribute
	}
	p = newProbe(g)
	var inputs []string
	for i, o := range oc.in {
		name := fmt.Sprint("in", i)
		switch {
		case o.fixed != nil:
			g.setConstant(name, o.fixed)
		case o.shape == nil:
			name = ""
		default:
			g.info[name], g.needs[name] = floats(o.shape), true
			p.feed(name, o.shape, x[len(names)])
			names = append(names, name)
		}
		inputs = append(inputs, name)
	}
	outs := []string{"y0", "y1"}[:max(oc.outs, 1)]
	g.load(&onnx.Node{Name: oc.op, Op: oc.op, Inputs: inputs, Outputs: outs, Attrs: oc.attrs})
	if g.err != nil {
		t.Fatal(g.err)
	}
	if len(g.tape) == 0 { // the identity
		return p, &call{g: g, out: []string{g.value("y0")}}, names
	}
	return p, g.tape[0], names
}

// TestGradientsAgainstDifferences compares the gradient along a random
// direction with the central difference of Σ w·y.
func TestGradientsAgainstDifferences(t *testing.T) {
	const h, tolerance = 5e-3, 4e-3
	for i, oc := range differenceCases {
		t.Run(fmt.Sprintf("%02d_%s", i, oc.op), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, uint64(i)))
			var x, way [][]float32
			for _, o := range oc.in {
				if o.shape == nil {
					continue
				}
				v, d := make([]float32, size(o.shape)), make([]float32, size(o.shape))
				for k := range v {
					v[k] = float32(o.low + (o.high-o.low)*rng.Float64())
					d[k] = float32(rng.NormFloat64())
				}
				x, way = append(x, v), append(way, d)
			}
			p, c, names := oc.build(t, x)
			g := p.g
			var seeds []string
			weights := map[string][]float32{}
			for k, out := range c.out {
				if k > 0 && g.info[out].typ != onnx.Float32 {
					continue
				}
				w := newArray(onnx.Float32, g.shape(out))
				for j := range w.v {
					w.v[j] = fit(onnx.Float32, rng.NormFloat64())
					weights[out] = append(weights[out], float32(w.v[j]))
				}
				seeds = append(seeds, out, g.newConstant("w", w))
			}
			g.backward(seeds...)
			for _, name := range names {
				d := g.gradient(name)
				if d == "" {
					d = g.zeros(g.shape(name))
				}
				p.fetch(name, d)
			}
			grads := p.run(t)
			var analytic float64
			for k, name := range names {
				for j, v := range grads[name] {
					analytic += float64(v) * float64(way[k][j])
				}
			}
			at := func(step float64) (sum, scale float64) {
				moved := make([][]float32, len(x))
				for k := range x {
					for j := range x[k] {
						moved[k] = append(moved[k], x[k][j]+float32(step*float64(way[k][j])))
					}
				}
				p, c, _ := oc.build(t, moved)
				for _, out := range c.out {
					if weights[out] != nil || p.g.info[out].typ == onnx.Float32 {
						p.fetch(out, out)
					}
				}
				for out, y := range p.run(t) {
					for j, v := range y {
						sum += float64(v) * float64(weights[out][j])
						scale += math.Abs(float64(v) * float64(weights[out][j]))
					}
				}
				return sum, scale
			}
			up, scale := at(h)
			down, _ := at(-h)
			numeric := (up - down) / (2 * h)
			if d := math.Abs(numeric - analytic); !(d <= tolerance*(1+math.Abs(numeric)+0.05*scale)) {
				t.Errorf("derivative %g, difference %g", analytic, numeric)
			}
		})
	}
}

// TestWrongGradientsAreNoticed changes the gradient of one operator after the
// other by 0.1 %: some golden must fail. What no golden has is in
// differenceCases.
func TestWrongGradientsAreNoticed(t *testing.T) {
	root, cases := opCases(t)
	probed := map[string]bool{}
	for _, oc := range differenceCases {
		probed[oc.op] = true
	}
	names, differentiable := Operators()
	noticed := 0
	for _, op := range names {
		r := rules[op]
		if !differentiable[op] || piecewise[op] {
			continue
		}
		sound := r.backward
		r.backward = func(c *call, dy []string) {
			wrong := make([]string, len(dy))
			for i, d := range dy {
				if d != "" {
					wrong[i] = c.g.scale(d, 1.001)
				}
			}
			sound(c, wrong)
		}
		caught := false
		for _, oc := range cases {
			if _, ok := oc.Ops[op]; !ok || caught {
				continue
			}
			for _, e := range oc.check(t, root) {
				caught = caught || e > opTolerance
			}
		}
		r.backward = sound
		switch {
		case caught:
			noticed++
		case !probed[op]:
			t.Errorf("a wrong gradient of %s goes unnoticed", op)
		}
	}
	if noticed < 45 {
		t.Errorf("the goldens noticed only %d wrong gradients", noticed)
	}
	t.Logf("the goldens notice a wrong gradient of %d operators, differences check %d", noticed, len(probed))
}

// piecewise constant operators: their gradient is 0 everywhere.
var piecewise = map[string]bool{
	"Sign": true, "Floor": true, "Ceil": true, "Round": true, "Equal": true, "Greater": true, "GreaterOrEqual": true, "Less": true,
	"LessOrEqual": true, "And": true, "Or": true, "Xor": true,
}
