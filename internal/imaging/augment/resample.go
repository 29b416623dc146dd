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
		for row := lo; row < hi; row++ {
			x, y := row/size[1], row%size[1]
			at := m.m.Apply([3]float64{float64(x), float64(y), 0})
			b.straight([3]int64{fixed(at[0]), fixed(at[1]), fixed(at[2])}, step)
			if m.elastic != nil {
				b.bend(m.elastic, x, y)
			}
			s.prepare(b)
			from := row * size[2]
			for c := range p.Channels {
				s.linear(b, p.Channel(c)[from:from+size[2]], src.Channel(c))
			}
			if p.Labels != nil {
				s.nearest(b, p.Labels[from:from+size[2]], src.Labels)
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

// bend adds the deformation.
func (b *rowBuffer) bend(f *deformation, x, y int) {
	b.line = f.row(b.line, x, y)
	for i := range b.x {
		dx, dy, dz := f.at(b.line, i)
		b.x[i] += int64(dx * fixedOne)
		b.y[i] += int64(dy * fixedOne)
		b.z[i] += int64(dz * fixedOne)
	}
}

// Marks in place of an offset.
const (
	onBorder = -1 // between the source's outermost voxels and the padding
	beyond   = -2 // padding alone
)

// prepare takes the coordinates apart into offsets and weights. A coordinate
// on the last voxel counts as the full weight of the second neighbour.
func (s *sampler) prepare(b *rowBuffer) {
	lastX, lastY, lastZ := limit(s.size[0]), limit(s.size[1]), limit(s.size[2])
	n := len(b.x)
	by, bz, off := b.y[:n], b.z[:n], b.offset[:n]
	wx, wy, wz := b.wx[:n], b.wy[:n], b.wz[:n]
	for i, x := range b.x {
		y, z := by[i], bz[i]
		if uint64(x) > lastX || uint64(y) > lastY || uint64(z) > lastZ { //nolint:gosec // negative ones are too large
			if !s.border {
				off[i] = s.outside(x, y, z)
				continue
			}
			x, y, z = clampFixed(x, lastX), clampFixed(y, lastY), clampFixed(z, lastZ)
		}
		ix, iy, iz := x>>fixedBits, y>>fixedBits, z>>fixedBits
		fx, fy, fz := fraction(x), fraction(y), fraction(z)
		if ix == int64(lastX>>fixedBits) && ix > 0 { //nolint:gosec // a size
			ix, fx = ix-1, 1
		}
		if iy == int64(lastY>>fixedBits) && iy > 0 { //nolint:gosec // a size
			iy, fy = iy-1, 1
		}
		if iz == int64(lastZ>>fixedBits) && iz > 0 { //nolint:gosec // a size
			iz, fz = iz-1, 1
		}
		off[i] = int(ix)*s.sx + int(iy)*s.sy + int(iz)
		wx[i], wy[i], wz[i] = fx, fy, fz
	}
}

// limit returns the coordinate of the last voxel.
func limit(size int) uint64 { return uint64(size-1) << fixedBits } //nolint:gosec // sizes are positive

func clampFixed(c int64, last uint64) int64 { return min(max(c, 0), int64(last)) } //nolint:gosec // a size

// outside tells coordinates that still see a voxel from those that do not.
func (s *sampler) outside(x, y, z int64) int {
	for i, c := range [3]int64{x, y, z} {
		if c <= -fixedOne || c >= int64(s.size[i])<<fixedBits {
			return beyond
		}
	}
	return onBorder
}

// fraction returns the part of a coordinate after the point, in [0, 1), to 23
// bits: they become the mantissa of a number in [1, 2).
func fraction(c int64) float32 {
	return math.Float32frombits(uint32(c)>>9|127<<23) - 1 //nolint:gosec // takes bits
}

// linear interpolates a row of one channel. Sums of the form (1-w)·a + w·b are
// exact at both ends.
func (s *sampler) linear(b *rowBuffer, dst, src []float32) {
	n := len(dst)
	off, wx, wy, wz := b.offset[:n], b.wx[:n], b.wy[:n], b.wz[:n]
	dx, dy, dz := s.next() // to the second neighbours
	for i := range dst {
		o := off[i]
		if o < 0 {
			dst[i] = s.pad
			if o == onBorder {
				dst[i] = s.edge(src, b.x[i], b.y[i], b.z[i])
			}
			continue
		}
		p := src[o : o+dy+dz+1]
		q := src[o+dx : o+dx+dy+dz+1]
		w := wz[i]
		v := 1 - w
		p0, p1 := v*p[0]+w*p[dz], v*p[dy]+w*p[dy+dz]
		q0, q1 := v*q[0]+w*q[dz], v*q[dy]+w*q[dy+dz]
		w = wy[i]
		v = 1 - w
		p0, q0 = v*p0+w*p1, v*q0+w*q1
		w = wx[i]
		dst[i] = (1-w)*p0 + w*q0
	}
}

// next returns the strides to the second neighbours; 0 along an axis of one
// voxel.
func (s *sampler) next() (dx, dy, dz int) {
	return s.sx * min(s.size[0]-1, 1), s.sy * min(s.size[1]-1, 1), min(s.size[2]-1, 1)
}

// edge interpolates between voxels and padding.
func (s *sampler) edge(src []float32, x, y, z int64) float32 {
	ix, iy, iz := int(x>>fixedBits), int(y>>fixedBits), int(z>>fixedBits)
	wx, wy, wz := fraction(x), fraction(y), fraction(z)
	var v [8]float32
	for k := range v {
		v[k] = s.voxel(src, ix+k>>2, iy+k>>1&1, iz+k&1)
	}
	for k := range 4 {
		v[k] = lerp(v[2*k], v[2*k+1], wz)
	}
	return lerp(lerp(v[0], v[1], wy), lerp(v[2], v[3], wy), wx)
}

// lerp goes from a (w = 0) to b (w = 1), exact at both.
func lerp(a, b, w float32) float32 { return (1-w)*a + w*b }

// voxel returns one voxel of the source, the padding beyond it.
func (s *sampler) voxel(src []float32, x, y, z int) float32 {
	if uint(x) >= uint(s.size[0]) || uint(y) >= uint(s.size[1]) || uint(z) >= uint(s.size[2]) { //nolint:gosec // negative ones are too large
		return s.pad
	}
	return src[x*s.sx+y*s.sy+z]
}

// nearest takes a row of labels, halves upwards.
func (s *sampler) nearest(b *rowBuffer, dst, src []uint16) {
	for i := range dst {
		x, y, z := b.x[i], b.y[i], b.z[i]
		if s.border {
			x, y, z = clampFixed(x, limit(s.size[0])), clampFixed(y, limit(s.size[1])), clampFixed(z, limit(s.size[2]))
		}
		ix, iy, iz := int((x+fixedHalf)>>fixedBits), int((y+fixedHalf)>>fixedBits), int((z+fixedHalf)>>fixedBits)
		if uint(ix) >= uint(s.size[0]) || uint(iy) >= uint(s.size[1]) || uint(iz) >= uint(s.size[2]) { //nolint:gosec // negative ones are too large
			dst[i] = s.padLabel
			continue
		}
		dst[i] = src[ix*s.sx+iy*s.sy+iz]
	}
}

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
