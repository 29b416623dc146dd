package nifti

import (
	"math"

	"github.com/voxloop/voxloop/internal/imaging"
)

const (
	xformScanner = 1 // NIFTI_XFORM_SCANNER_ANAT
	unitsMM      = 2 // NIFTI_UNITS_MM
)

// placing returns the fields that place the volume: those that were read where
// they, as the file will hold them, still give exactly its affine; else new
// ones with both codes 1.
func (e *encoder) placing() placing {
	if e.meta.Version != 0 {
		kept := e.meta.place
		if e.version == 1 {
			kept.round()
		}
		h := header{dim: dims64(e.dim), placing: kept}
		h.settlePixdim()
		if g, err := h.grid(); err == nil && g == e.v.Grid {
			return kept
		}
	}
	p := place(e.v.Affine, e.version == 1)
	copy(p.pixdim[4:], e.meta.Step[:])
	return p
}

// round makes every number a float32.
func (p *placing) round() {
	for i := range p.pixdim {
		p.pixdim[i] = float64(float32(p.pixdim[i]))
	}
	for i := range 3 {
		p.quatern[i], p.qoffset[i] = float64(float32(p.quatern[i])), float64(float32(p.qoffset[i]))
		for j := range 4 {
			p.srow[i][j] = float64(float32(p.srow[i][j]))
		}
	}
}

// place returns pixdim, qform and sform of an affine. single says that the
// numbers will be stored as float32.
func place(a imaging.Affine, single bool) placing {
	spacing := a.Spacing()
	var m matrix
	for i := range 3 {
		for j := range 3 {
			m[i][j] = a[i][j] / spacing[j]
		}
	}
	p := placing{qcode: xformScanner, scode: xformScanner}
	p.pixdim[0] = 1
	if m.det() < 0 { // a quaternion has no mirror images: qfac flips the third axis
		p.pixdim[0] = -1
		for i := range 3 {
			m[i][2] = -m[i][2]
		}
	}
	r := nearestOrthogonal(m)
	if single {
		for i, q := range storedQuaternion(r) {
			p.quatern[i] = float64(q)
		}
	} else {
		_, p.quatern[0], p.quatern[1], p.quatern[2] = quaternion(r)
		p.shorten()
	}
	for i := range 3 {
		p.pixdim[i+1], p.qoffset[i] = spacing[i], a[i][3]
		copy(p.srow[i][:], a[i][:])
	}
	return p
}

// shorten makes sure that b² + c² + d² does not exceed 1: a rounding beyond it
// would let strict readers refuse the quaternion.
func (p *placing) shorten() {
	q := &p.quatern
	if n := q[0]*q[0] + q[1]*q[1] + q[2]*q[2]; n > 1 {
		for i := range q {
			q[i] *= (1 - 0x1p-52) / math.Sqrt(n)
		}
	}
}
