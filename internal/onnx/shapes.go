package onnx

import "slices"

// shapes holds the static shapes of values: -1 for an axis that is free or not
// known; a value whose rank is unknown is absent.
type shapes map[string][]int64

// sameShape are operators whose result has the shape of their first input.
var sameShape = map[string]bool{
	"Relu": true, "LeakyRelu": true, "PRelu": true, "Elu": true, "Selu": true, "Sigmoid": true, "Tanh": true, "Erf": true, "Gelu": true,
	"Exp": true, "Log": true, "Sqrt": true, "Abs": true, "Neg": true, "Clip": true, "Softmax": true, "LogSoftmax": true, "Identity": true,
	"InstanceNormalization": true, "BatchNormalization": true, "GroupNormalization": true, "LayerNormalization": true, "Dropout": true,
	"Cast": true, "Softplus": true, "HardSwish": true, "HardSigmoid": true, "Mish": true,
}

// broadcast are operators that broadcast their inputs against each other.
var broadcast = map[string]bool{"Add": true, "Sub": true, "Mul": true, "Div": true, "Pow": true, "Max": true, "Min": true, "Where": true}

// inferShapes walks the graph once, with the rules of ONNX's operators that
// segmentation networks are made of; the rest stays unknown.
func inferShapes(g *Graph, x *Index) shapes {
	s := shapes{}
	for _, v := range g.Values { // sizes are the exporter's guess: only the rank is believed
		if r := unknown(len(v.Dims)); r != nil {
			s[v.Name] = r
		}
	}
	for _, v := range g.Inputs {
		if v.HasShape {
			s[v.Name] = v.Shape()
		}
	}
	for _, t := range g.Initializers {
		s[t.Name] = t.Dims
	}
	for _, n := range g.Nodes {
		if len(n.Outputs) == 0 {
			continue
		}
		if out := s.of(n, x); out != nil {
			s[n.Outputs[0]] = out
		}
	}
	return s
}

// of returns the shape of n's first output, or nil.
func (s shapes) of(n *Node, x *Index) []int64 {
	in := s[n.Input(0)]
	switch {
	case !n.Is(n.Op):
		return nil
	case sameShape[n.Op]:
		return in
	case broadcast[n.Op]:
		return s.broadcasted(n)
	}
	switch n.Op {
	case "Constant":
		if t := n.constant(); t != nil {
			return append([]int64{}, t.Dims...)
		}
	case "Conv":
		return pooled(n, in, s[n.Input(1)], false)
	case "ConvTranspose":
		return pooled(n, in, s[n.Input(1)], true)
	case "MaxPool", "AveragePool":
		return pooled(n, in, nil, false)
	case "Concat":
		return s.joined(n)
	case "Reshape":
		if like := s.shapeOf(n.Input(1), x); like != nil {
			return like
		}
		if n.Int("allowzero", 0) == 0 {
			return reshaped(in, x.Constant(n.Input(1)))
		}
	case "Unsqueeze":
		return unsqueezed(n, in, x)
	case "Transpose":
		return transposed(in, n.Ints("perm"))
	case "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL2":
		return reduced(n, in, x)
	case "Pad", "Slice":
		return unknown(len(in)) // the rank stays
	case "Resize":
		return resized(in, n, x)
	}
	return nil
}

// broadcasted applies NumPy's rule to all inputs.
func (s shapes) broadcasted(n *Node) []int64 {
	var out []int64
	for i, name := range n.Inputs {
		in, ok := s[name]
		if !ok {
			return nil
		}
		if i == 0 {
			out = slices.Clone(in)
			continue
		}
		if len(in) > len(out) {
			out, in = slices.Clone(in), out
		}
		for k := 1; k <= len(in); k++ {
			a, b := &out[len(out)-k], in[len(in)-k]
			switch {
			case *a == 1:
				*a = b
			case *a == -1 && b > 1:
				*a = b
			}
		}
	}
	return out
}

// pooled is the shape after a (transposed) convolution with weight shape w, or
// after a pooling when w is nil.
func pooled(n *Node, in, w []int64, transposed bool) []int64 {
	d := len(in) - 2
	isConv := n.Op == "Conv" || n.Op == "ConvTranspose"
	if d < 1 || (isConv && len(w) != len(in)) {
		return nil
	}
	out := unknown(len(in))
	out[0], out[1] = in[0], in[1]
	kernel := n.Ints("kernel_shape")
	if isConv {
		kernel, out[1] = w[2:], w[0]
	}
	if transposed {
		out[1] = w[1] * n.Int("group", 1)
	}
	pad := n.Attr("auto_pad")
	if (pad != nil && pad.String != "NOTSET") || n.Int("ceil_mode", 0) != 0 || n.Attr("output_shape") != nil || len(kernel) != d {
		return out
	}
	for i := range d {
		if in[i+2] < 0 {
			continue
		}
		pads := at(n.Ints("pads"), i, 0) + at(n.Ints("pads"), i+d, 0)
		reach := at(n.Ints("dilations"), i, 1)*(kernel[i]-1) + 1
		stride := max(at(n.Ints("strides"), i, 1), 1)
		if transposed {
			out[i+2] = (in[i+2]-1)*stride - pads + reach + at(n.Ints("output_padding"), i, 0)
		} else {
			out[i+2] = (in[i+2]+pads-reach)/stride + 1
		}
		out[i+2] = max(out[i+2], -1)
	}
	return out
}

// at returns list[i], or def where the list is shorter.
func at(list []int64, i int, def int64) int64 {
	if i < len(list) {
		return list[i]
	}
	return def
}

// joined is the shape of a Concat.
func (s shapes) joined(n *Node) []int64 {
	out := slices.Clone(s[n.Input(0)])
	axis := n.Int("axis", 0)
	if axis < 0 {
		axis += int64(len(out))
	}
	if axis < 0 || axis >= int64(len(out)) {
		return nil
	}
	for _, name := range n.Inputs[1:] {
		in := s[name]
		if len(in) != len(out) {
			return nil
		}
		if in[axis] < 0 || out[axis] < 0 {
			out[axis] = -1
		} else {
			out[axis] += in[axis]
		}
		for k := range out {
			if int64(k) != axis && out[k] < 0 {
				out[k] = in[k]
			}
		}
	}
	return out
}

// unsqueezed is the shape after an Unsqueeze by constant axes, which are an
// input from operator set 13 on.
func unsqueezed(n *Node, in []int64, x *Index) []int64 {
	axes := n.Ints("axes")
	if t := x.Constant(n.Input(1)); t != nil {
		axes, _ = t.Int64() // nil when it is no integer tensor
	}
	if in == nil || len(axes) == 0 {
		return nil
	}
	out := make([]int64, len(in)+len(axes))
	for _, a := range axes {
		if a < 0 {
			a += int64(len(out))
		}
		if a < 0 || a >= int64(len(out)) {
			return nil
		}
		out[a] = 1
	}
	for i, k := 0, 0; i < len(out) && k < len(in); i++ {
		if out[i] == 0 {
			out[i] = in[k]
			k++
		}
	}
	return out
}

// transposed is the shape with the axes in another order; no order reverses them.
func transposed(in, perm []int64) []int64 {
	if in == nil {
		return nil
	}
	out := slices.Clone(in)
	if len(perm) == 0 {
		slices.Reverse(out)
		return out
	}
	if len(perm) != len(in) {
		return nil
	}
	for i, a := range perm {
		if a < 0 || a >= int64(len(in)) {
			return nil
		}
		out[i] = in[a]
	}
	return out
}

// reduced is the shape after a reduction over constant axes.
func reduced(n *Node, in []int64, x *Index) []int64 {
	axes := n.reductionAxes(len(in), x)
	if axes == nil {
		return nil
	}
	out := slices.Clone(in)
	for _, a := range axes { // last first
		if n.Int("keepdims", 1) == 0 {
			out = slices.Delete(out, int(a), int(a)+1)
		} else {
			out[a] = 1
		}
	}
	return out
}

// reductionAxes returns the constant axes of a reduction of a value of that
// rank, last first, or nil. From some operator set on they are an input.
func (n *Node) reductionAxes(rank int, x *Index) []int64 {
	axes := n.Ints("axes")
	if t := x.Constant(n.Input(1)); t != nil {
		axes, _ = t.Int64() // nil when it is no integer tensor
	}
	var out []int64
	for _, a := range axes {
		if a < 0 {
			a += int64(rank)
		}
		if a < 0 || a >= int64(rank) {
			return nil
		}
		out = append(out, a)
	}
	slices.Sort(out)
	slices.Reverse(out)
	return slices.Compact(out)
}

// shapeOf returns the shape of the value whose Shape the named value is, or nil.
func (s shapes) shapeOf(name string, x *Index) []int64 {
	p := x.Producer(name)
	if p == nil || !p.Is("Shape") || p.Int("start", 0) != 0 || p.Attr("end") != nil {
		return nil
	}
	return s[p.Input(0)]
}

// unknown returns a shape of that rank without sizes; nil for rank 0, which
// stands for an unknown rank here.
func unknown(rank int) []int64 {
	if rank == 0 {
		return nil
	}
	return slices.Repeat([]int64{-1}, rank)
}

// reshaped is the shape after a Reshape to a constant target.
func reshaped(in []int64, target *Tensor) []int64 {
	if target == nil {
		return nil
	}
	out, err := target.Int64()
	if err != nil {
		return nil
	}
	rest, free := known(in), -1
	for i, d := range out {
		if d == 0 {
			d = at(in, i, -1)
			out[i] = d
		}
		switch {
		case d == -1:
			free = i
		case rest > 0 && d > 0 && rest%d == 0:
			rest /= d
		default:
			rest = 0
		}
	}
	if free >= 0 && rest > 0 && in != nil && !slices.Contains(slices.Delete(slices.Clone(out), free, free+1), -1) {
		out[free] = rest
	}
	return out
}

// known returns the number of elements of a fully known shape, otherwise 0.
func known(s []int64) int64 {
	if s == nil || slices.ContainsFunc(s, func(d int64) bool { return d < 1 }) {
		return 0
	}
	return max(int64((&Tensor{Dims: s}).Len()), 0)
}

// resized is the shape after a Resize by constant scales or sizes.
func resized(in []int64, n *Node, x *Index) []int64 {
	mode := n.Attr("coordinate_transformation_mode")
	if n.Attr("axes") != nil || n.Attr("keep_aspect_ratio_policy") != nil || (mode != nil && mode.String == "tf_crop_and_resize") {
		return unknown(len(in))
	}
	if t := x.Constant(n.Input(3)); t != nil {
		if v, err := t.Int64(); err == nil && len(v) == len(in) {
			return v
		}
	}
	out := unknown(len(in))
	if t := x.Constant(n.Input(2)); t != nil {
		if v, err := t.Float32(); err == nil && len(v) == len(in) {
			for i := range in {
				if in[i] >= 0 {
					out[i] = int64(float32(in[i]) * v[i])
				}
			}
		}
	}
	return out
}
