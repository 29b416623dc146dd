package augment

import "math"

// Coordinates are fixed-point numbers with 32 bits after the point: a step
// along a row is an addition, floor a shift, and quarter turns come out exact.
const (
	fixedBits = 32
	fixedOne  = 1 << fixedBits
	fixedHalf = fixedOne / 2
	fixedMax  = 1 << 28 // voxels; farther coordinates count as this far
)

func fixed(c float64) int64 {
	return int64(math.RoundToEven(min(max(c, -fixedMax), fixedMax) * fixedOne))
}

// rowBuffer holds one row of a patch in work: source coordinates, and for the
// voxels whose eight neighbours are all in the source, the offset of the first
// one and the weights of the second ones. It also serves filters.
type rowBuffer struct {
	x, y, z    []int64
	offset     []int // -1: on or beyond the border
	wx, wy, wz []float32
	plane      []float64 // of the deformation, for planeX
	planeX     int       // -1: none
	line       []float64
	filter     []float32
}

func (b *rowBuffer) resize(n int) {
	b.x, b.y, b.z = grow(b.x, n), grow(b.y, n), grow(b.z, n)
	b.offset = grow(b.offset, n)
	b.wx, b.wy, b.wz = grow(b.wx, n), grow(b.wy, n), grow(b.wz, n)
}

// sampler reads one source.
type sampler struct {
	size     [3]int
	sx, sy   int // strides; z is contiguous
	border   bool
	pad      float32
	padLabel uint16
}

func (r *run) sampler(src *Patch) sampler {
	rec := &r.a.recipe
	return sampler{
		size: src.Size, sx: src.Size[1] * src.Size[2], sy: src.Size[2],
		border: rec.Padding == PadBorder, pad: float32(rec.PadValue), padLabel: rec.PadLabel,
	}
}

// resample fills the patch from src, all channels and labels by one map.
func (r *run) resample(src *Patch, m mapping) error {
	s := r.sampler(src)
	p, size := r.p, r.p.Size
	step := [3]int64{fixed(m.m[0][2]), fixed(m.m[1][2]), fixed(m.m[2][2])}
	return r.each(size[0]*size[1], 1, func(lo, hi int) {
		b := r.a.rows.Get().(*rowBuffer)
		defer r.a.rows.Put(b)
		b.resize(size[2])
		b.planeX = -1
		for row := lo; row < hi; row++ {
			x, y := row/size[1], row%size[1]
			p0 := m.m.Apply([3]float64{float64(x), float64(y), 0})
			at := [3]int64{fixed(p0[0]), fixed(p0[1]), fixed(p0[2])}
			from, to := 0, 0 // the part that a straight line has inside the source
			b.straight(at, step)
			if m.elastic != nil {
				b.bend(m.elastic, x, y)
			} else {
				from, to = s.inside(at, step, size[2])
			}
			s.prepare(b, 0, from)
			s.prepare(b, to, size[2])
			for c := range p.Channels {
				dst := p.Channel(c)[row*size[2]:][:size[2]]
				s.linear(b, dst, src.Channel(c), 0, from)
				s.along(dst[from:to], src.Channel(c), b.start(from, to), step)
				s.linear(b, dst, src.Channel(c), to, size[2])
			}
			if p.Labels != nil {
				s.nearest(b, p.Labels[row*size[2]:][:size[2]], src.Labels)
			}
		}
	})
}

// straight fills the coordinates of a row without deformation.
func (b *rowBuffer) straight(at, step [3]int64) {
	x, y, z := at[0], at[1], at[2]
	bx, by, bz := b.x, b.y[:len(b.x)], b.z[:len(b.x)]
	for i := range bx {
		bx[i], by[i], bz[i] = x, y, z
		x += step[0]
		y += step[1]
		z += step[2]
	}
}

// start returns the coordinates of voxel from of the row; zeros when the part
// is empty.
func (b *rowBuffer) start(from, to int) [3]int64 {
	if from == to {
		return [3]int64{}
	}
	return [3]int64{b.x[from], b.y[from], b.z[from]}
}

// bend adds the deformation.
func (b *rowBuffer) bend(f *deformation, x, y int) {
	if b.planeX != x {
		b.plane, b.planeX = f.plane(b.plane, x), x
	}
	b.line = f.row(b.line, b.plane, y)
	f.displace(b.line, b.x, b.y, b.z)
}
