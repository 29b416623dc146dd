package onnx

import (
	"slices"
	"strconv"
)

// Index answers who makes and who uses the values of one graph. It is a
// snapshot: edits of the graph do not reach it.
type Index struct {
	producers    map[string]*Node
	consumers    map[string][]*Node
	initializers map[string]*Tensor
	outputs      map[string]bool
	graphInputs  map[string]bool
}

// Index builds the lookup tables of g. A node whose subgraphs capture a value
// counts as its consumer.
func (g *Graph) Index() *Index {
	x := &Index{
		producers: map[string]*Node{}, consumers: map[string][]*Node{}, initializers: map[string]*Tensor{},
		outputs: map[string]bool{}, graphInputs: map[string]bool{},
	}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			if o != "" {
				x.producers[o] = n
			}
		}
		for _, name := range n.reads() {
			x.consumers[name] = append(x.consumers[name], n)
		}
	}
	for _, t := range g.Initializers {
		x.initializers[t.Name] = t
	}
	for _, v := range g.Outputs {
		x.outputs[v.Name] = true
	}
	for _, v := range g.Inputs {
		x.graphInputs[v.Name] = true
	}
	return x
}

// Producer returns the node that computes the value, or nil for inputs,
// initializers and unknown names.
func (x *Index) Producer(name string) *Node { return x.producers[name] }

// Consumers returns the nodes that read the value, each once, in order.
func (x *Index) Consumers(name string) []*Node { return x.consumers[name] }

// IsOutput reports whether the value is an output of the graph.
func (x *Index) IsOutput(name string) bool { return x.outputs[name] }

// Constant returns the value of an initializer that no caller can override,
// or of a Constant node with a tensor; nil for anything else. Identity nodes
// in between are looked through.
func (x *Index) Constant(name string) *Tensor {
	for range maxDepth {
		if t := x.initializers[name]; t != nil && !x.graphInputs[name] {
			return t
		}
		n := x.producers[name]
		switch {
		case n == nil:
			return nil
		case n.Is("Constant"):
			return n.constant()
		case n.Is("Identity") && len(n.Inputs) == 1:
			name = n.Inputs[0]
		default:
			return nil
		}
	}
	return nil
}

// constant returns the value of a Constant node as a tensor, or nil for
// sparse and text values.
func (n *Node) constant() *Tensor {
	for _, a := range n.Attrs {
		switch {
		case a.Name == "value" && a.Type == AttrTensor:
			return a.Tensor
		case a.Name == "value_float" && a.Type == AttrFloat:
			return NewFloat32("", nil, []float32{a.Float})
		case a.Name == "value_floats" && a.Type == AttrFloats:
			return NewFloat32("", []int64{int64(len(a.Floats))}, a.Floats)
		case a.Name == "value_int" && a.Type == AttrInt:
			return NewInt64("", nil, []int64{a.Int})
		case a.Name == "value_ints" && a.Type == AttrInts:
			return NewInt64("", []int64{int64(len(a.Ints))}, a.Ints)
		}
	}
	return nil
}

// reads returns the names that n uses, each once: its inputs, and what its
// subgraphs take from outside.
func (n *Node) reads() []string {
	var names []string
	seen := make(map[string]bool, len(n.Inputs))
	add := func(name string) {
		if name != "" && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for _, in := range n.Inputs {
		add(in)
	}
	for _, a := range n.Attrs {
		for _, sub := range a.graphs() {
			for _, name := range sub.captures() {
				add(name)
			}
		}
	}
	return names
}

// captures returns the names that g uses but does not define.
func (g *Graph) captures() []string {
	own := map[string]bool{}
	for _, v := range g.Inputs {
		own[v.Name] = true
	}
	for _, t := range g.Initializers {
		own[t.Name] = true
	}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			own[o] = true
		}
	}
	var names []string
	add := func(name string) {
		if name != "" && !own[name] {
			own[name] = true // each once
			names = append(names, name)
		}
	}
	for _, n := range g.Nodes {
		for _, name := range n.reads() {
			add(name)
		}
	}
	for _, v := range g.Outputs {
		add(v.Name)
	}
	return names
}

// Names makes names that are new to a graph and its subgraphs.
type Names struct {
	taken map[string]bool
	next  map[string]int // base → first number to try
}

// Names returns a generator that knows every name in use in g.
func (g *Graph) Names() *Names {
	s := &Names{taken: map[string]bool{}, next: map[string]int{}}
	s.take(g)
	return s
}

func (s *Names) take(g *Graph) {
	for _, list := range [][]*Value{g.Inputs, g.Outputs, g.Values} {
		for _, v := range list {
			s.taken[v.Name] = true
		}
	}
	for _, t := range g.Initializers {
		s.taken[t.Name] = true
	}
	for _, n := range g.Nodes {
		s.taken[n.Name] = true
		for _, name := range slices.Concat(n.Inputs, n.Outputs) {
			s.taken[name] = true
		}
		for _, a := range n.Attrs {
			for _, sub := range a.graphs() {
				s.take(sub)
			}
		}
	}
}

// New returns base, or base with the first free number behind it, and takes it.
func (s *Names) New(base string) string {
	name := base
	for s.taken[name] {
		s.next[base]++
		name = base + "_" + strconv.Itoa(s.next[base])
	}
	s.taken[name] = true
	return name
}
