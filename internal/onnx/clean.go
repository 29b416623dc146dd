package onnx

import "slices"

// removeIdentities takes Identity nodes out: readers read the source. An
// Identity stays where its result is an output of the graph, or is captured by
// a subgraph.
func (r *rewriter) removeIdentities() {
	source := map[string]string{}
	kept := make([]*Node, 0, len(r.g.Nodes))
	for _, n := range r.g.Nodes { // in topological order: sources are resolved first
		for i, in := range n.Inputs {
			if s, ok := source[in]; ok {
				n.Inputs[i] = s
			}
		}
		if n.Is("Identity") && len(n.Inputs) == 1 && len(n.Outputs) == 1 && !r.x.IsOutput(n.Outputs[0]) && !r.captured(n.Outputs[0]) {
			source[n.Outputs[0]] = n.Inputs[0]
			r.note(n.Name, 1)
			continue
		}
		kept = append(kept, n)
	}
	r.g.Nodes = kept
}

// captured reports whether a subgraph reads the value from outside.
func (r *rewriter) captured(name string) bool {
	for _, n := range r.x.Consumers(name) {
		for _, a := range n.Attrs {
			if len(a.graphs()) > 0 {
				return true
			}
		}
	}
	return false
}

// removeDead takes out nodes whose results nobody reads, and constants that
// only they read.
func (r *rewriter) removeDead() {
	needed := r.g.needed()
	kept := make([]*Node, 0, len(needed))
	read := map[string]bool{}
	for _, v := range r.g.Outputs {
		read[v.Name] = true
	}
	for _, n := range r.g.Nodes {
		if !needed[n] {
			continue
		}
		kept = append(kept, n)
		for _, name := range n.reads() {
			read[name] = true
		}
	}
	if dead := len(r.g.Nodes) - len(kept); dead > 0 {
		r.note("", dead)
	}
	r.g.Nodes = kept
	r.dropInitializers(read)
}

// needed returns the nodes that an output hangs on. Nodes must stand in order.
func (g *Graph) needed() map[*Node]bool {
	read := map[string]bool{}
	for _, v := range g.Outputs {
		read[v.Name] = true
	}
	needed := map[*Node]bool{}
	for _, n := range slices.Backward(g.Nodes) {
		if !slices.ContainsFunc(n.Outputs, func(o string) bool { return read[o] }) {
			continue
		}
		needed[n] = true
		for _, name := range n.reads() {
			read[name] = true
		}
	}
	return needed
}

// dropInitializers removes constants that are neither needed nor inputs.
func (r *rewriter) dropInitializers(needed map[string]bool) {
	for _, v := range r.g.Inputs {
		needed[v.Name] = true
	}
	kept := r.g.Initializers[:0]
	for _, t := range r.g.Initializers {
		if needed[t.Name] {
			kept = append(kept, t)
		}
	}
	r.g.Initializers = kept
}

// Prune takes out nodes that no output hangs on, and constants that only they
// read. A cycle is an error of kind fault.Invalid.
func (m *Model) Prune() error {
	if err := m.Graph.Sort(); err != nil {
		return err
	}
	r := &rewriter{g: m.Graph}
	r.removeDead()
	return nil
}
