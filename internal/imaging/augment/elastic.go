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
	points int
	first  []int
	weight [][4]float64
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
		points: int(float64(size-1)/spacing) + 4,
		first:  make([]int, size),
		weight: make([][4]float64, size),
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

// row prepares the displacements of row (x, y): control points along z,
// already blended along x and y, in line [Z, component].
func (f *deformation) row(line []float64, x, y int) []float64 {
	nz := f.spline[2].points
	line = grow(line, 3*nz)
	clear(line)
	for a, wx := range f.spline[0].weight[x] {
		px := (f.spline[0].first[x] + a) * f.spline[1].points
		for b, wy := range f.spline[1].weight[y] {
			w := wx * wy
			from := (px + f.spline[1].first[y] + b) * 3 * nz
			for i, v := range f.control[from : from+3*nz] {
				line[i] += w * v
			}
		}
	}
	return line
}

// at returns the displacement of voxel z of a prepared row.
func (f *deformation) at(line []float64, z int) (dx, dy, dz float64) {
	w := &f.spline[2].weight[z]
	p := line[3*f.spline[2].first[z]:][:12]
	dx = w[0]*p[0] + w[1]*p[3] + w[2]*p[6] + w[3]*p[9]
	dy = w[0]*p[1] + w[1]*p[4] + w[2]*p[7] + w[3]*p[10]
	dz = w[0]*p[2] + w[1]*p[5] + w[2]*p[8] + w[3]*p[11]
	return dx, dy, dz
}
