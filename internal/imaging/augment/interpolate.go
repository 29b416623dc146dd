package augment

import "math"

// Marks in place of an offset.
const (
	onBorder = -1 // between the source's outermost voxels and the padding
	beyond   = -2 // padding alone
)

// prepare takes the coordinates of voxels [from, to) apart into offsets and
// weights. A coordinate on the last voxel counts as the full weight of the
// second neighbour.
func (s *sampler) prepare(b *rowBuffer, from, to int) {
	lastX, lastY, lastZ := limit(s.size[0]), limit(s.size[1]), limit(s.size[2])
	bx := b.x[from:to]
	n := len(bx)
	by, bz, off := b.y[from:to][:n], b.z[from:to][:n], b.offset[from:to][:n]
	wx, wy, wz := b.wx[from:to][:n], b.wy[from:to][:n], b.wz[from:to][:n]
	for i, x := range bx {
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
		if ix == int64(lastX>>fixedBits) && ix > 0 {
			ix, fx = ix-1, 1
		}
		if iy == int64(lastY>>fixedBits) && iy > 0 {
			iy, fy = iy-1, 1
		}
		if iz == int64(lastZ>>fixedBits) && iz > 0 {
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

// linear interpolates voxels [from, to) of a row of one channel. Sums of the
// form (1-w)·a + w·b are exact at both ends.
func (s *sampler) linear(b *rowBuffer, dst, src []float32, from, to int) {
	dst = dst[from:to]
	n := len(dst)
	off, wx, wy, wz := b.offset[from:to][:n], b.wx[from:to][:n], b.wy[from:to][:n], b.wz[from:to][:n]
	dx, dy, dz := s.next() // to the second neighbours
	for i := range dst {
		o := off[i]
		if o < 0 {
			dst[i] = s.pad
			if o == onBorder {
				dst[i] = s.edge(src, b.x[from+i], b.y[from+i], b.z[from+i])
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
	if uint(x) >= uint(s.size[0]) || uint(y) >= uint(s.size[1]) || uint(z) >= uint(s.size[2]) { // negative ones are too large
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
		if uint(ix) >= uint(s.size[0]) || uint(iy) >= uint(s.size[1]) || uint(iz) >= uint(s.size[2]) { // negative ones are too large
			dst[i] = s.padLabel
			continue
		}
		dst[i] = src[ix*s.sx+iy*s.sy+iz]
	}
}
