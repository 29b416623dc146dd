package nifti

import "math"

type matrix [3][3]float64

// rotation returns the rotation matrix of the quaternion a + bi + cj + dk,
// whose length need not be 1.
func rotation(a, b, c, d float64) matrix {
	n := a*a + b*b + c*c + d*d
	if n == 0 {
		return matrix{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}
	}
	s := 2 / n
	return matrix{
		{1 - s*(c*c+d*d), s * (b*c - a*d), s * (b*d + a*c)},
		{s * (b*c + a*d), 1 - s*(b*b+d*d), s * (c*d - a*b)},
		{s * (b*d - a*c), s * (c*d + a*b), 1 - s*(b*b+c*c)},
	}
}

func (m matrix) det() float64 {
	return m[0][0]*(m[1][1]*m[2][2]-m[1][2]*m[2][1]) -
		m[0][1]*(m[1][0]*m[2][2]-m[1][2]*m[2][0]) +
		m[0][2]*(m[1][0]*m[2][1]-m[1][1]*m[2][0])
}

// inverseTransposed returns (m⁻¹)ᵀ: the cofactors divided by the determinant.
func (m matrix) inverseTransposed() matrix {
	d := m.det()
	var r matrix
	for i := range 3 {
		for j := range 3 {
			i1, i2, j1, j2 := (i+1)%3, (i+2)%3, (j+1)%3, (j+2)%3
			r[i][j] = (m[i1][j1]*m[i2][j2] - m[i1][j2]*m[i2][j1]) / d
		}
	}
	return r
}

func (m matrix) norm() float64 {
	var s float64
	for _, row := range m {
		for _, v := range row {
			s += v * v
		}
	}
	return math.Sqrt(s)
}

// nearestOrthogonal returns the orthogonal matrix closest to the invertible m
// in the Frobenius norm: the factor U of m's polar decomposition, by Higham's
// scaled Newton iteration (SIAM J. Sci. Stat. Comput. 7, 1986). The sign of
// its determinant is m's.
func nearestOrthogonal(m matrix) matrix {
	for range 60 {
		t := m.inverseTransposed()
		g := math.Sqrt(t.norm() / m.norm())
		var next matrix
		var change float64
		for i := range 3 {
			for j := range 3 {
				next[i][j] = (g*m[i][j] + t[i][j]/g) / 2
				change = max(change, math.Abs(next[i][j]-m[i][j]))
			}
		}
		m = next
		if change < 1e-15 {
			break
		}
	}
	return m
}

// quaternion returns the unit quaternion of a rotation with a ≥ 0. The largest
// of the four components is found from the diagonal first, which keeps the
// division well conditioned.
func quaternion(r matrix) (a, b, c, d float64) {
	q := [4]float64{
		1 + r[0][0] + r[1][1] + r[2][2],
		1 + r[0][0] - r[1][1] - r[2][2],
		1 - r[0][0] + r[1][1] - r[2][2],
		1 - r[0][0] - r[1][1] + r[2][2],
	}
	k := 0
	for i, v := range q {
		if v > q[k] {
			k = i
		}
	}
	f := 2 * math.Sqrt(q[k]) // 4 × the largest component
	switch k {
	case 0:
		a, b, c, d = f/4, (r[2][1]-r[1][2])/f, (r[0][2]-r[2][0])/f, (r[1][0]-r[0][1])/f
	case 1:
		a, b, c, d = (r[2][1]-r[1][2])/f, f/4, (r[0][1]+r[1][0])/f, (r[0][2]+r[2][0])/f
	case 2:
		a, b, c, d = (r[0][2]-r[2][0])/f, (r[0][1]+r[1][0])/f, f/4, (r[1][2]+r[2][1])/f
	default:
		a, b, c, d = (r[1][0]-r[0][1])/f, (r[0][2]+r[2][0])/f, (r[1][2]+r[2][1])/f, f/4
	}
	if a < 0 {
		a, b, c, d = -a, -b, -c, -d
	}
	return a, b, c, d
}

// storedQuaternion rounds b, c, d to float32 so that the rotation which a
// reader rebuilds is closest to r. Readers take a = √(1-b²-c²-d²): near half
// turns a rounding of 1e-7 in b alone would become an angle of 3e-4. So the
// neighbours within two units in the last place are tried, and with two
// components chosen the third one is also taken from a² + b² + c² + d² = 1.
// About an axis of the voxels, angles closer than 2e-4 to a half turn remain
// out of reach of the format.
func storedQuaternion(r matrix) [3]float32 {
	a, b, c, d := quaternion(r)
	exact := [3]float64{b, c, d}
	var near [3][]float32
	for i, v := range exact {
		near[i] = neighbours(v, 2)
	}
	best, least := [3]float32{}, math.Inf(1)
	try := func(q [3]float32) {
		if e := rebuildError(r, q); e < least {
			best, least = q, e
		}
	}
	for i := range 3 {
		j, k := (i+1)%3, (i+2)%3
		for _, x := range near[j] {
			for _, y := range near[k] {
				third := near[i]
				if rest := 1 - a*a - float64(x)*float64(x) - float64(y)*float64(y); rest > 0 && exact[i] != 0 {
					third = append(neighbours(math.Copysign(math.Sqrt(rest), exact[i]), 1), third...)
				}
				for _, z := range third {
					var q [3]float32
					q[i], q[j], q[k] = z, x, y
					try(q)
				}
			}
		}
	}
	return best
}

// neighbours returns v as float32 and the n next values on both sides; 0, an
// exact axis, stays alone.
func neighbours(v float64, n int) []float32 {
	f := float32(v)
	all := []float32{f}
	if f == 0 {
		return all
	}
	up, down := f, f
	for range n {
		up, down = math.Nextafter32(up, 2), math.Nextafter32(down, -2)
		all = append(all, up, down)
	}
	return all
}

// rebuildError is the largest difference between r and the rotation rebuilt
// from stored components, infinite where they exceed length 1.
func rebuildError(r matrix, q [3]float32) float64 {
	b, c, d := float64(q[0]), float64(q[1]), float64(q[2])
	w2 := 1 - (b*b + c*c + d*d)
	if w2 < -quaternionSlack/2 {
		return math.Inf(1)
	}
	m := rotation(math.Sqrt(max(w2, 0)), b, c, d)
	var worst float64
	for i := range 3 {
		for j := range 3 {
			worst = max(worst, math.Abs(m[i][j]-r[i][j]))
		}
	}
	return worst
}
