package augment

import "math"

// LowResolution simulates a coarser scan: the channel is reduced to zoom times
// its size, rounded, by taking the nearest voxel, and interpolated linearly
// back (nnU-Net's scheme). Voxels are areas here: coarse voxel j of m shows the
// middle of (j, j+1)·n/m.
type LowResolution struct {
	Chance  `yaml:",inline"`
	Zoom    Range `yaml:"zoom"`     // of the size along an axis, at most 1
	PerAxis bool  `yaml:"per_axis"` // a zoom for every axis, else one for all
}

func (t *LowResolution) validate() error {
	return firstError(t.check(), t.Zoom.check("zoom", 0.01, 1), t.Zoom.checkEffect("zoom", 1))
}

func (t *LowResolution) apply(r *run) error {
	return r.channels(t.Chance, func(_ int, v []float32, d *draws) error {
		zoom := [3]float64{d.in(t.Zoom), d.in(t.Zoom), d.in(t.Zoom)}
		if !t.PerAxis {
			zoom[1], zoom[2] = zoom[0], zoom[0]
		}
		src, err := r.copyOf(v)
		if err != nil {
			return err
		}
		var tab [3]coarseAxis
		for i, n := range r.p.Size {
			tab[i] = newCoarseAxis(n, max(1, int(math.Round(zoom[i]*float64(n)))))
		}
		return r.coarsen(v, src, tab)
	})
}

// coarseAxis holds, for every voxel of an axis, the two voxels that the coarse
// ones around it were taken from, and the weight of the second.
type coarseAxis struct {
	a, b []int
	w    []float32
}

func newCoarseAxis(n, coarse int) coarseAxis {
	t := coarseAxis{a: make([]int, n), b: make([]int, n), w: make([]float32, n)}
	ratio := float64(n) / float64(coarse)
	taken := func(j int) int { return min(int((float64(min(j, coarse-1))+0.5)*ratio), n-1) }
	for i := range n {
		at := min(max((float64(i)+0.5)/ratio-0.5, 0), float64(coarse-1))
		j := int(at)
		t.a[i], t.b[i], t.w[i] = taken(j), taken(j+1), float32(at-float64(j))
	}
	return t
}

// coarsen interpolates every voxel between eight voxels of src.
func (r *run) coarsen(dst, src []float32, tab [3]coarseAxis) error {
	size := r.p.Size
	return r.each(size[0]*size[1], 1, func(lo, hi int) {
		buf := r.a.rows.Get().(*rowBuffer)
		defer r.a.rows.Put(buf)
		buf.filter = grow(buf.filter, size[2])
		line := buf.filter
		row := func(x, y int) []float32 { return src[(x*size[1]+y)*size[2]:][:size[2]] }
		for o := lo; o < hi; o++ {
			x, y := o/size[1], o%size[1]
			wx, wy := tab[0].w[x], tab[1].w[y]
			aa, ab := row(tab[0].a[x], tab[1].a[y]), row(tab[0].a[x], tab[1].b[y])
			ba, bb := row(tab[0].b[x], tab[1].a[y]), row(tab[0].b[x], tab[1].b[y])
			for z := range line {
				line[z] = lerp(lerp(aa[z], ab[z], wy), lerp(ba[z], bb[z], wy), wx)
			}
			out := dst[o*size[2]:][:size[2]]
			for z := range out {
				out[z] = lerp(line[tab[2].a[z]], line[tab[2].b[z]], tab[2].w[z])
			}
		}
	})
}
