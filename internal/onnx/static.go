package onnx

// StaticShapes returns the shapes of the values as far as they follow from
// those of the inputs (Model.FixShape) and from constants: -1 for an axis that
// is free or not known; a value whose rank is unknown is absent. Nodes must
// stand in order (Graph.Sort).
func (m *Model) StaticShapes() map[string][]int64 {
	return inferShapes(m.Graph, m.Graph.Index())
}
