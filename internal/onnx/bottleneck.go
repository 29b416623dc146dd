package onnx

// Bottleneck returns the value that holds a segmentation network's most
// condensed features: among the values [N, C, space…] that an up-sampling reads
// (Resize, Upsample, transposed convolution), the last one computed of those
// with the fewest voxels; in a network without up-sampling, the like among the
// results of its convolutions. For a U-Net that is the output of its lowest
// level. Nodes that no output hangs on do not count. rank counts all axes of
// such a value. The sizes of the inputs must be fixed (FixShape) and nodes stand
// in order; ok is false when there is none.
func (m *Model) Bottleneck(rank int) (name string, channels int, ok bool) {
	shapes, x, needed := m.StaticShapes(), m.Graph.Index(), m.Graph.needed()
	find := func(value func(n *Node) string) {
		least := int64(0)
		for _, n := range m.Graph.Nodes {
			if !needed[n] {
				continue
			}
			v := value(n)
			shape := shapes[v]
			if x.Producer(v) == nil || len(shape) != rank || shape[1] < 1 {
				continue
			}
			size := voxels(shape[2:])
			if size < 2 || least > 0 && size > least { // a single voxel is a gate's or a classifier's
				continue
			}
			name, channels, least, ok = v, int(shape[1]), size, true
		}
	}
	find(func(n *Node) string {
		if n.Is("Resize") || n.Is("Upsample") || n.Is("ConvTranspose") {
			return n.Input(0)
		}
		return ""
	})
	if !ok {
		find(func(n *Node) string {
			if n.Is("Conv") {
				return n.Outputs[0]
			}
			return ""
		})
	}
	return name, channels, ok
}

// voxels is the product of sizes; 0 when one is not known.
func voxels(size []int64) int64 {
	n := int64(1)
	for _, d := range size {
		n *= max(d, 0)
	}
	return n
}
