package dropout

import (
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// site is one dropout of a network: out = x where it is kept, times the scale.
type site struct {
	node   *onnx.Node // the last of its nodes, which computes out
	x, out string
	ratio  float64      // negative where it is not a constant
	shared bool         // its mask is used elsewhere in the network
	inner  []*onnx.Node // other nodes that serve this dropout only
}

// finder looks for the dropouts of a graph.
type finder struct {
	x     *onnx.Index
	inits map[string]*onnx.Tensor
}

// find returns the dropouts of a graph in the order of its nodes: Dropout
// nodes, and products with RandomUniformLike(x) >= p divided by 1 - p.
func find(g *onnx.Graph) []site {
	f := finder{x: g.Index(), inits: map[string]*onnx.Tensor{}}
	for _, t := range g.Initializers {
		f.inits[t.Name] = t
	}
	var out []site
	for _, n := range g.Nodes {
		switch {
		case n.Is("Dropout") && len(n.Outputs) > 0:
			shared := len(n.Outputs) > 1 && n.Outputs[1] != "" && (len(f.x.Consumers(n.Outputs[1])) > 0 || f.x.IsOutput(n.Outputs[1]))
			out = append(out, site{node: n, x: n.Input(0), out: n.Outputs[0], ratio: f.ratio(n), shared: shared})
		case n.Is("Mul"):
			if s, ok := f.written(n); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

// ratio of a Dropout node: an input, an attribute before operator set 12, or
// one half.
func (f finder) ratio(n *onnx.Node) float64 {
	if name := n.Input(1); name != "" {
		return f.number(name)
	}
	return float64(n.Float("ratio", 0.5))
}

// maxDepth bounds the walk through nodes that change the shape only.
const maxDepth = 8

// number returns the value of a constant or of an input's default with one
// element, -1 for anything else.
func (f finder) number(name string) float64 {
	for range maxDepth {
		t := f.x.Constant(name)
		if t == nil {
			t = f.inits[name]
		}
		if t != nil {
			v, err := t.Float32()
			if err != nil || len(v) != 1 {
				return -1
			}
			return float64(v[0])
		}
		n := f.x.Producer(name)
		if n == nil || !slices.Contains([]string{"Identity", "Squeeze", "Unsqueeze", "Reshape"}, n.Op) {
			return -1
		}
		name = n.Input(0)
	}
	return -1
}

// written recognises a dropout that is written out, at its product of x and
// the mask.
func (f finder) written(mul *onnx.Node) (site, bool) {
	for i, m := range mul.Inputs {
		x := mul.Inputs[1-i]
		div := f.single(m, "Div")
		if div == nil {
			continue
		}
		cast := f.single(div.Input(0), "Cast")
		if cast == nil || cast.Int("to", 0) != int64(onnx.Float32) {
			continue
		}
		compare := f.single(cast.Input(0), "GreaterOrEqual")
		if compare == nil {
			continue
		}
		random, p := f.single(compare.Input(0), "RandomUniformLike"), compare.Input(1)
		if random == nil || random.Input(0) != x || random.Float("low", 0) != 0 || random.Float("high", 1) != 1 || !f.complement(div.Input(1), p) {
			continue
		}
		return site{node: mul, x: x, out: mul.Outputs[0], ratio: f.number(p), inner: []*onnx.Node{div, cast, compare, random}}, true
	}
	return site{}, false
}

// single returns the node that computes a value when it has this operator and
// one reader.
func (f finder) single(name, op string) *onnx.Node {
	n := f.x.Producer(name)
	if n == nil || !n.Is(op) || len(f.x.Consumers(name)) != 1 || f.x.IsOutput(name) {
		return nil
	}
	return n
}

// complement tells whether q is 1 - p.
func (f finder) complement(q, p string) bool {
	n := f.x.Producer(q)
	return n != nil && n.Is("Sub") && n.Input(1) == p && f.number(n.Input(0)) == 1
}

// replace puts other nodes in the place of every site's. Nodes for that the
// network has no more use stay: they compute nothing random.
func replace(g *onnx.Graph, sites []site, with func(s site) []*onnx.Node) {
	last := map[*onnx.Node]site{}
	gone := map[*onnx.Node]bool{}
	for _, s := range sites {
		last[s.node] = s
		for _, n := range s.inner {
			gone[n] = true
		}
	}
	var nodes []*onnx.Node
	for _, n := range g.Nodes {
		if s, ok := last[n]; ok {
			nodes = append(nodes, with(s)...)
		} else if !gone[n] {
			nodes = append(nodes, n)
		}
	}
	g.Nodes = nodes
}

// chosen returns the ratio of a site, or the one that takes the place of all
// of them.
func (s site) chosen(override float64) (float64, error) {
	if s.shared {
		return 0, fault.New(fault.Invalid, "node %q (Dropout): its mask is used elsewhere in the network, which is not supported", s.node.Name)
	}
	ratio := s.ratio
	if override > 0 {
		ratio = override
	}
	if !(ratio >= 0 && ratio < 1) {
		return 0, fault.New(fault.Invalid, "node %q (%s): the ratio of a dropout must be a constant in [0, 1), or be given", s.node.Name, s.node.Op)
	}
	return ratio, nil
}
