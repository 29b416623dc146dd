package codec

import (
	"io"
	"strings"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
	"github.com/voxloop/voxloop/internal/imaging/nifti"
)

// pairExtensions are the names of either file of a NIfTI pair.
var pairExtensions = []string{".hdr.gz", ".img.gz", ".hdr", ".img"}

// FileExt returns the extension with which WriteFile chooses the format: one
// that Write knows, or one of a pair's (.hdr, .img, both also with .gz); "" for
// any other name. Case does not matter.
func FileExt(name string) string {
	lower := strings.ToLower(name)
	for _, e := range append(pairExtensions, ".seg.nrrd", ".nii.gz", ".nrrd", ".nii") {
		if strings.HasSuffix(lower, e) {
			return e
		}
	}
	return ""
}

// WriteFile creates or replaces the file at path in the format of its
// extension, see FileExt. A pair's two files are written whichever of them path
// names. Files are either complete or as they were. Errors are those of Write.
func WriteFile(path string, v *imaging.Volume, o WriteOptions) error {
	ext := FileExt(path)
	zipped := strings.HasSuffix(ext, ".gz")
	switch ext {
	case ".hdr", ".img", ".hdr.gz", ".img.gz":
		return writePair(path[:len(path)-len(ext)], path[len(path)-len(ext):], zipped, v, o)
	}
	return atomicfile.Write(path, 0o644, func(w io.Writer) error { return Write(w, ext, v, o) })
}

// writePair writes <stem>.hdr and <stem>.img. The header, without which nobody
// reads the voxels, appears last.
func writePair(stem, ext string, zipped bool, v *imaging.Volume, o WriteOptions) error {
	hdr, img := ".hdr", ".img"
	if ext == strings.ToUpper(ext) {
		hdr, img = ".HDR", ".IMG"
	}
	if zipped {
		hdr, img = hdr+ext[len(ext)-3:], img+ext[len(ext)-3:]
	}
	return atomicfile.Write(stem+hdr, 0o644, func(h io.Writer) error {
		return atomicfile.Write(stem+img, 0o644, func(i io.Writer) error {
			if !zipped {
				return nifti.WritePair(h, i, v, o.nifti())
			}
			hz, err := raw.NewGzipWriter(h)
			if err != nil {
				return err
			}
			iz, err := raw.NewGzipWriter(i)
			if err != nil {
				return err
			}
			if err := nifti.WritePair(hz, iz, v, o.nifti()); err != nil {
				return err
			}
			if err := hz.Close(); err != nil {
				return err
			}
			return iz.Close()
		})
	})
}
