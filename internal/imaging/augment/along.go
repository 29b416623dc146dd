package augment

// inside returns the part [from, to) of a row of n voxels whose coordinates
// at + i·step lie between the source's first and last voxels on every axis, the
// last ones excluded.
func (s *sampler) inside(at, step [3]int64, n int) (from, to int) {
	lo, hi := int64(0), int64(n)
	for k, c := range at {
		end := int64(s.size[k]-1) << fixedBits // c + i·d must be within [0, end)
		switch d := step[k]; {
		case d == 0:
			if c < 0 || c >= end {
				return 0, 0
			}
		case d > 0:
			lo, hi = max(lo, ceilDiv(-c, d)), min(hi, ceilDiv(end-c, d))
		default:
			lo, hi = max(lo, ceilDiv(c-end+1, -d)), min(hi, ceilDiv(c+1, -d))
		}
	}
	if lo >= hi {
		return 0, 0
	}
	return int(lo), int(hi)
}

// ceilDiv returns the least integer that is not below a/b; b is positive.
func ceilDiv(a, b int64) int64 {
	q := a / b
	if a%b > 0 {
		q++
	}
	return q
}

// along interpolates where a straight line runs inside the source: nothing has
// to be checked there.
func (s *sampler) along(dst, src []float32, at, step [3]int64) {
	x, y, z := at[0], at[1], at[2]
	sx, sy := s.sx, s.sy
	for i := range dst {
		o := int(x>>fixedBits)*sx + int(y>>fixedBits)*sy + int(z>>fixedBits)
		p := (*[2]float32)(src[o : o+2])
		q := (*[2]float32)(src[o+sy : o+sy+2])
		t := (*[2]float32)(src[o+sx : o+sx+2])
		u := (*[2]float32)(src[o+sx+sy : o+sx+sy+2])
		w := fraction(z)
		v := 1 - w
		p0, q0, t0, u0 := v*p[0]+w*p[1], v*q[0]+w*q[1], v*t[0]+w*t[1], v*u[0]+w*u[1]
		w = fraction(y)
		v = 1 - w
		p0, t0 = v*p0+w*q0, v*t0+w*u0
		w = fraction(x)
		dst[i] = (1-w)*p0 + w*t0
		x += step[0]
		y += step[1]
		z += step[2]
	}
}
