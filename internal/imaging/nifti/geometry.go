package nifti

import (
	"math"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// affine chooses the voxel → RAS matrix:
//
//   - sform_code > 0: the sform, unless its voxel size contradicts pixdim; then
//     the qform, whose voxel size is pixdim, whatever qform_code says (MONAI's
//     rule, see load_mismatch and load_mismatch2 of the golden transforms);
//   - qform_code > 0: the qform;
//   - neither: voxel sizes from pixdim, the first axis pointing left, the
//     origin in the middle of the volume (nibabel's get_base_affine).
//
// Units other than millimetres are not converted, as in nibabel and MONAI.
func (h *header) affine(size [3]int) (imaging.Affine, error) {
	switch {
	case h.scode > 0:
		s := h.sform()
		if !finiteAffine(s) {
			return s, raw.Malformed("the affine (sform) holds NaN or infinite values")
		}
		if h.agrees(s.Spacing()) {
			return s, nil
		}
		if q, ok := h.qform(); ok && finiteAffine(q) {
			return q, nil
		}
		return s, nil
	case h.qcode > 0:
		q, ok := h.qform()
		if !ok {
			return q, raw.Malformed("the affine (qform) has no rotation: its quaternion is longer than 1")
		}
		if !finiteAffine(q) {
			return q, raw.Malformed("the affine (qform) holds NaN or infinite values")
		}
		return q, nil
	}
	return h.base(size), nil
}

func finiteAffine(a imaging.Affine) bool {
	for _, row := range a[:3] {
		for _, f := range row {
			if !finite(f) {
				return false
			}
		}
	}
	return true
}

func (h *header) sform() imaging.Affine {
	a := imaging.Identity()
	copy(a[:3], h.srow[:])
	return a
}

// agrees compares voxel sizes with pixdim within numpy.allclose's tolerance,
// along the axes that the file has.
func (h *header) agrees(spacing [3]float64) bool {
	for i := range min(3, len(h.dim)) {
		want := h.pixdim[i+1]
		if !(math.Abs(spacing[i]-want) <= 1e-8+1e-5*want) {
			return false
		}
	}
	return true
}

// quaternionSlack is how much b²+c²+d² may exceed 1: three float32 roundings,
// nibabel's limit.
const quaternionSlack = 3 * 0x1p-23

// qform builds the matrix from the quaternion (method 2 of nifti1.h): rotation
// × voxel sizes, the third column times qfac. ok is false when b²+c²+d²
// exceeds 1.
func (h *header) qform() (a imaging.Affine, ok bool) {
	b, c, d := h.quatern[0], h.quatern[1], h.quatern[2]
	w2 := 1 - (b*b + c*c + d*d)
	if w2 < -quaternionSlack {
		return a, false
	}
	r := rotation(math.Sqrt(max(w2, 0)), b, c, d)
	a = imaging.Identity()
	for i := range 3 {
		for j := range 3 {
			a[i][j] = r[i][j] * h.pixdim[j+1]
		}
		a[i][2] *= h.pixdim[0]
		a[i][3] = h.qoffset[i]
	}
	return a, true
}

func (h *header) base(size [3]int) imaging.Affine {
	a := imaging.Identity()
	for i := range 3 {
		step := 1.0
		if i < len(h.dim) {
			step = h.pixdim[i+1]
		}
		if i == 0 {
			step = -step
		}
		a[i][i] = step
		a[i][3] = -step * float64(size[i]-1) / 2
	}
	return a
}

// grid returns size and affine of the volume. Axes that the file does not have
// count one voxel.
func (h *header) grid() (imaging.Grid, error) {
	g := imaging.Grid{Size: [3]int{1, 1, 1}}
	for i := range min(3, len(h.dim)) {
		if h.dim[i] > math.MaxInt {
			return g, raw.TooLarge("the header declares %d voxels along axis %d", h.dim[i], i+1)
		}
		g.Size[i] = int(h.dim[i])
	}
	var err error
	if g.Affine, err = h.affine(g.Size); err != nil {
		return g, err
	}
	return g, raw.Classify(g.Validate())
}

// channels is the product of the dimensions above the third: time points
// (dim 4), vector components (dim 5) and so on, the earlier one fastest.
func (h *header) channels() (int, error) {
	n := int64(1)
	for _, d := range h.dim[min(3, len(h.dim)):] {
		if d > math.MaxInt32 || n > math.MaxInt32 {
			return 0, raw.TooLarge("the header declares more than 2^31 channels")
		}
		n *= d
	}
	return int(n), nil
}
