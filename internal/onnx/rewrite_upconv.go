package onnx

import "slices"

// upConv replaces a transposed convolution with kernel 3, stride 2, padding 1
// and output padding 1 (it doubles every axis) by one ordinary convolution
// with kernel 2 and 2^d times the channels, whose results are interleaved.
//
// Along one axis such a ConvTranspose computes out[2i+k-1] += w[k]·in[i], so
//
//	out[2m]   = w[1]·in[m]
//	out[2m+1] = w[2]·in[m] + w[0]·in[m+1]
//
// which is, per parity of the output position, a convolution of taps at m and
// m+1 with one zero behind the last input voxel.
func (r *rewriter) upConv() {
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

// doubling returns the constant weight of n, [Cin, Cout, 3, 3(, 3)], when n is
// a ConvTranspose of the kind that upConv replaces, otherwise nil.
func (r *rewriter) doubling(n *Node) *Tensor {
	if !n.Is("ConvTranspose") || len(n.Inputs) < 2 || n.Int("group", 1) != 1 || n.Attr("output_shape") != nil {
		return nil
	}
	w := r.x.Constant(n.Inputs[1])
	if w == nil || w.Type != Float32 || (len(w.Dims) != 4 && len(w.Dims) != 5) {
		return nil
	}
	d := len(w.Dims) - 2
	if a := n.Attr("auto_pad"); a != nil && a.String != "NOTSET" {
		return nil
	}
	all := func(list []int64, v int64, n int) bool {
		return len(list) == n && !slices.ContainsFunc(list, func(x int64) bool { return x != v })
	}
	fits := all(w.Dims[2:], 3, d) && all(n.Ints("strides"), 2, d) && all(n.Ints("pads"), 1, 2*d) && all(n.Ints("output_padding"), 1, d)
	if dil := n.Ints("dilations"); dil != nil {
		fits = fits && all(dil, 1, d)
	}
	if !fits || (n.Input(2) != "" && r.x.Constant(n.Input(2)) == nil) {
		return nil
	}
	return w
}

// doubled appends the convolution and the interleaving. dims are the
// ConvTranspose weight's.
func (b *block) doubled(n *Node, dims []int64, kernel []float32) {
	d, cin, cout := len(dims)-2, dims[0], dims[1]
	parts := int64(1) << d
	attrs := []*Attr{
		IntsAttr("kernel_shape", slices.Repeat([]int64{2}, d)...),
		IntsAttr("pads", slices.Concat(make([]int64, d), slices.Repeat([]int64{1}, d))...),
		IntsAttr("strides", slices.Repeat([]int64{1}, d)...),
	}
	wide := slices.Concat([]int64{parts * cout, cin}, slices.Repeat([]int64{2}, d))
	inputs := []string{n.Inputs[0], b.floats(wide, parityKernel(dims, kernel)...)}
	if bias := n.Input(2); bias != "" {
		v, err := b.r.x.Constant(bias).Float32()
		if err == nil {
			inputs = append(inputs, b.floats([]int64{parts * cout}, slices.Repeat(v, int(parts))...))
		}
	}
	conv := b.op("Conv", inputs, attrs...)
	if d == 2 {
		// Channels (py, px, cout) are what DepthToSpace in DCR mode spreads.
		b.op("DepthToSpace", []string{conv}, IntAttr("blocksize", 2), StringAttr("mode", "DCR"))
		return
	}
	b.interleave3(n.Inputs[0], conv, cout)
}

// parityKernel spreads a ConvTranspose weight [Cin, Cout, 3…] over the taps of
// the equivalent Conv weight [parity, Cout, Cin, 2…]: parity bits and taps
// count the first spatial axis as the most significant.
func parityKernel(dims []int64, kernel []float32) []float32 {
	d, cin, cout := len(dims)-2, int(dims[0]), int(dims[1])
	parts, taps := 1<<d, 1<<d
	// tap[parity][offset] is the index in the kernel of 3, or -1 for no weight.
	tap := [2][2]int{{1, -1}, {2, 0}}
	size := 1
	for range d {
		size *= 3
	}
	out := make([]float32, parts*cout*cin*taps)
	for p := range parts {
		for t := range taps {
			at := 0
			for axis := d - 1; axis >= 0 && at >= 0; axis-- {
				k := tap[p>>axis&1][t>>axis&1]
				if k < 0 {
					at = -1
					break
				}
				at = at*3 + k
			}
			if at < 0 {
				continue
			}
			for o := range cout {
				for i := range cin {
					out[((p*cout+o)*cin+i)*taps+t] = kernel[(i*cout+o)*size+at]
				}
			}
		}
	}
	return out
}

// interleave3 turns conv's [N, 8·C, X, Y, Z] into [N, C, 2X, 2Y, 2Z]. source
// is the convolution's input, whose spatial shape is the same: fixed, or
// computed in the graph where it is free.
func (b *block) interleave3(source, conv string, cout int64) {
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
