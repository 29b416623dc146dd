package infer

// Memory estimates the bytes that a run of the folder's network takes for one
// batch of windows: its weights, and the most that its values take at a time
// when each is kept until its last use. It is the same on every machine and
// whatever else runs there; what a runtime takes beside it (packed weights, work
// space of convolutions) is not in it. 0 where the shapes are not known: the
// whole image is one window, or the network has operators whose results are
// not foreseen.
func (p *Pipeline) Memory() int64 {
	if p.b.window == ([3]int{}) {
		return 0
	}
	m, err := p.b.fixed(p.m, p.graph)
	if err != nil || m.Graph.Sort() != nil {
		return 0
	}
	var weights int64
	known := map[string]bool{"": true}
	for _, t := range m.Graph.Initializers {
		weights += bytesOf(t.Dims)
		known[t.Name] = true
	}
	shapes := m.StaticShapes()
	uses := map[string]int{}
	for _, n := range m.Graph.Nodes {
		for _, in := range n.Inputs {
			uses[in]++
		}
	}
	for _, o := range m.Graph.Outputs {
		uses[o.Name]++ // stays
	}
	now := bytesOf(p.m.inputShape(p.b.batch, p.b.window))
	most := now
	for _, n := range m.Graph.Nodes {
		if len(n.Inputs) == 0 {
			continue // a constant
		}
		for _, out := range n.Outputs[:min(1, len(n.Outputs))] {
			shape, ok := shapes[out]
			if !ok || bytesOf(shape) < 0 {
				return 0
			}
			now += bytesOf(shape)
		}
		most = max(most, now)
		for _, in := range n.Inputs {
			if uses[in]--; uses[in] == 0 && !known[in] {
				now -= max(0, bytesOf(shapes[in]))
			}
		}
	}
	return weights + most
}

// bytesOf is the size of a tensor of float32; negative when an axis is not known.
func bytesOf(shape []int64) int64 {
	n := int64(4)
	for _, d := range shape {
		if d < 0 {
			return -1
		}
		n *= d
	}
	return n
}
