package nifti

import (
	"fmt"
	"io"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// WriteOptions tunes Write. The zero value writes NIfTI-1 where the volume fits
// into it and NIfTI-2 otherwise.
type WriteOptions struct {
	// Version is the format's version, 1 or 2. 0 means Meta's, or else 1 unless
	// an axis is longer than 32767 voxels or the affine beyond float32.
	Version int

	// Meta is written beside the volume; nil means none. Its matrices are kept
	// bit by bit when they give exactly the volume's grid, its axes above the
	// third when they make the volume's channels.
	Meta *Meta
}

// Write writes v as a single uncompressed file, little-endian; channels become
// the fourth dimension. The sform holds the grid's affine (float32 in version
// 1, float64 in 2), the qform the closest matrix without shear, both with code
// 1. Slope and intercept stand in the header; where the header's numbers cannot
// hold them, the scaled values are stored instead. Equal volumes give equal
// bytes.
//
// Errors: Invalid when the volume breaks its own rules or does not fit the
// version asked for; errors of w are returned as they are.
func Write(w io.Writer, v *imaging.Volume, o WriteOptions) error {
	e, err := newEncoder(v, o, false)
	if err != nil {
		return err
	}
	if err := e.writeHeader(w); err != nil {
		return err
	}
	return raw.WriteVoxels(w, e.v.Data)
}

// WriteGzip writes what Write writes as a gzip stream.
func WriteGzip(w io.Writer, v *imaging.Volume, o WriteOptions) error {
	z, err := raw.NewGzipWriter(w)
	if err != nil {
		return err
	}
	if err := Write(z, v, o); err != nil {
		return err
	}
	return z.Close()
}

// WritePair writes the two files of a .hdr/.img pair, uncompressed.
func WritePair(hdr, img io.Writer, v *imaging.Volume, o WriteOptions) error {
	e, err := newEncoder(v, o, true)
	if err != nil {
		return err
	}
	if err := e.writeHeader(hdr); err != nil {
		return err
	}
	return raw.WriteVoxels(img, e.v.Data)
}

// maxDim1 is the longest axis of NIfTI-1.
const maxDim1 = math.MaxInt16

// encoder is a volume that is ready to be written.
type encoder struct {
	v          *imaging.Volume // what is stored: scaled when the header cannot hold the scaling
	meta       Meta
	version    int
	pair       bool
	dim        []int
	place      placing
	extensions []byte // with the flags in front
}

func newEncoder(v *imaging.Volume, o WriteOptions, pair bool) (*encoder, error) {
	if err := v.Validate(); err != nil {
		return nil, raw.Classify(err)
	}
	e := &encoder{v: v, pair: pair}
	if o.Meta != nil {
		e.meta = *o.Meta
	} else {
		e.meta.Units = unitsMM
		e.meta.Step = [4]float64{1, 1, 1, 1}
	}
	e.dim = e.dimensions()
	if err := e.chooseVersion(o.Version); err != nil {
		return nil, err
	}
	if e.version == 1 && !raw.FitsFloat32(v.Slope, v.Intercept) {
		e.v = raw.Unscaled(v)
	}
	e.place = e.placing()
	var err error
	e.extensions, err = encodeExtensions(e.meta.Extensions)
	return e, err
}

// dimensions are the file's axes: Meta's where they hold exactly the volume.
func (e *encoder) dimensions() []int {
	v, m := e.v, e.meta
	size, channels := [3]int{1, 1, 1}, 1
	for i, d := range m.Dim {
		if i < 3 {
			size[i] = d
		} else {
			channels *= d
		}
	}
	if len(m.Dim) > 0 && size == v.Size && channels == v.Channels {
		return m.Dim
	}
	dim := v.Size[:]
	if v.Channels > 1 {
		dim = append(dim, v.Channels)
	}
	return dim
}

func (e *encoder) chooseVersion(asked int) error {
	unfit := ""
	for _, d := range e.dim {
		if d > maxDim1 {
			unfit = fmt.Sprintf("a NIfTI-1 axis has at most %d voxels, this volume has %d", maxDim1, d)
		}
	}
	if !storable(e.v.Affine) {
		unfit = "the volume's affine exceeds the range of the float32 numbers in a NIfTI-1 header"
	}
	e.version = asked
	if asked == 0 {
		e.version = max(e.meta.Version, 1)
	}
	switch {
	case e.version != 1 && e.version != 2:
		return fault.New(fault.Invalid, "there is no NIfTI-%d; versions are 1 and 2", e.version)
	case e.version == 1 && unfit != "" && asked == 1:
		return fault.New(fault.Invalid, "%s; write NIfTI-2 or NRRD", unfit)
	case unfit != "":
		e.version = 2
	}
	return nil
}

// storable reports whether a is still finite and has voxels of some size after
// rounding to float32.
func storable(a imaging.Affine) bool {
	a = rounded(a)
	for _, s := range a.Spacing() {
		if float32(s) == 0 || math.IsInf(float64(float32(s)), 0) {
			return false
		}
	}
	return finiteAffine(a)
}

func rounded(a imaging.Affine) imaging.Affine {
	for i := range 3 {
		for j := range 4 {
			a[i][j] = float64(float32(a[i][j]))
		}
	}
	return a
}
