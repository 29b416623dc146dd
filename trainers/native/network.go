package native

import (
	"path"
	"slices"

	"github.com/voxloop/voxloop/internal/dropout"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// Operator sets that the compiler understands. Older files are read as minOpset
// means them up to stepOpset, which only adds to it.
const (
	minOpset  = 13
	stepOpset = 17
)

// network is a model made ready for compilation.
type network struct {
	model      *onnx.Model
	parameters []*onnx.Tensor // candidates for training, in the file's order
	statistics []*onnx.Tensor // running mean and variance of batch normalisations
}

// readNetwork copies m, unties merged parameters and sorts its constants.
func readNetwork(m *onnx.Model, frozen []string) (*network, error) {
	n := &network{model: m.Clone()}
	if v := m.Opset(""); v < minOpset {
		return nil, fault.New(fault.Invalid, "the network cannot be trained: its operator set is %d; export it with %d or newer (17 is a good choice)", v, minOpset)
	}
	if err := n.model.Graph.Sort(); err != nil {
		return nil, err
	}
	n.untie()
	return n, n.sort(frozen)
}

// untie gives every Identity of a parameter a parameter of its own: exporters
// merge parameters that happen to be equal (fresh norms: all ones, all zeros).
func (n *network) untie() {
	g := n.model.Graph
	x := g.Index()
	inits := map[string]*onnx.Tensor{}
	for _, t := range g.Initializers {
		inits[t.Name] = t
	}
	for _, v := range g.Inputs {
		delete(inits, v.Name) // a default that callers may override
	}
	g.Nodes = slices.DeleteFunc(g.Nodes, func(node *onnx.Node) bool {
		if !node.Is("Identity") || len(node.Inputs) != 1 || x.IsOutput(node.Outputs[0]) {
			return false
		}
		t := inits[node.Inputs[0]]
		if t == nil {
			return false
		}
		own := *t
		own.Name, own.Dims = node.Outputs[0], slices.Clone(t.Dims)
		g.Initializers = append(g.Initializers, &own)
		inits[own.Name] = &own
		return true
	})
}

// sort finds the candidates for training: float32 initializers that no caller
// can override, except running statistics and numbers that only arithmetic
// reads (√2 of a GELU).
func (n *network) sort(frozen []string) error {
	g := n.model.Graph
	x := g.Index()
	inputs := map[string]bool{}
	for _, v := range g.Inputs {
		inputs[v.Name] = true
	}
	used := make([]bool, len(frozen))
	for _, t := range g.Initializers {
		if t.Type != onnx.Float32 || inputs[t.Name] {
			continue
		}
		hold, err := matches(frozen, used, t.Name)
		switch {
		case err != nil:
			return err
		case isStatistic(x, t.Name):
			n.statistics = append(n.statistics, t)
		case !hold && !isNumber(x, t):
			n.parameters = append(n.parameters, t)
		}
	}
	for i, u := range used {
		if !u {
			return fault.New(fault.Invalid, "the pattern %q of frozen parameters matches none of them", frozen[i])
		}
	}
	return nil
}

func matches(patterns []string, used []bool, name string) (bool, error) {
	hit := false
	for i, p := range patterns {
		ok, err := path.Match(p, name)
		if err != nil {
			return false, fault.New(fault.Invalid, "the pattern %q of frozen parameters cannot be read", p)
		}
		if ok {
			hit, used[i] = true, true
		}
	}
	return hit, nil
}

// isStatistic tells whether only batch normalisations read a value, as their
// running statistics.
func isStatistic(x *onnx.Index, name string) bool {
	readers := x.Consumers(name)
	for _, n := range readers {
		if !n.Is("BatchNormalization") || (n.Input(3) != name && n.Input(4) != name) {
			return false
		}
	}
	return len(readers) > 0
}

var arithmetic = []string{"Add", "Sub", "Mul", "Div", "Pow", "Clip", "Min", "Max", "Where", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}

// isNumber tells whether t is a single value that only arithmetic reads.
func isNumber(x *onnx.Index, t *onnx.Tensor) bool {
	if t.Len() != 1 {
		return false
	}
	return !slices.ContainsFunc(x.Consumers(t.Name), func(n *onnx.Node) bool { return !slices.Contains(arithmetic, n.Op) })
}

// load compiles the forward pass into g. Parameters and, in training form,
// running statistics are left open: values without a producer.
func (n *network) load(g *graph, shapes map[string][]int64) {
	unified, err := dropout.Unify(n.model, g.dropout.Ratio)
	if err != nil {
		g.err = err
		return
	}
	mg := unified.Graph
	open := n.parameters
	if g.batchStatistics {
		open = slices.Concat(open, n.statistics)
	}
	for _, t := range mg.Initializers {
		g.setTensor(t.Name, t)
	}
	for _, t := range open {
		delete(g.consts, t.Name)
	}
	for _, t := range n.parameters {
		g.needs[t.Name] = true
	}
	for _, v := range mg.Inputs {
		shape, ok := shapes[v.Name]
		switch {
		case ok && v.Type == onnx.Float32:
			g.info[v.Name] = floats(shape)
		case g.consts[v.Name] == nil:
			g.fail("its input %q has no shape or is no float32", v.Name)
		}
	}
	for _, node := range mg.Nodes {
		if g.err != nil {
			return
		}
		g.load(node)
	}
}

// load compiles one node of the network.
func (g *graph) load(node *onnx.Node) {
	c := &call{g: g, node: node, in: slices.Clone(node.Inputs), out: slices.Clone(node.Outputs)}
	for len(c.out) > 1 && c.out[len(c.out)-1] == "" {
		c.out = c.out[:len(c.out)-1]
	}
	for i, name := range c.in {
		if stand, ok := g.alias[name]; ok {
			c.in[i] = stand
		}
	}
	if !c.infer() || c.fold() {
		return
	}
	if c.rule.forward != nil && (c.flows() || node.Is("Dropout") || (g.batchStatistics && node.Is("BatchNormalization"))) {
		g.taping = false
		stand := c.rule.forward(c)
		g.taping = true
		if stand != c.out[0] {
			g.alias[c.out[0]] = stand
		}
		if slices.Contains(c.in, stand) {
			return // the call does nothing
		}
		c.out[0] = stand
		c.record()
		return
	}
	c.emit()
	c.record()
}

// fold computes the call when everything it depends on is known.
func (c *call) fold() bool {
	if c.rule.fold == nil || len(c.out) != 1 || size(c.outShape()) > maxFold || (!c.rule.fromShape && !c.known()) {
		return false
	}
	a := c.rule.fold(c)
	if a == nil || c.g.err != nil {
		return false
	}
	c.g.setConstant(c.out[0], a)
	return true
}

// value returns the compiled value that stands for a value of the network.
func (g *graph) value(name string) string {
	if stand, ok := g.alias[name]; ok {
		return stand
	}
	return name
}
