package imaging

import (
	"fmt"
	"math"
	"math/bits"
)

// Affine maps voxel indices (x, y, z), voxel centres at integers, to RAS+
// millimetres: world = A·(x, y, z, 1). Row-major; the last row is 0 0 0 1.
type Affine [4][4]float64

// Identity is 1 mm voxels along R, A, S with voxel (0, 0, 0) at the origin.
func Identity() Affine {
	return Affine{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}
}

// Apply maps a point.
func (a Affine) Apply(p [3]float64) [3]float64 {
	var r [3]float64
	for i := range r {
		r[i] = a[i][0]*p[0] + a[i][1]*p[1] + a[i][2]*p[2] + a[i][3]
	}
	return r
}

// Mul returns a·b: first b, then a.
func (a Affine) Mul(b Affine) Affine {
	var r Affine
	for i := range 4 {
		for j := range 4 {
			for k := range 4 {
				r[i][j] += a[i][k] * b[k][j]
			}
		}
	}
	return r
}

// Det returns the determinant of the 3×3 part.
func (a Affine) Det() float64 {
	return a[0][0]*(a[1][1]*a[2][2]-a[1][2]*a[2][1]) -
		a[0][1]*(a[1][0]*a[2][2]-a[1][2]*a[2][0]) +
		a[0][2]*(a[1][0]*a[2][1]-a[1][1]*a[2][0])
}

// Inverse returns world → voxel. ok is false when the matrix is singular or
// not finite.
func (a Affine) Inverse() (inv Affine, ok bool) {
	d := a.Det()
	if d == 0 || !finite(d) {
		return Affine{}, false
	}
	for i := range 3 {
		for j := range 3 {
			r0, r1 := (j+1)%3, (j+2)%3
			c0, c1 := (i+1)%3, (i+2)%3
			inv[i][j] = (a[r0][c0]*a[r1][c1] - a[r0][c1]*a[r1][c0]) / d
		}
	}
	for i := range 3 {
		inv[i][3] = -(inv[i][0]*a[0][3] + inv[i][1]*a[1][3] + inv[i][2]*a[2][3])
		for j := range 4 {
			if !finite(inv[i][j]) {
				return Affine{}, false
			}
		}
	}
	inv[3][3] = 1
	return inv, true
}

// Spacing returns the length of one step along each voxel axis in millimetres.
func (a Affine) Spacing() [3]float64 {
	var s [3]float64
	for j := range s {
		s[j] = math.Sqrt(a[0][j]*a[0][j] + a[1][j]*a[1][j] + a[2][j]*a[2][j])
	}
	return s
}

// Grid is the lattice of a volume: its size and its place in the world.
type Grid struct {
	Size   [3]int // voxels along x, y, z
	Affine Affine
}

// Voxels returns the number of voxels of one channel. Validate has checked
// that it does not overflow.
func (g Grid) Voxels() int { return g.Size[0] * g.Size[1] * g.Size[2] }

// Spacing returns the voxel size along x, y, z in millimetres.
func (g Grid) Spacing() [3]float64 { return g.Affine.Spacing() }

// Validate reports sizes below 1, an overflowing voxel count (ErrLimit), an
// affine that is not finite or not invertible, and voxel sizes beyond what
// float64 can square (ErrFormat, like the others).
func (g Grid) Validate() error {
	n := uint64(1)
	for _, s := range g.Size {
		if s < 1 {
			return fmt.Errorf("%w: size %d×%d×%d", ErrFormat, g.Size[0], g.Size[1], g.Size[2])
		}
		hi, lo := bits.Mul64(n, uint64(s))
		if hi != 0 || lo > math.MaxInt64/16 {
			return fmt.Errorf("%w: size %d×%d×%d overflows", ErrLimit, g.Size[0], g.Size[1], g.Size[2])
		}
		n = lo
	}
	for i := range 3 {
		for j := range 4 {
			if !finite(g.Affine[i][j]) {
				return fmt.Errorf("%w: the affine holds %g at row %d, column %d", ErrFormat, g.Affine[i][j], i, j)
			}
		}
	}
	for i, s := range g.Spacing() {
		if !(s > 0) || !finite(s) { // 0 and Inf also of finite numbers, such as 1e-200 and 1e200
			return fmt.Errorf("%w: a voxel is %g mm long along axis %d", ErrFormat, s, i)
		}
	}
	if _, ok := g.Affine.Inverse(); !ok {
		return fmt.Errorf("%w: the affine cannot be inverted", ErrFormat)
	}
	return nil
}

// Distance returns how far, in voxels of g, the corners of g lie from the same
// voxel indices of o: 0 for equal lattices, +Inf when the sizes differ.
func (g Grid) Distance(o Grid) float64 {
	inv, ok := g.Affine.Inverse()
	if g.Size != o.Size || !ok {
		return math.Inf(1)
	}
	m := inv.Mul(o.Affine) // voxel of o → voxel of g
	var worst float64
	for c := range 8 {
		p := [3]float64{}
		for i := range p {
			if c>>i&1 == 1 {
				p[i] = float64(g.Size[i] - 1)
			}
		}
		q := m.Apply(p)
		for i := range q {
			worst = math.Max(worst, math.Abs(q[i]-p[i]))
		}
	}
	return worst
}

// AxisMap says how the axes of one lattice lie in another: axis i of the
// target runs along axis Source[i] of the source, backwards when Flip[i].
type AxisMap struct {
	Source [3]int
	Flip   [3]bool
}

// Letters of the six directions, negative before positive, per world axis.
var axisLetters = [3][2]byte{{'L', 'R'}, {'P', 'A'}, {'I', 'S'}}

// closestAxes returns for every voxel axis the world axis that it is closest
// to and whether it runs against it. Each world axis is used once: the
// strongest direction cosine chooses first.
func closestAxes(a Affine) (world [3]int, negative [3]bool) {
	sp := a.Spacing()
	var usedW, usedV [3]bool
	for range 3 {
		best, bw, bv := -1.0, 0, 0
		for v := range 3 {
			for w := range 3 {
				if usedV[v] || usedW[w] || sp[v] == 0 {
					continue
				}
				if c := math.Abs(a[w][v]) / sp[v]; c > best {
					best, bw, bv = c, w, v
				}
			}
		}
		usedV[bv], usedW[bw] = true, true
		world[bv], negative[bv] = bw, a[bw][bv] < 0
	}
	return world, negative
}

// Orientation names the directions of the voxel axes, for example "RAS" or
// "LPS": the letter says where the axis points to.
func (g Grid) Orientation() string {
	w, neg := closestAxes(g.Affine)
	b := make([]byte, 3)
	for i := range 3 {
		k := 1
		if neg[i] {
			k = 0
		}
		b[i] = axisLetters[w[i]][k]
	}
	return string(b)
}

// Orient returns the lattice of the same voxels with axes reordered and
// flipped to codes (for example "RAS"), and the map from it to g's axes.
// codes must name each of the three world axes once (ErrFormat).
func (g Grid) Orient(codes string) (Grid, AxisMap, error) {
	var want [3]int
	var wantNeg [3]bool
	var seen [3]bool
	if len(codes) != 3 {
		return Grid{}, AxisMap{}, fmt.Errorf("%w: orientation %q is not three letters", ErrFormat, codes)
	}
	for i := range 3 {
		w := -1
		for k := range 3 {
			for s := range 2 {
				if axisLetters[k][s] == codes[i] {
					w, wantNeg[i] = k, s == 0
				}
			}
		}
		if w < 0 || seen[w] {
			return Grid{}, AxisMap{}, fmt.Errorf("%w: orientation %q must use one of L/R, one of P/A and one of I/S", ErrFormat, codes)
		}
		seen[w], want[i] = true, w
	}
	have, haveNeg := closestAxes(g.Affine)
	var m AxisMap
	for i := range 3 {
		for v := range 3 {
			if have[v] == want[i] {
				m.Source[i], m.Flip[i] = v, haveNeg[v] != wantNeg[i]
			}
		}
	}
	return g.Remap(m), m, nil
}

// Remap returns the lattice whose axes are g's axes reordered and flipped.
func (g Grid) Remap(m AxisMap) Grid {
	var t Affine
	t[3][3] = 1
	var r Grid
	for i := range 3 {
		s := m.Source[i]
		r.Size[i] = g.Size[s]
		if m.Flip[i] {
			t[s][i], t[s][3] = -1, float64(g.Size[s]-1)
		} else {
			t[s][i] = 1
		}
	}
	r.Affine = g.Affine.Mul(t)
	return r
}
