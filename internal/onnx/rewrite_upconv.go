package onnx

import "slices"

const (
	spatial  = 3            // axes of a volume
	parities = 1 << spatial // of an output voxel's position
)

// upConv replaces a 3-D transposed convolution with kernel 3, stride 2, padding
// 1 and output padding 1 (it doubles every axis) by one ordinary convolution
// with kernel 2 and 8 times the channels, whose results are interleaved. The
// same form was no faster in 2-D.
//
// Along one axis such a ConvTranspose computes out[2i+k-1] += w[k]·in[i], so
//
//	out[2m]   = w[1]·in[m]
//	out[2m+1] = w[2]·in[m] + w[0]·in[m+1]
//
// which is, per parity of the output position, a convolution of taps at m and
// m+1 with one zero behind the last input voxel.
//
// On OpenVINO the form pays for small windows only, and a graph with both forms
// is slower than one with either.
func (r *rewriter) upConv() {
	if r.provider == "openvino" && slices.ContainsFunc(r.g.Nodes, func(n *Node) bool { return r.doubling(n) != nil && r.manyVoxels(n.Inputs[0]) }) {
		return
	}
	r.replace(func(n *Node) []*Node {
		w := r.doubling(n)
		if w == nil {
			return nil
		}
		b := r.block(n)
		kernel, err := w.Float32()
		if err != nil {
			return nil
		}
		b.doubled(n, w.Dims, kernel)
		return b.finish(n.Outputs[0])
	})
}

// openVINOLimit is the size of a ConvTranspose in input voxels above which
// OpenVINO's own form is faster (between windows of 56³ and 96³).
const openVINOLimit = 1 << 15

// manyVoxels tells whether a value is known to have more voxels per channel
// than openVINOLimit.
func (r *rewriter) manyVoxels(name string) bool {
	shape := r.shape(name)
	if len(shape) != spatial+2 {
		return false
	}
	return shape[2]*shape[3]*shape[4] > openVINOLimit
}

// doubling returns the constant weight of n, [Cin, Cout, 3, 3, 3], when n is
// a ConvTranspose of the kind that upConv replaces, otherwise nil.
func (r *rewriter) doubling(n *Node) *Tensor {
	if !n.Is("ConvTranspose") || len(n.Inputs) < 2 || n.Int("group", 1) != 1 || n.Attr("output_shape") != nil {
		return nil
	}
	w := r.x.Constant(n.Inputs[1])
	if w == nil || w.Type != Float32 || len(w.Dims) != spatial+2 {
		return nil
	}
	if a := n.Attr("auto_pad"); a != nil && a.String != "NOTSET" {
		return nil
	}
	all := func(list []int64, v int64, n int) bool {
		return slices.Equal(list, slices.Repeat([]int64{v}, n))
	}
	fits := all(w.Dims[2:], 3, spatial) && all(n.Ints("strides"), 2, spatial) && all(n.Ints("pads"), 1, 2*spatial) &&
		all(n.Ints("output_padding"), 1, spatial)
	if dil := n.Ints("dilations"); dil != nil {
		fits = fits && all(dil, 1, spatial)
	}
	if !fits || (n.Input(2) != "" && r.x.Constant(n.Input(2)) == nil) {
		return nil
	}
	return w
}

// doubled appends the convolution and the interleaving. dims are the
// ConvTranspose weight's.
func (b *block) doubled(n *Node, dims []int64, kernel []float32) {
	cin, cout := dims[0], dims[1]
	wide := []int64{parities * cout, cin, 2, 2, 2}
	inputs := []string{n.Inputs[0], b.floats(wide, parityKernel(int(cin), int(cout), kernel)...)}
	if bias := n.Input(2); bias != "" {
		v, err := b.r.x.Constant(bias).Float32()
		if err == nil {
			inputs = append(inputs, b.floats([]int64{parities * cout}, slices.Repeat(v, parities)...))
		}
	}
	conv := b.op("Conv", inputs, IntsAttr("kernel_shape", 2, 2, 2), IntsAttr("pads", 0, 0, 0, 1, 1, 1), IntsAttr("strides", 1, 1, 1))
	b.interleave(n.Inputs[0], conv, cout)
}

// parityKernel spreads a ConvTranspose weight [Cin, Cout, 3, 3, 3] over the
// taps of the equivalent Conv weight [parity, Cout, Cin, 2, 2, 2]: the bits of
// a parity and of a tap count the first spatial axis as the most significant.
func parityKernel(cin, cout int, kernel []float32) []float32 {
	const taps, size = 8, 27
	// source[parity][tap] is the index along an axis of 3, or -1 for no weight.
	source := [2][2]int{{1, -1}, {2, 0}}
	out := make([]float32, parities*cout*cin*taps)
	for p := range parities {
		for t := range taps {
			from := 0
			for bit := spatial - 1; bit >= 0 && from >= 0; bit-- {
				if k := source[p>>bit&1][t>>bit&1]; k >= 0 {
					from = from*3 + k
				} else {
					from = -1
				}
			}
			if from < 0 {
				continue
			}
			for o := range cout {
				for i := range cin {
					out[((p*cout+o)*cin+i)*taps+t] = kernel[(i*cout+o)*size+from]
				}
			}
		}
	}
	return out
}

// interleave turns conv's [N, 8·C, X, Y, Z] into [N, C, 2X, 2Y, 2Z]. source
// is the convolution's input, whose spatial shape is the same: fixed, or
// computed in the graph where it is free.
func (b *block) interleave(source, conv string, cout int64) {
	split, joined := "", ""
	if s := b.r.shape(source); len(s) == 5 && !slices.Contains(s, -1) {
		split = b.ints(s[0], 2, 2, 2, cout, s[2], s[3], s[4])
		joined = b.ints(s[0], cout, 2*s[2], 2*s[3], 2*s[4])
	} else {
		shape := b.op("Shape", []string{source})
		batch := b.op("Slice", []string{shape, b.ints(0), b.ints(1)})
		spatial := b.op("Slice", []string{shape, b.ints(2), b.ints(5)})
		double := b.op("Mul", []string{spatial, b.ints(2)})
		split = b.op("Concat", []string{batch, b.ints(2, 2, 2, cout), spatial}, IntAttr("axis", 0))
		joined = b.op("Concat", []string{batch, b.ints(cout), double}, IntAttr("axis", 0))
	}
	parts := b.op("Reshape", []string{conv, split})
	woven := b.op("Transpose", []string{parts}, IntsAttr("perm", 0, 4, 5, 1, 6, 2, 7, 3))
	b.op("Reshape", []string{woven, joined})
}
