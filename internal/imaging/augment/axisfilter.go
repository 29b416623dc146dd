package augment

// tap is one term of a linear filter along an axis: weight times the voxel
// shift places before.
type tap struct {
	shift  int
	weight float32
}

// filterAxis writes to dst, for every voxel of src along an axis, the sum of
// the taps. Beyond the ends the filter reads the end voxel, or with wrap goes
// on at the other end; then shifts are at least 0 and below the size.
func (r *run) filterAxis(dst, src []float32, axis int, taps []tap, wrap bool) error {
	v := r.view(axis)
	if v.inner == 1 {
		return r.each(v.outer, 1, func(lo, hi int) { r.filterRows(dst, src, v.n, lo, hi, taps, wrap) })
	}
	return r.each(v.outer*v.n, 1, func(lo, hi int) {
		for o := lo; o < hi; o++ {
			base, i := o/v.n*v.n, o%v.n
			row := func(shift int) []float32 {
				k := i - shift
				if wrap {
					k = (k + v.n) % v.n
				}
				k = base + min(max(k, 0), v.n-1)
				return src[k*v.inner : (k+1)*v.inner]
			}
			weigh(dst[o*v.inner:(o+1)*v.inner], taps, row)
		}
	})
}

// filterRows filters along contiguous rows lo..hi of n voxels, each with its
// surroundings in a buffer.
func (r *run) filterRows(dst, src []float32, n, lo, hi int, taps []tap, wrap bool) {
	before, after := 0, 0 // voxels that the filter reads beyond either end
	for _, t := range taps {
		before, after = max(before, t.shift), max(after, -t.shift)
	}
	b := r.a.rows.Get().(*rowBuffer)
	defer r.a.rows.Put(b)
	b.filter = grow(b.filter, before+n+after)
	line := b.filter
	for o := lo; o < hi; o++ {
		row := src[o*n : (o+1)*n]
		copy(line[before:], row)
		if wrap {
			copy(line[:before], row[n-before:])
		} else {
			fill(line[:before], row[0])
			fill(line[before+n:], row[n-1])
		}
		weigh(dst[o*n:(o+1)*n], taps, func(shift int) []float32 { return line[before-shift : before-shift+n] })
	}
}

// weigh sets dst to the weighted sum of rows, four at a time.
func weigh(dst []float32, taps []tap, row func(shift int) []float32) {
	clear(dst)
	for len(taps) >= 4 {
		a, b, c, d := row(taps[0].shift), row(taps[1].shift), row(taps[2].shift), row(taps[3].shift)
		wa, wb, wc, wd := taps[0].weight, taps[1].weight, taps[2].weight, taps[3].weight
		a, b, c, d = a[:len(dst)], b[:len(dst)], c[:len(dst)], d[:len(dst)]
		for i := range dst {
			dst[i] += wa*a[i] + wb*b[i] + (wc*c[i] + wd*d[i])
		}
		taps = taps[4:]
	}
	for _, t := range taps {
		a, w := row(t.shift)[:len(dst)], t.weight
		for i := range dst {
			dst[i] += w * a[i]
		}
	}
}

// addLineMeans adds to every voxel of dst weight times the mean of src along
// the line of an axis that the voxel lies on.
func (r *run) addLineMeans(dst, src []float32, axis int, weight float32) error {
	v := r.view(axis)
	lines := v.outer * v.inner
	return r.each(lines, 64, func(lo, hi int) {
		for lo < hi { // lines of one outer index lie side by side
			o, k := lo/v.inner, lo%v.inner
			width := min(v.inner-k, hi-lo)
			addMeans(dst[o*v.n*v.inner+k:], src[o*v.n*v.inner+k:], v, width, weight)
			lo += width
		}
	})
}

// addMeans works on width neighbouring lines, a few at a time.
func addMeans(dst, src []float32, v axisView, width int, weight float32) {
	var sums [64]float64
	for from := 0; from < width; from += len(sums) {
		part := sums[:min(len(sums), width-from)]
		clear(part)
		for i := range v.n {
			for k, x := range src[i*v.inner+from:][:len(part)] {
				part[k] += float64(x)
			}
		}
		for i := range v.n {
			row := dst[i*v.inner+from:][:len(part)]
			for k := range row {
				row[k] += weight * float32(part[k]/float64(v.n))
			}
		}
	}
}

// alternate passes v through fn along x, y and z, each time from one buffer to
// another; fn returns false for an axis that it leaves alone. The result is in
// v.
func (r *run) alternate(v []float32, fn func(dst, src []float32, axis int) (bool, error)) error {
	from, to := v, r.spareImage(len(v))
	for axis := range 3 {
		done, err := fn(to, from, axis)
		if err != nil {
			return err
		}
		if done {
			from, to = to, from
		}
	}
	if &from[0] == &v[0] {
		return nil
	}
	return r.voxels(v, func(b []float32, at, _ int) { copy(b, from[at:]) })
}

// gatherAxis writes to place i of an axis the sum of taps[i], whose shifts are
// places of src.
func (r *run) gatherAxis(dst, src []float32, axis int, taps [][]tap) error {
	v := r.view(axis)
	if v.inner > 1 {
		return r.each(v.outer*v.n, 1, func(lo, hi int) {
			for o := lo; o < hi; o++ {
				base := o / v.n * v.n
				weigh(dst[o*v.inner:(o+1)*v.inner], taps[o%v.n], func(k int) []float32 {
					return src[(base+k)*v.inner : (base+k+1)*v.inner]
				})
			}
		})
	}
	return r.each(v.outer, 1, func(lo, hi int) {
		for o := lo; o < hi; o++ {
			row := src[o*v.n : (o+1)*v.n]
			out := dst[o*v.n : (o+1)*v.n]
			for i, list := range taps {
				var sum float32
				for _, t := range list {
					sum += t.weight * row[t.shift]
				}
				out[i] = sum
			}
		}
	})
}
