package transform

// Sampler computes planes of a destination. It keeps the source planes of the
// last call, so neighbouring planes asked for in order share their work. One
// goroutine at a time may use it.
type Sampler struct {
	p    *Plan
	src  Source
	keep [2]sourcePlane
	mix  []float32
	row  []float32
}

// sourcePlane is a plane of the source after interpolation along its fastest
// axis: the rows first..last of the remaining axis, each of width values.
type sourcePlane struct {
	index int
	data  []float32
}

// Sampler returns a sampler of src.
func (p *Plan) Sampler(src Source) *Sampler {
	s := &Sampler{p: p, src: src}
	s.keep[0].index, s.keep[1].index = -1, -1
	return s
}

// PlaneSize returns the rows and columns of a plane.
func (p *Plan) PlaneSize() (rows, cols int) {
	at := p.plane()
	return at.rows, at.cols
}

// PlaneAt returns where element (0, 0) of plane i lies in the destination and
// how far apart its rows are; the columns are contiguous.
func (p *Plan) PlaneAt(i int) (offset, stride int) {
	at := p.plane()
	return i * at.step, at.stride
}

// Plane writes plane i to dst: row r, column c at dst[r*stride+c].
func (s *Sampler) Plane(i int, dst []float32, stride int) {
	if !s.p.separable {
		s.src.affine(s.p, i, i+1, dst, 0, stride)
		return
	}
	s.inner(s.blend(i), dst, stride)
}

// Batch returns how many planes Planes should be asked for at a time: as many
// as share source voxels.
func (p *Plan) Batch() int {
	if p.separable {
		return 1
	}
	return obliqueBlock
}

// Planes writes the planes [from, to): row r, column c of plane i at
// dst[(i-from)*step+r*stride+c].
func (s *Sampler) Planes(from, to int, dst []float32, step, stride int) {
	if !s.p.separable {
		s.src.affine(s.p, from, to, dst, step, stride)
		return
	}
	for i := from; i < to; i++ {
		s.inner(s.blend(i), dst[(i-from)*step:], stride)
	}
}

// blend interpolates between the two source planes around destination plane i.
func (s *Sampler) blend(i int) []float32 {
	t := &s.p.tab[s.p.outer]
	lo, hi, w0, w1 := t.lo[i], t.hi[i], t.w0[i], t.w1[i]
	a := s.source(lo, hi)
	if w0 == 1 && w1 == 0 {
		return a
	}
	b := s.source(hi, lo)
	s.mix = grow(s.mix, len(a))
	mix := s.mix
	b = b[:len(mix)]
	for n, v := range a[:len(mix)] {
		mix[n] = w0*v + w1*b[n]
	}
	return mix
}

// source returns source plane q, keeping plane other in place if it is there.
func (s *Sampler) source(q, other int) []float32 {
	slot := 0
	for k := range s.keep {
		if s.keep[k].index == q {
			return s.keep[k].data
		}
		if s.keep[k].index != other {
			slot = k
		}
	}
	k := &s.keep[slot]
	k.index = q
	p := s.p
	rest, fast := &p.tab[1-p.outer], &p.tab[2]
	width, span := len(fast.lo), rest.last-rest.first+1
	k.data = grow(k.data, span*width)
	stride := [2]int{p.src[1] * p.src[2], p.src[2]}
	s.row = grow(s.row, p.src[2])
	n := fast.last - fast.first + 1
	for r := range span {
		if !rest.used[rest.first+r] {
			continue
		}
		from := q*stride[p.outer] + (rest.first+r)*stride[1-p.outer] + fast.first
		fast.interpolate(k.data[r*width:(r+1)*width], s.src.rows.row(s.row, from, n))
	}
	return k.data
}

// interpolate samples one row, which starts at source index t.first.
func (t *axisTable) interpolate(dst, row []float32) {
	if t.exact {
		if t.steady {
			copy(dst, row)
			return
		}
		for i := range dst {
			dst[i] = row[t.lo[i]-t.first]
		}
		return
	}
	lo, hi, w0, w1 := t.lo[:len(dst)], t.hi[:len(dst)], t.w0[:len(dst)], t.w1[:len(dst)]
	for i := range dst {
		dst[i] = w0[i]*row[lo[i]-t.first] + w1[i]*row[hi[i]-t.first]
	}
}

// inner interpolates a blended plane along the remaining axis into dst.
func (s *Sampler) inner(plane, dst []float32, stride int) {
	rest := &s.p.tab[1-s.p.outer]
	width := len(s.p.tab[2].lo)
	if s.p.of[2] == 2 { // destination rows run along the source's rows
		for r := range rest.lo {
			rest.lerpRow(dst[r*stride:r*stride+width], plane, r, width)
		}
		return
	}
	const tile = 16 // columns of the plane per pass: whole cache lines on both sides
	for c := 0; c < width; c += tile {
		end := min(c+tile, width)
		for k := range rest.lo {
			lo, hi := (rest.lo[k]-rest.first)*width, (rest.hi[k]-rest.first)*width
			w0, w1 := rest.w0[k], rest.w1[k]
			if rest.exact {
				for x := c; x < end; x++ {
					dst[x*stride+k] = plane[lo+x]
				}
				continue
			}
			for x := c; x < end; x++ {
				dst[x*stride+k] = w0*plane[lo+x] + w1*plane[hi+x]
			}
		}
	}
}

// lerpRow writes row r of the destination from the rows of a plane.
func (t *axisTable) lerpRow(dst, plane []float32, r, width int) {
	lo := plane[(t.lo[r]-t.first)*width:][:len(dst)]
	if t.w0[r] == 1 && t.w1[r] == 0 {
		copy(dst, lo)
		return
	}
	hi := plane[(t.hi[r]-t.first)*width:][:len(dst)]
	w0, w1 := t.w0[r], t.w1[r]
	for i := range dst {
		dst[i] = w0*lo[i] + w1*hi[i]
	}
}

// grow returns a slice of n values, reusing s where it is large enough.
func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}
