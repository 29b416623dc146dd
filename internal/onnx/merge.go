package onnx

import (
	"crypto/sha256"
	"slices"
)

// Merge returns a model that holds several side by side. They must take one
// input, of the same name, type and axes, and use the same operator sets. All
// other names of model i get prefix[i] in front; constants that are equal are
// held once. Errors have kind fault.Invalid.
//
// Outputs are those of the models, in order. Descriptions of values, metadata
// and quantisation annotations are dropped.
func Merge(models []*Model, prefix []string) (*Model, error) {
	out := &Model{IRVersion: models[0].IRVersion, Producer: "voxloop", Opsets: slices.Clone(models[0].Opsets), Graph: &Graph{Name: models[0].Graph.Name}}
	first := models[0].Inputs()
	held := map[[sha256.Size]byte]string{} // name of a constant by its content
	for i, m := range models {
		in := m.Inputs()
		switch {
		case len(in) != 1 || len(first) != 1:
			return nil, invalid("network %d takes %d inputs; networks are put together that take one", i, len(in))
		case in[0].Name != first[0].Name || in[0].Type != first[0].Type || len(in[0].Shape) != len(first[0].Shape):
			return nil, invalid("network %d takes %s %s %v, the first one %s %s %v", i, in[0].Name, in[0].Type, in[0].Shape, first[0].Name, first[0].Type, first[0].Shape)
		case !sameOpsets(m.Opsets, out.Opsets):
			return nil, invalid("network %d is of the operator sets %v, the first one of %v", i, domains(m), domains(out))
		}
		out.IRVersion = max(out.IRVersion, m.IRVersion)
		c := m.Clone()
		shared := map[string]string{"": "", in[0].Name: in[0].Name}
		if i == 0 {
			out.Graph.Inputs = append(out.Graph.Inputs, input(c.Graph, in[0].Name))
		}
		out.Graph.absorb(c.Graph, prefix[i], shared, held)
	}
	return out, nil
}

func input(g *Graph, name string) *Value {
	return g.Inputs[slices.IndexFunc(g.Inputs, func(v *Value) bool { return v.Name == name })]
}

func sameOpsets(a, b []Opset) bool {
	return slices.EqualFunc(a, b, func(x, y Opset) bool { return x.Domain == y.Domain && x.Version == y.Version })
}

func domains(m *Model) map[string]int64 {
	d := map[string]int64{}
	for _, o := range m.Opsets {
		d[o.Domain] = o.Version
	}
	return d
}

// absorb takes in the parts of c, which is used up. names are those that keep
// theirs, or have found an equal constant.
func (g *Graph) absorb(c *Graph, prefix string, names map[string]string, held map[[sha256.Size]byte]string) {
	optional := map[string]bool{} // constants that a caller may override stay apart
	for _, v := range c.Inputs {
		optional[v.Name] = true
		if _, ok := names[v.Name]; !ok {
			v.Name = prefix + v.Name
			g.Inputs = append(g.Inputs, v)
		}
	}
	for _, t := range c.Initializers {
		name := t.Name
		t.Name = ""
		sum := sha256.Sum256(t.encode(nil))
		t.Name = prefix + name
		if same, ok := held[sum]; ok && !optional[name] {
			names[name] = same
			continue
		}
		if !optional[name] {
			held[sum] = t.Name
		}
		g.Initializers = append(g.Initializers, t)
	}
	c.rename(func(name string) string {
		if n, ok := names[name]; ok {
			return n
		}
		return prefix + name
	})
	g.Nodes = append(g.Nodes, c.Nodes...)
	g.Outputs = append(g.Outputs, c.Outputs...)
}

// rename changes the names of nodes and of the values that they read and write,
// in subgraphs too, and of the outputs.
func (g *Graph) rename(to func(string) string) {
	for _, n := range g.Nodes {
		n.Name = to(n.Name)
		for i := range n.Inputs {
			n.Inputs[i] = to(n.Inputs[i])
		}
		for i := range n.Outputs {
			n.Outputs[i] = to(n.Outputs[i])
		}
		for _, a := range n.Attrs {
			for _, sub := range a.graphs() {
				for _, list := range [][]*Value{sub.Inputs, sub.Values} {
					for _, v := range list {
						v.Name = to(v.Name)
					}
				}
				for _, t := range sub.Initializers {
					t.Name = to(t.Name)
				}
				sub.rename(to)
			}
		}
	}
	for _, v := range g.Outputs {
		v.Name = to(v.Name)
	}
}
