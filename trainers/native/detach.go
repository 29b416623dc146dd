package native

import (
	"fmt"
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// What depends on the weights alone is the same in every part of a step: the
// kernels of transposed convolutions and of data gradients are rearrangements of
// them. And the last operators of a weight's gradient only rearrange it, which
// after the sum over all parts gives what it gives before. So a step of several
// parts has four kinds of graphs: prepare (weights → what is derived from them),
// once; the parts (derived, image, labels → loss, raw gradients); finish (sum of
// the raw gradients → gradients), once; apply (the optimizer).

// detached is what is computed once in a step of several parts.
type detached struct {
	prepare, finish []*onnx.Model // pieces to be run at the same time
	slots           []slot        // what a part hands over
	raw             int64         // elements of the gradients that finish works on
}

// slot is the gradient of one parameter as a part computes it.
type slot struct {
	name string    // of the value in the graph of a part
	at   span      // its place: in the gradient, or among the raw ones
	done string    // output of finish that it becomes; "" where it is in order as it is
	of   Parameter // whose gradient that is
}

// span is a part of a vector.
type span struct{ from, size int64 }

func (s span) of(v []float32) []float32 { return v[s.from : s.from+s.size] }

// gradients are the vectors that hold the slots of one part, or their sums.
type gradients struct {
	whole []float32 // in the order of the parameters; finish fills what is in raw
	raw   []float32
}

func (p *Program) newGradients() gradients {
	return gradients{make([]float32, total(p.parameters)), make([]float32, p.apart.raw)}
}

func (g gradients) slot(s slot) []float32 {
	if s.done != "" {
		return s.at.of(g.raw)
	}
	return s.at.of(g.whole)
}

// add adds those of another part.
func (g gradients) add(other gradients, slots []slot) {
	for _, s := range slots {
		addTo(g.slot(s), other.slot(s))
	}
}

// set takes over those of another part.
func (g gradients) set(other gradients, slots []slot) {
	for _, s := range slots {
		copy(g.slot(s), other.slot(s))
	}
}

func partName(i int) string { return fmt.Sprint(outPart, i) }

// detach cuts the graph of a whole part into the pieces of detached and the rest,
// which it returns. pieces is how many may run at the same time.
func (b *builder) detach(p *Program, whole *onnx.Model, pieces int) *onnx.Model {
	d := &cutter{builder: b, p: p, whole: whole, index: whole.Graph.Index()}
	d.findDerived()
	outputs := slices.DeleteFunc(slices.Clone(whole.Graph.Outputs), func(v *onnx.Value) bool { return isPart(p, v.Name) })
	tails := d.slots()
	for _, s := range p.apart.slots {
		outputs = append(outputs, d.value(s.name))
	}
	p.apart.prepare = d.pieces(pieces, d.derived, d.roots)
	p.apart.finish = d.pieces(pieces, tails, func(v string) []string { return []string{d.raw[v]} })
	inputs := slices.Clone(whole.Graph.Inputs)
	for _, name := range d.derived {
		inputs = append(inputs, d.value(name))
	}
	rest := d.extract(inputs, outputs)
	rest.Graph.Inputs = slices.DeleteFunc(rest.Graph.Inputs, func(v *onnx.Value) bool {
		return d.parameter(v.Name) && !slices.ContainsFunc(rest.Graph.Nodes, func(n *onnx.Node) bool { return slices.Contains(n.Inputs, v.Name) })
	})
	return rest
}

func isPart(p *Program, name string) bool {
	for i := range p.parameters {
		if name == partName(i) {
			return true
		}
	}
	return false
}

// cutter takes a graph apart.
type cutter struct {
	*builder
	p        *Program
	whole    *onnx.Model
	index    *onnx.Index
	constant map[string]bool   // values that depend on nothing
	of       map[string]bool   // values that depend on parameters and constants alone
	derived  []string          // those that the rest reads, in the order of the nodes
	raw      map[string]string // output of finish → the slot that it is made from
}

func (d *cutter) parameter(name string) bool { return d.p.parameter(name) != nil }

func (d *cutter) value(name string) *onnx.Value {
	t := d.g.info[name]
	return onnx.NewValue(name, t.typ, t.shape...)
}

func (d *cutter) size(name string) int64 { return size(d.g.shape(name)) }

// swollen is how many times a derived value may be as large as what it is made
// from: phase kernels have up to 64 taps for 27, an expanded bias is computed in
// every part instead of being kept.
const swollen = 4

// findDerived finds the values that depend on the weights alone.
func (d *cutter) findDerived() {
	d.of, d.constant = map[string]bool{}, map[string]bool{"": true}
	for _, t := range d.whole.Graph.Initializers {
		d.constant[t.Name] = true
	}
	for _, n := range d.whole.Graph.Nodes {
		var from int64
		alone, fixed := true, true
		for _, name := range n.Inputs {
			weight := d.of[name] || d.parameter(name)
			alone, fixed = alone && (weight || d.constant[name]), fixed && d.constant[name]
			if weight {
				from += d.size(name)
			}
		}
		alone = alone && !fixed && !slices.ContainsFunc(n.Outputs, func(s string) bool {
			return d.g.info[s].typ != onnx.Float32 || d.size(s) > swollen*from
		})
		for _, name := range n.Outputs {
			d.constant[name], d.of[name] = fixed, alone
		}
	}
	for _, n := range d.whole.Graph.Nodes {
		for _, name := range n.Outputs {
			if d.of[name] && !d.isView(name) && d.leaves(name) {
				d.derived = append(d.derived, name)
			}
		}
	}
}

// leaves tells whether a value is read by what does not depend on the weights
// alone, or by a view of it that is.
func (d *cutter) leaves(name string) bool {
	if d.index.IsOutput(name) {
		return true
	}
	return slices.ContainsFunc(d.index.Consumers(name), func(n *onnx.Node) bool {
		return !d.of[n.Outputs[0]] || isView(n) && d.leaves(n.Outputs[0])
	})
}

// isView tells whether a value is another's memory.
func (d *cutter) isView(name string) bool {
	n := d.index.Producer(name)
	return n != nil && isView(n)
}

// roots are the parameters that a derived value is made from.
func (d *cutter) roots(name string) []string {
	if d.parameter(name) {
		return []string{name}
	}
	n := d.index.Producer(name)
	if n == nil {
		return nil
	}
	var out []string
	for _, in := range n.Inputs {
		for _, r := range d.roots(in) {
			if !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	return out
}

// slots fills in the slots of the parameters and returns the outputs of finish.
func (d *cutter) slots() (tails []string) {
	p := d.p
	d.raw = map[string]string{}
	for i, t := range p.parameters {
		out := partName(i)
		name, moves := d.trace(out)
		s := slot{name: name, at: t.span(), of: t}
		if moves {
			for d.isView(out) { // which would be a copy
				out = d.index.Producer(out).Inputs[0]
			}
			s.at, s.done = span{p.apart.raw, d.size(name)}, out
			p.apart.raw += s.at.size
			d.raw[out] = name
			tails = append(tails, out)
		}
		p.apart.slots = append(p.apart.slots, s)
	}
	return tails
}

// trace goes back from a gradient as long as operators only rearrange it, at
// most to three times its size, and tells whether one of them moves data.
func (d *cutter) trace(out string) (name string, moves bool) {
	name = out
	for at, moved := out, false; ; {
		n := d.index.Producer(at)
		if n == nil || !d.rearranges(n) || !d.passes(n.Inputs[0]) || d.size(n.Inputs[0]) > 3*d.size(out) {
			return name, moves
		}
		at, moved = n.Inputs[0], moved || !isView(n)
		name, moves = at, moved
	}
}

// passes tells whether a value is computed for one reader alone.
func (d *cutter) passes(name string) bool {
	return d.index.Producer(name) != nil && !d.index.IsOutput(name) && len(d.index.Consumers(name)) == 1
}

// rearranges tells whether a node is linear in its first input and depends on
// nothing else. A product with a matrix of zeros and ones is exact, so summing
// before it gives the bits of summing behind it.
func (d *cutter) rearranges(n *onnx.Node) bool {
	switch n.Op {
	case "Reshape", "Identity", "Squeeze", "Unsqueeze", "Transpose", "Slice":
	case "MatMul", "Gemm":
		if len(n.Inputs) != 2 || !d.selects(n.Inputs[1]) {
			return false
		}
	default:
		return false
	}
	return !slices.ContainsFunc(n.Inputs[1:], func(s string) bool { return !d.constant[s] })
}

// selects tells whether a value is a matrix of zeros and ones with one 1 in
// every column at the most.
func (d *cutter) selects(name string) bool {
	a := d.g.constantOf(name)
	if a == nil || len(a.shape) != 2 {
		return false
	}
	ones := make([]int, a.shape[1])
	for i, v := range a.v {
		if v == 1 {
			ones[i%len(ones)]++
		} else if v != 0 {
			return false
		}
	}
	return !slices.ContainsFunc(ones, func(n int) bool { return n > 1 })
}

// pieces makes up to n graphs that compute the values from their roots, each
// with about the same number of elements.
func (d *cutter) pieces(n int, values []string, roots func(string) []string) []*onnx.Model {
	type bin struct {
		in, out []*onnx.Value
		load    int64
	}
	bins := make([]bin, min(n, len(values)))
	order := slices.Clone(values)
	slices.SortStableFunc(order, func(a, b string) int { return int(d.size(b) - d.size(a)) })
	for _, name := range order {
		least := &bins[0]
		for i := range bins {
			if bins[i].load < least.load {
				least = &bins[i]
			}
		}
		least.load += d.size(name)
		least.out = append(least.out, d.value(name))
		for _, r := range roots(name) {
			if !slices.ContainsFunc(least.in, func(v *onnx.Value) bool { return v.Name == r }) {
				least.in = append(least.in, d.value(r))
			}
		}
	}
	var out []*onnx.Model
	for _, b := range bins {
		out = append(out, d.extract(b.in, b.out))
	}
	return out
}

// extract is the part of the graph that leads from the inputs to the outputs.
func (d *cutter) extract(inputs, outputs []*onnx.Value) *onnx.Model {
	m := onnx.NewModel(d.g.opset)
	m.IRVersion = d.whole.IRVersion
	m.Graph.Inputs, m.Graph.Outputs = inputs, outputs
	given := map[string]bool{}
	for _, v := range inputs {
		given[v.Name] = true
	}
	m.Graph.Nodes = slices.Clone(d.whole.Graph.Nodes)
	m.Graph.Nodes = slices.DeleteFunc(m.Graph.Nodes, func(n *onnx.Node) bool {
		return slices.ContainsFunc(n.Outputs, func(s string) bool { return given[s] })
	})
	m.Graph.Initializers = slices.Clone(d.whole.Graph.Initializers)
	return pruned(m)
}
