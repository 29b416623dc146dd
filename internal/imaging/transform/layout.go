// Package transform moves voxels between lattices and prepares them for a
// network: orientation and spacing in one sampling pass, intensity steps,
// padding, connected components, and the way back onto the image's grid.
//
// Conventions follow MONAI 1.5, checked against recorded numbers: voxel
// centres lie at integers, a destination voxel is looked up at
// inverse(source affine)·(destination affine) computed in float64, and
// coordinates beyond the source are clamped to its outermost centres.
//
// Arrays are row-major, the last axis fastest. An image as stored (x fastest)
// is therefore the array [z, y, x]; a MONAI network takes [x, y, z]. A Layout
// says which array stands for which piece of the world, so that one pass goes
// from any order to any other.
package transform

import (
	"fmt"
	"math"

	"github.com/voxloop/voxloop/internal/imaging"
)

// Layout is an array of voxels, last axis fastest, and its place in the world:
// Affine maps an index (i, j, k) to RAS millimetres.
type Layout struct {
	Size   [3]int
	Affine imaging.Affine
}

// Voxels returns the number of elements.
func (l Layout) Voxels() int { return l.Size[0] * l.Size[1] * l.Size[2] }

// Ordered returns the layout of a grid whose array axis i runs along grid axis
// axes[i] (0 = x, 1 = y, 2 = z). axes must be a permutation of 0, 1, 2.
func Ordered(g imaging.Grid, axes [3]int) Layout {
	var l Layout
	for i, a := range axes {
		l.Size[i] = g.Size[a]
		for r := range 3 {
			l.Affine[r][i] = g.Affine[r][a]
		}
	}
	for r := range 4 {
		l.Affine[r][3] = g.Affine[r][3]
	}
	return l
}

// Stored returns the layout of a grid's voxels as imaging stores them: the
// array [z, y, x].
func Stored(g imaging.Grid) Layout { return Ordered(g, [3]int{2, 1, 0}) }

// Box returns the part of l that starts at index start and has the given size.
func (l Layout) Box(start, size [3]int) Layout {
	o := l.Affine.Apply([3]float64{float64(start[0]), float64(start[1]), float64(start[2])})
	b := Layout{Size: size, Affine: l.Affine}
	for r := range 3 {
		b.Affine[r][3] = o[r]
	}
	return b
}

// Spacing returns the lattice of g resampled to spacing (mm along x, y, z; 0
// or less keeps the axis). The axes keep their directions, the first voxel's
// centre stays where it is, and an axis of n voxels at s mm gets
// round((n-1)·s/p + 1) voxels, halves to even. A sheared lattice gets the
// orthogonal axes of its QR decomposition.
//
// Source: MONAI 1.5 Spacing with diagonal=False, scale_extent=False.
func Spacing(g imaging.Grid, spacing [3]float64) (imaging.Grid, error) {
	return respaced(g, spacing, false, false)
}

// respaced is Spacing with two options: diagonal, axes along the world's, and
// extent, the outer faces stay in place: round(n·s/p) voxels.
func respaced(g imaging.Grid, spacing [3]float64, diagonal, extent bool) (imaging.Grid, error) {
	q, err := directions(g.Affine)
	if err != nil {
		return imaging.Grid{}, err
	}
	if diagonal {
		q = [3][3]float64{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}
	}
	have := g.Spacing()
	out := imaging.Grid{Affine: imaging.Affine{3: {0, 0, 0, 1}}}
	for j := range 3 {
		p := spacing[j]
		if !(p > 0) {
			p = have[j]
		}
		for i := range 3 {
			out.Affine[i][j] = q[i][j] * p
		}
	}
	var edge float64 // from the outermost centres to the ends of what is measured
	if extent {
		edge = 0.5
	}
	corners := cornersIn(out.Affine, g, edge)
	for i := range 3 {
		lo, hi := corners[0][i], corners[0][i]
		for _, c := range corners {
			lo, hi = math.Min(lo, c[i]), math.Max(hi, c[i])
		}
		n := math.RoundToEven(hi - lo + 1 - 2*edge)
		if !(n <= math.MaxInt32) {
			return imaging.Grid{}, fmt.Errorf("%w: %g voxels along an axis after resampling", imaging.ErrLimit, n)
		}
		out.Size[i] = max(1, int(n))
	}
	o := origin(out, g, corners)
	if extent {
		o = extentOrigin(out, g, diagonal)
	}
	for i := range 3 {
		out.Affine[i][3] = o[i]
	}
	return out, out.Validate()
}

// extentOrigin places out so that its volume covers g's: half a new voxel
// inside g's faces, the new voxel taken as n/N old ones so that rounding N up or
// down is shared by both ends.
func extentOrigin(out, g imaging.Grid, diagonal bool) [3]float64 {
	if diagonal { // no common faces: the centres are brought together
		half := func(s [3]int) (p [3]float64) {
			for i := range p {
				p[i] = float64(s[i]-1) / 2
			}
			return p
		}
		a, b := g.Affine.Apply(half(g.Size)), out.Affine.Apply(half(out.Size))
		return [3]float64{a[0] - b[0], a[1] - b[1], a[2] - b[2]}
	}
	var p [3]float64
	for i := range p {
		p[i] = 0.5 * (float64(g.Size[i])/float64(out.Size[i]) - 1)
	}
	return g.Affine.Apply(p)
}

// cornersIn returns the corners of g, z fastest, in the axes of a, whose
// translation is 0: the outermost centres moved outwards by edge voxels. The number of voxels at a tie (25·3/6 + 1 = 13.5) hangs on
// the rounding of this: the two affines are combined first, then applied.
func cornersIn(a imaging.Affine, g imaging.Grid, edge float64) (out [8][3]float64) {
	m := solve(a, g.Affine)
	for c := range out {
		p := corner(g, c)
		for i := range p {
			if c>>(2-i)&1 == 1 {
				p[i] += edge
			} else {
				p[i] -= edge
			}
		}
		out[c] = m.Apply(p)
	}
	return out
}

func corner(g imaging.Grid, c int) (p [3]float64) {
	for i := range p {
		if c>>(2-i)&1 == 1 {
			p[i] = float64(g.Size[i] - 1)
		}
	}
	return p
}

// origin places out, whose translation is 0: its first voxel on the corner of
// g that comes first along all of out's axes. Where shear leaves no such
// corner, the centres are brought together (at half the sizes, as MONAI does).
func origin(out, g imaging.Grid, corners [8][3]float64) [3]float64 {
	const tolerance = 1e-8 // voxels
	for c, p := range corners {
		first := true
		for _, q := range corners {
			for i := range q {
				first = first && q[i]-p[i] >= -tolerance
			}
		}
		if first {
			return g.Affine.Apply(corner(g, c))
		}
	}
	half := func(s [3]int) [3]float64 { return [3]float64{float64(s[0]) / 2, float64(s[1]) / 2, float64(s[2]) / 2} }
	a, b := g.Affine.Apply(half(g.Size)), out.Affine.Apply(half(out.Size))
	return [3]float64{a[0] - b[0], a[1] - b[1], a[2] - b[2]}
}

// solve returns inverse(a)·b by Gauss-Jordan elimination with row pivoting: for
// axis-aligned affines every element is a single division. a is not singular
// (directions has checked).
func solve(a, b imaging.Affine) imaging.Affine {
	for c := range 4 {
		pivot := c
		for r := c + 1; r < 4; r++ {
			if math.Abs(a[r][c]) > math.Abs(a[pivot][c]) {
				pivot = r
			}
		}
		a[c], a[pivot] = a[pivot], a[c]
		b[c], b[pivot] = b[pivot], b[c]
		d := a[c][c]
		for k := range 4 {
			a[c][k] /= d
			b[c][k] /= d
		}
		for r := range 4 {
			f := a[r][c]
			if r == c || f == 0 {
				continue
			}
			for k := range 4 {
				a[r][k] -= f * a[c][k]
				b[r][k] -= f * b[c][k]
			}
		}
	}
	return b
}

// directions returns the unit vectors of a's columns, made orthogonal
// (Gram-Schmidt, the Q of QR with a positive diagonal).
func directions(a imaging.Affine) (q [3][3]float64, err error) {
	for j := range 3 {
		v := [3]float64{a[0][j], a[1][j], a[2][j]}
		for p := range j {
			var dot float64
			for i := range 3 {
				dot += q[i][p] * a[i][j]
			}
			for i := range 3 {
				v[i] -= dot * q[i][p]
			}
		}
		n := math.Sqrt(v[0]*v[0] + v[1]*v[1] + v[2]*v[2])
		if !(n > 0) || math.IsInf(n, 0) {
			return q, fmt.Errorf("%w: the affine cannot be inverted", imaging.ErrFormat)
		}
		for i := range 3 {
			q[i][j] = v[i] / n
		}
	}
	return q, nil
}
