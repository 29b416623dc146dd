package onnx

// Sort puts the nodes into topological order. Nodes that already stand right
// keep their places relative to each other. A cycle is an error of kind
// fault.Invalid; the graph is then unchanged.
func (g *Graph) Sort() error {
	order, err := g.TopoOrder()
	if err != nil {
		return err
	}
	g.Nodes = order
	return nil
}

// TopoOrder returns the nodes in an order in which every value is computed
// before it is read, close to the present one. Names that nothing in g
// computes (inputs, initializers, captures) are taken as given.
func (g *Graph) TopoOrder() ([]*Node, error) {
	x := g.Index()
	const visiting, done = 1, 2
	state := make(map[*Node]int, len(g.Nodes))
	order := make([]*Node, 0, len(g.Nodes))
	type frame struct {
		node  *Node
		reads []string
	}
	for _, root := range g.Nodes {
		if state[root] == done {
			continue
		}
		state[root] = visiting
		stack := []frame{{root, root.reads()}} // no recursion: graphs may be deep
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if len(top.reads) == 0 {
				state[top.node] = done
				order = append(order, top.node)
				stack = stack[:len(stack)-1]
				continue
			}
			p := x.Producer(top.reads[0])
			top.reads = top.reads[1:]
			switch {
			case p == nil || state[p] == done:
			case state[p] == visiting:
				return nil, invalid("its nodes form a cycle through %q", p.Name)
			default:
				state[p] = visiting
				stack = append(stack, frame{p, p.reads()})
			}
		}
	}
	return order, nil
}
