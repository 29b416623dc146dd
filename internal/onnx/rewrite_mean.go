package onnx

import "slices"

// mean splits a ReduceMean over several axes with many elements into steps of
// one axis. Where the mean is subtracted from its own input, as in a
// normalisation that the exporter wrote out, it is corrected by the mean of
// that difference.
func (r *rewriter) mean() {
	r.replace(func(n *Node) []*Node {
		if !n.Is("ReduceMean") {
			return nil
		}
		axes := r.reducedAxes(n)
		if len(axes) < 2 || len(axes) > maxRank {
			return nil
		}
		b := r.block(n)
		m := b.meanOver(n.Inputs[0], axes)
		if r.subtracted(n) {
			c := b.op("Sub", []string{n.Inputs[0], m})
			m = b.op("Add", []string{m, b.meanOver(c, axes)})
		}
		if n.Int("keepdims", 1) == 0 {
			slices.Sort(axes)
			b.squeeze(m, axes)
		}
		return b.finish(n.Outputs[0])
	})
}

// reducedAxes returns the axes of a ReduceMean, last first, or nil when they
// are not known, or hold few elements.
func (r *rewriter) reducedAxes(n *Node) []int64 {
	shape := r.shape(n.Input(0))
	axes := n.reductionAxes(len(shape), r.x)
	if k := known(convert(axes, func(a int64) int64 { return shape[a] })); k > 0 && k <= fewElements {
		return nil
	}
	return axes
}

// subtracted reports whether the mean n is subtracted from n's own input.
func (r *rewriter) subtracted(n *Node) bool {
	return slices.ContainsFunc(r.x.Consumers(n.Outputs[0]), func(s *Node) bool {
		return s.Is("Sub") && s.Input(0) == n.Inputs[0]
	})
}

// squeeze removes axes of size 1; from operator set 13 on they are an input.
func (b *block) squeeze(x string, axes []int64) {
	if b.r.opset < 13 {
		b.op("Squeeze", []string{x}, IntsAttr("axes", axes...))
		return
	}
	b.op("Squeeze", []string{x, b.ints(axes...)})
}
