package augment

// crop fills the patch with src from origin on, and padding.
func (r *run) crop(src *Patch, origin [3]int) error {
	s := r.sampler(src)
	p, size := r.p, r.p.Size
	return r.each(size[0]*size[1], 1, func(lo, hi int) {
		for row := lo; row < hi; row++ {
			x, y := origin[0]+row/size[1], origin[1]+row%size[1]
			from := row * size[2]
			for c := range p.Channels {
				cropRow(&s, p.Channel(c)[from:from+size[2]], src.Channel(c), x, y, origin[2], s.pad)
			}
			if p.Labels != nil {
				cropRow(&s, p.Labels[from:from+size[2]], src.Labels, x, y, origin[2], s.padLabel)
			}
		}
	})
}

// cropRow fills a row from source voxel (x, y, z) on.
func cropRow[T any](s *sampler, dst, src []T, x, y, z int, pad T) {
	if s.border {
		x, y = min(max(x, 0), s.size[0]-1), min(max(y, 0), s.size[1]-1)
	}
	if x < 0 || y < 0 || x >= s.size[0] || y >= s.size[1] {
		fill(dst, pad)
		return
	}
	row := src[x*s.sx+y*s.sy:][:s.size[2]]
	lo := min(max(-z, 0), len(dst))          // first voxel of dst inside
	hi := max(min(len(row)-z, len(dst)), lo) // first one beyond
	below, above := pad, pad
	if s.border {
		below, above = row[0], row[len(row)-1]
	}
	if z >= len(row) { // everything lies above
		lo, hi = 0, 0
	}
	fill(dst[:lo], below)
	if lo < hi {
		copy(dst[lo:hi], row[z+lo:])
	}
	fill(dst[hi:], above)
}

func fill[T any](dst []T, v T) {
	for i := range dst {
		dst[i] = v
	}
}
