package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// Mixed precision (Micikevicius and others, 2018): convolutions and matrix
// products get their operands rounded to half precision and give half precision
// back; parameters, moments, sums, normalisations and the loss stay in single
// precision. Scaling keeps small gradients from vanishing. Matrix products that
// only rearrange or interpolate (a constant operand) stay exact.

// halved returns nodes with the products of operands in half precision.
func (b *builder) halved(nodes []*onnx.Node) []*onnx.Node {
	h := &halver{graph: b.g, half: map[string]string{}}
	for _, n := range nodes {
		if h.suits(n) {
			h.replace(n)
		} else {
			h.nodes = append(h.nodes, n)
		}
	}
	return h.nodes
}

type halver struct {
	*graph
	half  map[string]string // value → the same in half precision
	nodes []*onnx.Node
}

func (h *halver) suits(n *onnx.Node) bool {
	matrix := n.Op == "MatMul" || n.Op == "Gemm"
	if !matrix && n.Op != "Conv" && n.Op != "ConvTranspose" {
		return false
	}
	return !slices.ContainsFunc(n.Inputs[:2], func(s string) bool {
		return h.info[s].typ != onnx.Float32 || matrix && h.consts[s] != nil
	})
}

// replace puts casts around a node.
func (h *halver) replace(n *onnx.Node) {
	for i, name := range n.Inputs {
		if name == "" {
			continue
		}
		if h.half[name] == "" {
			h.half[name] = h.castTo(name, onnx.Float16)
		}
		n.Inputs[i] = h.half[name]
	}
	out := n.Outputs[0]
	n.Outputs[0] = h.names.New(out)
	n.Name = n.Outputs[0]
	h.info[n.Outputs[0]] = info{onnx.Float16, h.shape(out)}
	h.nodes = append(h.nodes, n, castNode(n.Outputs[0], out, onnx.Float32))
}

func (h *halver) castTo(name string, t onnx.DataType) string {
	out := h.names.New(name)
	h.info[out] = info{t, h.shape(name)}
	h.nodes = append(h.nodes, castNode(name, out, t))
	return out
}

func castNode(in, out string, t onnx.DataType) *onnx.Node {
	return &onnx.Node{Name: out, Op: "Cast", Inputs: []string{in}, Outputs: []string{out}, Attrs: []*onnx.Attr{onnx.IntAttr("to", int64(t))}}
}
