package onnx

// leakyRelu turns a PRelu with one slope for everything into a LeakyRelu.
// The slope is a constant, possibly through Unsqueeze or Reshape, as the
// exporter writes it for a module that is still trainable.
func (r *rewriter) leakyRelu() {
	r.replace(func(n *Node) []*Node {
		if !n.Is("PRelu") || len(n.Inputs) != 2 {
			return nil
		}
		slope, ok := r.scalar(n.Inputs[1])
		if !ok {
			return nil
		}
		b := r.block(n)
		b.op("LeakyRelu", n.Inputs[:1], FloatAttr("alpha", slope))
		return b.finish(n.Outputs[0])
	})
}

// scalar returns the value of a constant with one element, looking through
// nodes that change the shape only.
func (r *rewriter) scalar(name string) (float32, bool) {
	for range maxDepth {
		if t := r.x.Constant(name); t != nil {
			v, err := t.Float32()
			if err != nil || len(v) != 1 || t.Type != Float32 {
				return 0, false
			}
			return v[0], true
		}
		n := r.x.Producer(name)
		if n == nil || !(n.Is("Unsqueeze") || n.Is("Reshape") || n.Is("Squeeze") || n.Is("Identity")) {
			return 0, false
		}
		name = n.Input(0)
	}
	return 0, false
}
