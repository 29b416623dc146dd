package codec

import (
	"io"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
	"github.com/voxloop/voxloop/internal/imaging/nifti"
	"github.com/voxloop/voxloop/internal/imaging/nrrd"
)

// WriteOptions tunes Write. The zero value is ready for use.
type WriteOptions struct {
	Compress bool // gzip the voxels of NRRD; .nii.gz always is gzip, .nii never

	// Segments name the labels of a .seg.nrrd file. Other formats have no place
	// for names and leave them out.
	Segments []nrrd.Segment

	// NIfTI and NRRD are what an earlier file said beyond the volume; it is
	// written into a file of the same format. nil means nothing.
	NIfTI *nifti.Meta
	NRRD  *nrrd.Meta

	NIfTIVersion int        // 1 or 2; 0 means NIfTI's, else the first that fits
	Axes         []raw.Axis // beyond space, for NRRD; see nrrd.WriteOptions
}

// Write writes v in the format of ext: .nii, .nii.gz, .nrrd or .seg.nrrd,
// without regard to case. Equal input gives equal bytes. Other extensions and
// volumes that the format cannot hold are Invalid; errors of w are returned
// as they are.
func Write(w io.Writer, ext string, v *imaging.Volume, o WriteOptions) error {
	switch strings.ToLower(ext) {
	case ".nii":
		return nifti.Write(w, v, o.nifti())
	case ".nii.gz":
		return nifti.WriteGzip(w, v, o.nifti())
	case ".nrrd":
		p := o.nrrd()
		p.Pairs = o.meta().OtherPairs()
		return nrrd.Write(w, v, p)
	case ".seg.nrrd":
		p := o.nrrd()
		p.Pairs = o.meta().WithSegments(v.Grid, o.Segments)
		return nrrd.Write(w, v, p)
	}
	return fault.New(fault.Invalid, "files of type %q cannot be written; use .nii, .nii.gz, .nrrd or .seg.nrrd", ext)
}

func (o WriteOptions) nifti() nifti.WriteOptions {
	return nifti.WriteOptions{Version: o.NIfTIVersion, Meta: o.NIfTI}
}

func (o WriteOptions) meta() nrrd.Meta {
	if o.NRRD == nil {
		return nrrd.Meta{}
	}
	return *o.NRRD
}

func (o WriteOptions) nrrd() nrrd.WriteOptions {
	return nrrd.WriteOptions{Compress: o.Compress, Content: o.meta().Content, Axes: o.Axes}
}

// WriteLabels writes a label map with voxels of type t. A label that t cannot
// hold is Invalid.
func WriteLabels(w io.Writer, ext string, l *imaging.LabelMap, t imaging.DataType, o WriteOptions) error {
	v, err := l.Volume(t)
	if err != nil {
		return raw.Classify(err)
	}
	return Write(w, ext, v, o)
}
