package nifti

import (
	"encoding/binary"
	"io"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// Codes and units of nifti1.h.
const (
	xformScanner = 1 // NIFTI_XFORM_SCANNER_ANAT
	unitsMM      = 2 // NIFTI_UNITS_MM
	maxDim       = math.MaxInt16
)

// Write writes v as a single uncompressed NIfTI-1 file, little-endian; channels
// become the fourth dimension. The sform holds the grid's affine exactly (as
// float32), the qform the closest matrix without shear, both with code 1.
// Slope and intercept stand in the header; where two float32 cannot hold
// them, the scaled values are stored instead. Equal volumes give equal bytes.
//
// Errors: Invalid when the volume breaks its own rules or an axis is longer
// than 32767; errors of w are returned as they are.
func Write(w io.Writer, v *imaging.Volume) error {
	if err := v.Validate(); err != nil {
		return raw.Classify(err)
	}
	if !raw.FitsFloat32(v.Slope, v.Intercept) {
		v = raw.Unscaled(v)
	}
	h, err := encodeHeader(v)
	if err != nil {
		return err
	}
	if _, err := w.Write(h); err != nil {
		return err
	}
	return raw.WriteVoxels(w, v.Data)
}

// WriteGzip writes what Write writes as a gzip stream.
func WriteGzip(w io.Writer, v *imaging.Volume) error {
	z, err := raw.NewGzipWriter(w)
	if err != nil {
		return err
	}
	if err := Write(z, v); err != nil {
		return err
	}
	return z.Close()
}

// encodeHeader returns the 348 bytes of the header and the empty extension
// flags behind it.
func encodeHeader(v *imaging.Volume) ([]byte, error) {
	dim := [8]int{3, v.Size[0], v.Size[1], v.Size[2], 1, 1, 1, 1}
	if v.Channels > 1 {
		dim[0], dim[4] = 4, v.Channels
	}
	for _, d := range dim {
		if d > maxDim {
			return nil, fault.New(fault.Invalid, "a NIfTI-1 axis has at most %d voxels, this volume has %d; write NRRD", maxDim, d)
		}
	}
	if !storable(v.Affine) {
		return nil, fault.New(fault.Invalid, "the volume's affine exceeds the range of the float32 numbers in a NIfTI header")
	}
	b := make([]byte, dataStart1)
	le := binary.LittleEndian
	put16 := func(at, n int) { le.PutUint16(b[at:], uint16(n)) } //nolint:gosec // in the range of int16
	put32 := func(at int, f float64) { le.PutUint32(b[at:], math.Float32bits(float32(f))) }
	le.PutUint32(b, size1)
	b[38] = 'r' // "regular": some Analyze readers insist
	for i, d := range dim {
		put16(40+2*i, d)
	}
	code, _ := codeOf(v.Data.Type())
	put16(70, code)
	put16(72, 8*v.Data.Type().Size())
	put32(108, dataStart1)
	put32(112, v.Slope)
	put32(116, v.Intercept)
	b[123] = unitsMM
	copy(b[344:], "n+1\x00")
	putAffine(v.Affine, put16, put32)
	return b, nil
}

// storable reports whether a is still finite and has voxels of some size after
// rounding to float32.
func storable(a imaging.Affine) bool {
	for i := range 3 {
		for j := range 4 {
			a[i][j] = float64(float32(a[i][j]))
		}
	}
	for _, s := range a.Spacing() {
		if float32(s) == 0 || math.IsInf(float64(float32(s)), 0) {
			return false
		}
	}
	return finiteAffine(a)
}

func codeOf(t imaging.DataType) (int, bool) {
	for code, c := range types {
		if c == t {
			return code, true
		}
	}
	return 0, false
}

// putAffine writes pixdim, qform and sform.
func putAffine(a imaging.Affine, put16 func(int, int), put32 func(int, float64)) {
	spacing := a.Spacing()
	var m matrix
	for i := range 3 {
		for j := range 3 {
			m[i][j] = a[i][j] / spacing[j]
		}
	}
	qfac := 1.0
	if m.det() < 0 { // a quaternion has no mirror images: qfac flips the third axis
		qfac = -1
		for i := range 3 {
			m[i][2] = -m[i][2]
		}
	}
	quatern := storedQuaternion(nearestOrthogonal(m))
	put16(252, xformScanner)
	put16(254, xformScanner)
	put32(76, qfac)
	for i := range 3 {
		put32(80+4*i, spacing[i])
		put32(92+4*i, 1) // times and components have a step of 1
		put32(256+4*i, float64(quatern[i]))
		put32(268+4*i, a[i][3])
		for j := range 4 {
			put32(280+16*i+4*j, a[i][j])
		}
	}
	put32(104, 1)
}
