package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// Memory estimates the bytes that a step of the program takes while it runs,
// without what the process and ONNX Runtime take for themselves: both sets of
// the state, the batch, the masks, constants, and the largest amount of
// intermediate values that are alive at one time when the nodes run in their
// order. ONNX Runtime orders and rounds in its own way: what it really takes has
// been 0.8 to 1.5 times as much.
func (p *Program) Memory() int64 { return p.memory }

// arenaPays is the estimate up to which ONNX Runtime keeps freed memory for the
// next operator. It doubles the pieces that it asks the system for: with large
// values that is up to half as much again as they need, and the time saved is
// lost in their arithmetic.
const arenaPays = 512 << 20

// footprint computes Memory from the types of the graph's values.
func (b *builder) footprint(p *Program) int64 {
	bytes := func(name string) int64 {
		t := b.g.info[name]
		return size(t.shape) * int64(t.typ.Size())
	}
	var fixed int64
	for _, l := range p.masks {
		fixed += int64(l.Len()) // the set for the next pass
	}
	outer := map[string]bool{}
	for _, v := range slices.Concat(p.graph.Graph.Inputs, p.graph.Graph.Outputs) {
		outer[v.Name] = true
		n := size(v.Shape()) * int64(v.Type.Size())
		if name, next := cutSuffix(v.Name); next || p.isState(name) || p.parameter(name) != nil {
			n *= 2
		}
		fixed += n
	}
	for _, t := range p.graph.Graph.Initializers {
		fixed += bytes(t.Name)
	}
	return fixed + peak(p.graph.Graph, outer, bytes)
}

// isView tells whether a node's result is its input's memory under another name.
func isView(n *onnx.Node) bool {
	return n.Is("Reshape") || n.Is("Identity") || n.Is("Squeeze") || n.Is("Unsqueeze")
}

// peak is the largest number of bytes of values that are computed already and
// still needed, over the graph's nodes in order. outer values count elsewhere.
func peak(g *onnx.Graph, outer map[string]bool, bytes func(string) int64) int64 {
	root := map[string]string{} // a view → the value whose memory it shares
	of := func(name string) string {
		if r, ok := root[name]; ok {
			return r
		}
		return name
	}
	last := map[string]int{}
	for i, n := range g.Nodes {
		if isView(n) {
			root[n.Outputs[0]] = of(n.Inputs[0])
		}
		for _, name := range n.Inputs {
			last[of(name)] = i
		}
	}
	ends := make([]int64, len(g.Nodes))
	var live, most int64
	for i, n := range g.Nodes {
		for _, name := range n.Outputs {
			if of(name) == name && name != "" && !outer[name] {
				live += bytes(name)
				ends[max(i, last[name])] += bytes(name)
			}
		}
		most = max(most, live)
		live -= ends[i]
	}
	return most
}
