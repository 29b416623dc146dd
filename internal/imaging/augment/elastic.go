package augment

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// Elastic bends space smoothly: control points, spacing voxels apart, are moved
// along x, y and z by up to ± magnitude voxels each, and cubic B-splines lead
// from one to the next (Rueckert and others, IEEE TMI 1999). No voxel is
// displaced along an axis by more than the magnitude; the root mean square is
// about a fifth of it. A slice, one voxel thick, is bent within itself. Space
// does not fold while displacements stay below 0.4 of the control points'
// spacing (Choi and Lee 2000), which is required.
type Elastic struct {
	Probability float64 `yaml:"probability"`
	Spacing     float64 `yaml:"spacing"`
	Magnitude   Range   `yaml:"magnitude"`
}

// foldLimit is the largest displacement, in control point spacings, at which
// a cubic B-spline deformation surely is one-to-one.
const foldLimit = 0.4

func (e *Elastic) validate() error {
	if !(e.Spacing >= 2 && e.Spacing <= maxSize) {
		return fault.New(fault.Invalid, "elastic.spacing: %g is not within 2..%d voxels", e.Spacing, maxSize)
	}
	if err := e.Magnitude.checkSize("elastic.magnitude", maxSize); err != nil {
		return err
	}
	if e.Magnitude[1] > foldLimit*e.Spacing {
		return fault.New(fault.Invalid, "elastic.magnitude: %g voxels fold space; with spacing %g at most %g",
			e.Magnitude[1], e.Spacing, foldLimit*e.Spacing)
	}
	return checkProbability(e.Probability)
}

// deformation is a drawn elastic map: displacements of control points
// [X, Y, Z, component], and the splines along each axis.
type deformation struct {
	spline  [3]splineAxis
	control []float64
}

// splineAxis holds, for every voxel of an axis, the first of the four control
// points around it and their weights.
type splineAxis struct {
	points  int
	spacing float64
	first   []int
	weight  [][4]float64
}

func (e *Elastic) draw(r *run, magnitude float64) *deformation {
	f := new(deformation)
	n := 1
	for i, size := range r.p.Size {
		f.spline[i] = newSplineAxis(size, e.Spacing)
		n *= f.spline[i].points
	}
	r.spare.control = grow(r.spare.control, 4*n)
	f.control = r.spare.control[:3*n]
	values := r.spare.control[3*n:]
	for c, p := range []purpose{forControlX, forControlY, forControlZ} {
		s := r.stream(-1, p)
		s.uniforms(values)
		along := magnitude
		if r.p.Size[c] == 1 {
			along = 0
		}
		for i, v := range values {
			f.control[3*i+c] = v * along
		}
	}
	return f
}

func newSplineAxis(size int, spacing float64) splineAxis {
	s := splineAxis{
		points:  int(float64(size-1)/spacing) + 4,
		spacing: spacing,
		first:   make([]int, size),
		weight:  make([][4]float64, size),
	}
	for i := range size {
		at := float64(i) / spacing
		k := math.Floor(at)
		u := at - k
		s.first[i] = int(k)
		s.weight[i] = [4]float64{
			(1 - u) * (1 - u) * (1 - u) / 6,
			(3*u*u*u - 6*u*u + 4) / 6,
			(-3*u*u*u + 3*u*u + 3*u + 1) / 6,
			u * u * u / 6,
		}
	}
	return s
}

// plane blends the control points along x for the rows of x, in out [Y, Z,
// component] of control points.
func (f *deformation) plane(out []float64, x int) []float64 {
	n := f.spline[1].points * f.spline[2].points * 3
	out = grow(out, n)
	first, w := f.spline[0].first[x], &f.spline[0].weight[x]
	blend4(out, f.control[first*n:], n, w)
	return out
}

// row blends a plane along y for row y, in line [Z, component].
func (f *deformation) row(line, plane []float64, y int) []float64 {
	n := f.spline[2].points * 3
	line = grow(line, n)
	blend4(line, plane[f.spline[1].first[y]*n:], n, &f.spline[1].weight[y])
	return line
}

// blend4 is the weighted sum of four vectors of n numbers that follow each other.
func blend4(out, from []float64, n int, w *[4]float64) {
	a, b, c, d := from[:n], from[n:2*n], from[2*n:3*n], from[3*n:4*n]
	out, b, c, d = out[:n], b[:n], c[:n], d[:n]
	for i, v := range a {
		out[i] = w[0]*v + w[1]*b[i] + w[2]*c[i] + w[3]*d[i]
	}
}

// cubic is a polynomial of degree 3 at equal steps: its value, and the
// differences of which adding up gives the next one.
type cubic struct{ v, d1, d2, d3 float64 }

// newCubic is the B-spline with control values p0 to p3, times scale, from u on in
// steps of h.
func newCubic(p0, p1, p2, p3, scale, u, h float64) cubic {
	c0, c1 := scale*(p0+4*p1+p2)/6, scale*(p2-p0)/2
	c2, c3 := scale*(p0-2*p1+p2)/2, scale*(p3-3*p2+3*p1-p0)/6
	return cubic{
		v:  c0 + u*(c1+u*(c2+u*c3)),
		d1: h * (c1 + c2*(2*u+h) + c3*(3*u*u+3*u*h+h*h)),
		d2: h * h * (2*c2 + 6*c3*(u+h)),
		d3: 6 * h * h * h * c3,
	}
}

// displace adds the displacements of a row to its coordinates.
func (f *deformation) displace(line []float64, x, y, z []int64) {
	spline := &f.spline[2]
	h := 1 / spline.spacing
	for from := 0; from < len(z); {
		k := spline.first[from]
		to := from + 1
		for to < len(z) && spline.first[to] == k {
			to++
		}
		p, u := line[3*k:][:12], float64(from)/spline.spacing-float64(k)
		ax := newCubic(p[0], p[3], p[6], p[9], fixedOne, u, h)
		ay := newCubic(p[1], p[4], p[7], p[10], fixedOne, u, h)
		az := newCubic(p[2], p[5], p[8], p[11], fixedOne, u, h)
		rx := x[from:to]
		ry, rz := y[from:to][:len(rx)], z[from:to][:len(rx)]
		for i := range rx {
			rx[i] += int64(ax.v)
			ry[i] += int64(ay.v)
			rz[i] += int64(az.v)
			ax.v, ax.d1, ax.d2 = ax.v+ax.d1, ax.d1+ax.d2, ax.d2+ax.d3
			ay.v, ay.d1, ay.d2 = ay.v+ay.d1, ay.d1+ay.d2, ay.d2+ay.d3
			az.v, az.d1, az.d2 = az.v+az.d1, az.d1+az.d2, az.d2+az.d3
		}
		from = to
	}
}
