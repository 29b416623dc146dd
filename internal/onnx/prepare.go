package onnx

import "slices"

// PrepareOptions say what a model is prepared for.
type PrepareOptions struct {
	Provider string // execution provider: "cpu", "openvino" or "cuda"
}

// Applied tells that a rewrite was used.
type Applied struct {
	Rule  string // name of the rewrite, see docs/decisions/001-graph-rewrites.md
	Node  string // the node it replaced, or "" for a rule on the whole graph
	Count int    // how many nodes of the model the rule replaced there
}

// rule is one graph rewrite. run changes the rewriter's graph and records
// what it did.
type rule struct {
	name      string
	providers []string // where it is faster or needed for the tolerance
	run       func(*rewriter)
}

// rules are applied in this order. Which provider uses which rule was
// measured: docs/decisions/001-graph-rewrites.md.
var rules = []rule{
	{"identity", []string{"cpu", "openvino", "cuda"}, (*rewriter).removeIdentities},
	{"prelu", []string{"cpu", "openvino"}, (*rewriter).leakyRelu},
	{"groupnorm", []string{"cpu", "openvino"}, (*rewriter).groupNorm},
	{"instancenorm", []string{"cpu", "openvino"}, (*rewriter).instanceNorm},
	{"mean", []string{"cpu", "openvino"}, (*rewriter).mean},
	{"upconv", []string{"cpu", "openvino"}, (*rewriter).upConv},
	{"dead", []string{"cpu", "openvino", "cuda"}, (*rewriter).removeDead},
}

// minOpset is the oldest operator set that the rewrites produce nodes for.
const minOpset = 11

// Prepare returns a copy of m with the rewrites that pay off or are needed on
// the provider; fix the input shapes first. The model computes the same up to
// rounding, or closer to exact arithmetic. Models of operator sets before 11
// come back unchanged. An error has kind fault.Invalid: the graph is cyclic.
func Prepare(m *Model, o PrepareOptions) (*Model, []Applied, error) {
	chosen := slices.DeleteFunc(slices.Clone(rules), func(r rule) bool { return !slices.Contains(r.providers, o.Provider) })
	return prepare(m, o, chosen)
}

// prepare applies the chosen rules in their order.
func prepare(m *Model, o PrepareOptions, chosen []rule) (*Model, []Applied, error) {
	out := m.Clone()
	if out.Opset("") < minOpset {
		return out, nil, nil
	}
	if err := out.Graph.Sort(); err != nil {
		return nil, nil, err
	}
	r := &rewriter{g: out.Graph, opset: out.Opset(""), provider: o.Provider, names: out.Graph.Names()}
	for _, c := range chosen {
		r.rule, r.x, r.shapes = c.name, r.g.Index(), nil
		c.run(r)
	}
	if len(r.applied) > 0 {
		out.Graph.Values = nil // types of values that may be gone
	}
	return out, r.applied, out.Graph.Sort()
}

// rewriter is the state of one Prepare.
type rewriter struct {
	g        *Graph
	x        *Index // of the graph as the present rule found it
	names    *Names
	opset    int64
	provider string
	rule     string
	applied  []Applied
	shapes   shapes // as the present rule found it; nil until asked for
}

// shape returns the static shape of a value as far as it is known: -1 for a
// free axis, nil when the rank is unknown.
func (r *rewriter) shape(name string) []int64 {
	if r.shapes == nil {
		r.shapes = inferShapes(r.g, r.x)
	}
	return r.shapes[name]
}

// replace offers every node with inputs and one output to fn, which returns
// the nodes to put in its place (the last one computes the output), or nil to
// keep it.
func (r *rewriter) replace(fn func(n *Node) []*Node) {
	nodes := make([]*Node, 0, len(r.g.Nodes))
	for _, n := range r.g.Nodes {
		var sub []*Node
		if len(n.Inputs) > 0 && len(n.Outputs) == 1 && n.Outputs[0] != "" {
			sub = fn(n)
		}
		if sub == nil {
			nodes = append(nodes, n)
			continue
		}
		nodes = append(nodes, sub...)
		r.note(n.Name, 1)
	}
	r.g.Nodes = nodes
}

func (r *rewriter) note(node string, count int) {
	r.applied = append(r.applied, Applied{Rule: r.rule, Node: node, Count: count})
}

// block builds the nodes that replace one node. Names of new values start
// with prefix.
type block struct {
	r      *rewriter
	prefix string
	nodes  []*Node
}

func (r *rewriter) block(n *Node) *block {
	return &block{r: r, prefix: n.Outputs[0] + "/" + r.rule}
}

// op appends a node with one output of a new name, which it returns.
func (b *block) op(op string, inputs []string, attrs ...*Attr) string {
	name := b.r.names.New(b.prefix + "/" + op)
	b.nodes = append(b.nodes, &Node{Name: name, Op: op, Inputs: inputs, Outputs: []string{name}, Attrs: attrs})
	return name
}

// finish makes the last node compute output, and returns all nodes.
func (b *block) finish(output string) []*Node {
	b.nodes[len(b.nodes)-1].Outputs[0] = output
	return b.nodes
}

// ints adds a constant vector of int64 and returns its name.
func (b *block) ints(values ...int64) string {
	name := b.r.names.New(b.prefix + "/ints")
	b.r.g.Initializers = append(b.r.g.Initializers, NewInt64(name, []int64{int64(len(values))}, values))
	return name
}

// floats adds a float32 constant and returns its name.
func (b *block) floats(dims []int64, values ...float32) string {
	name := b.r.names.New(b.prefix + "/floats")
	b.r.g.Initializers = append(b.r.g.Initializers, NewFloat32(name, dims, values))
	return name
}

// reduce appends a reduction over one axis, which stays with size 1; from
// operator set 18 on the axes are an input.
func (b *block) reduce(op, in string, axis int64) string {
	if b.r.opset < 18 {
		return b.op(op, []string{in}, IntsAttr("axes", axis), IntAttr("keepdims", 1))
	}
	return b.op(op, []string{in, b.ints(axis)}, IntAttr("keepdims", 1))
}
