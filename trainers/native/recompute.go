package native

import (
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// recomputer lets most results of the forward pass go and computes them again
// where the gradients need them (gradient checkpointing; Chen et al., 2016).
// The forward pass is cut into segments of about equal memory. What crosses a
// cut is kept; the rest of a segment is computed a second time just before the
// gradients of that segment.
type recomputer struct {
	g       *graph
	forward int             // nodes before it belong to the forward pass
	moving  map[string]bool // values that depend on the batch, not only on weights
	segment map[string]int  // forward value → its segment
	kept    map[string]bool // needed by a later segment
}

// recompute rewrites the graph. forward is the number of nodes of the forward
// pass, batch the graph's inputs that a step brings along.
func (g *graph) recompute(forward, segments int, batch []string) {
	if g.err != nil || segments < 2 {
		return
	}
	r := &recomputer{g: g, forward: forward, moving: map[string]bool{}, segment: map[string]int{}, kept: map[string]bool{}}
	for _, v := range batch {
		r.moving[v] = true
	}
	for _, n := range g.nodes {
		if slices.ContainsFunc(n.Inputs, func(v string) bool { return r.moving[v] }) {
			for _, v := range n.Outputs {
				r.moving[v] = true
			}
		}
	}
	r.cut(segments)
	// The last segment's gradients come first: nothing is gained by letting its
	// values go.
	for s := segments - 2; s >= 0; s-- {
		r.again(s)
	}
}

// cut assigns segments: equal shares of the bytes that gradients need.
func (r *recomputer) cut(segments int) {
	g := r.g
	used := map[string]bool{}
	for _, n := range g.nodes[r.forward:] {
		for _, v := range n.Inputs {
			used[v] = true
		}
	}
	weigh := func(n *onnx.Node) (bytes int64) {
		if isView(n) {
			return 0 // another name for memory that counts already
		}
		for _, v := range n.Outputs {
			if used[v] && r.moving[v] {
				bytes += size(g.shape(v)) * int64(g.info[v].typ.Size())
			}
		}
		return bytes
	}
	var all, sum int64
	for _, n := range g.nodes[:r.forward] {
		all += weigh(n)
	}
	for _, n := range g.nodes[:r.forward] {
		s := segments - 1
		if all > 0 {
			s = int(min(sum*int64(segments)/all, int64(segments-1)))
		}
		for _, v := range n.Inputs {
			if at, ok := r.segment[v]; ok && at < s {
				r.kept[v] = true
			}
		}
		for _, v := range n.Outputs {
			r.segment[v] = s
		}
		sum += weigh(n)
	}
}

// again computes segment s a second time before the first gradient that needs
// one of its values.
func (r *recomputer) again(s int) {
	g := r.g
	lost := func(v string) bool {
		at, ok := r.segment[v]
		return ok && at == s && r.moving[v] && !r.kept[v]
	}
	wanted := map[string]bool{}
	first := -1
	for i, n := range g.nodes[r.forward:] {
		for _, v := range n.Inputs {
			if lost(v) {
				wanted[v] = true
				if first < 0 {
					first = r.forward + i
				}
			}
		}
	}
	if first < 0 {
		return
	}
	signal := r.signal(first)
	if signal == "" {
		return
	}
	var copies []*onnx.Node // those needed, last first
	for _, n := range slices.Backward(g.nodes[:r.forward]) {
		if !slices.ContainsFunc(n.Outputs, func(v string) bool { return wanted[v] }) {
			continue
		}
		copies = append(copies, n)
		for _, v := range n.Inputs {
			if lost(v) {
				wanted[v] = true
			}
		}
	}
	slices.Reverse(copies)
	r.insert(first, signal, copies)
}

// insert puts copies of forward nodes before node at, whose inputs from outside
// wait for the signal, and lets the gradients read their results.
func (r *recomputer) insert(at int, signal string, nodes []*onnx.Node) {
	g := r.g
	late := &gate{g: g, signal: signal, names: map[string]string{}}
	copied := map[string]string{}
	for _, n := range nodes {
		for _, v := range n.Outputs {
			if v != "" {
				copied[v] = g.names.New(v)
				g.info[copied[v]] = g.info[v]
			}
		}
	}
	for _, n := range nodes {
		c := *n
		c.Name = g.names.New(n.Name)
		c.Inputs, c.Outputs = slices.Clone(n.Inputs), slices.Clone(n.Outputs)
		for i, v := range c.Inputs {
			if name, ok := copied[v]; ok {
				c.Inputs[i] = name
			} else if r.moving[v] {
				c.Inputs[i] = late.pass(v)
			}
		}
		for i, v := range c.Outputs {
			if v != "" {
				c.Outputs[i] = copied[v]
			}
		}
		late.nodes = append(late.nodes, &c)
	}
	for _, n := range g.nodes[r.forward:] {
		for i, v := range n.Inputs {
			if name, ok := copied[v]; ok {
				n.Inputs = slices.Clone(n.Inputs)
				n.Inputs[i] = name
			}
		}
	}
	g.nodes = slices.Insert(g.nodes, at, late.nodes...)
}

// signal is a value that is ready just before node at, from among the
// gradients; "" when there is none.
func (r *recomputer) signal(at int) string {
	for _, n := range slices.Backward(r.g.nodes[r.forward:at]) {
		for _, v := range n.Outputs {
			if r.g.info[v].typ == onnx.Float32 && r.moving[v] && size(r.g.shape(v)) > 0 {
				return v
			}
		}
	}
	return ""
}

// gate makes values wait for a signal without copying them: they get a further
// axis and lose it again, whose number is computed from the signal. ONNX Runtime
// can neither compute that beforehand nor see that the copy of a node repeats
// one that ran.
type gate struct {
	g      *graph
	signal string
	zero   string            // int64 [1], 0 whatever the signal is
	names  map[string]string // value → the same after the signal
	nodes  []*onnx.Node
}

func (l *gate) pass(v string) string {
	if name, ok := l.names[v]; ok {
		return name
	}
	g := l.g
	if l.zero == "" {
		flat := l.add("Reshape", onnx.Float32, []int64{size(g.shape(l.signal))}, []string{l.signal, l.constant(g.ints(-1))})
		one := l.add("Slice", onnx.Float32, []int64{1}, []string{flat, l.constant(g.ints(0)), l.constant(g.ints(1)), l.constant(g.ints(0))})
		never := l.add("Greater", onnx.Bool, []int64{1}, []string{one, l.constant(g.scalar(math.Inf(1)))})
		l.zero = l.add("Cast", onnx.Int64, []int64{1}, []string{never}, onnx.IntAttr("to", int64(onnx.Int64)))
	}
	shape := g.shape(v)
	wrapped := l.add("Unsqueeze", g.info[v].typ, slices.Concat([]int64{1}, shape), []string{v, l.zero})
	l.names[v] = l.add("Squeeze", g.info[v].typ, shape, []string{wrapped, l.zero})
	return l.names[v]
}

func (l *gate) constant(name string) string {
	l.g.place(name)
	return name
}

func (l *gate) add(op string, t onnx.DataType, shape []int64, inputs []string, attrs ...*onnx.Attr) string {
	out := l.g.names.New("late")
	l.g.info[out] = info{t, shape}
	l.nodes = append(l.nodes, &onnx.Node{Name: out, Op: op, Inputs: inputs, Outputs: []string{out}, Attrs: attrs})
	return out
}
