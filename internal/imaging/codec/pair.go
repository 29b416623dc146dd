package codec

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
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
// names. Files are either complete or as they were, also when ctx ends the work.
// Errors are those of Write; NotFound when the folder does not exist, Invalid
// where the file system refuses, and the context's.
func WriteFile(ctx context.Context, path string, v *imaging.Volume, o WriteOptions) error {
	ext := FileExt(path)
	var err error
	switch ext {
	case ".hdr", ".img", ".hdr.gz", ".img.gz":
		zipped := strings.HasSuffix(ext, ".gz")
		err = writePair(ctx, path[:len(path)-len(ext)], path[len(path)-len(ext):], zipped, v, o)
	default:
		err = atomicfile.Write(path, 0o644, func(w io.Writer) error { return Write(&stopping{ctx, w}, ext, v, o) })
	}
	return writeFailure(err)
}

// stopping is a writer that fails once its context has ended.
type stopping struct {
	ctx context.Context // of the call of WriteFile that it serves
	w   io.Writer
}

// Write implements io.Writer.
func (s *stopping) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}

// writeFailure tells what the file system refused.
func writeFailure(err error) error {
	path, ok := errors.AsType[*fs.PathError](err)
	switch {
	case !ok:
		return err
	case path.Op == "replace":
		return fault.Wrap(fault.Invalid, path.Err, "a folder of this name, or something else, is in the way")
	case errors.Is(path.Err, fs.ErrNotExist):
		return fault.Wrap(fault.NotFound, path.Err, "the folder does not exist")
	}
	return fault.Wrap(fault.Invalid, path.Err, "the file cannot be written")
}

// writePair writes <stem>.hdr and <stem>.img. The header, without which nobody
// reads the voxels, goes first and comes last: there never is one beside the
// voxels of another image.
func writePair(ctx context.Context, stem, ext string, zipped bool, v *imaging.Volume, o WriteOptions) (err error) {
	hdr, img := stem+".hdr", stem+".img"
	if ext == strings.ToUpper(ext) {
		hdr, img = stem+".HDR", stem+".IMG"
	}
	if zipped {
		hdr, img = hdr+ext[len(ext)-3:], img+ext[len(ext)-3:]
	}
	old, err := holdPair(hdr, img)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.release(err != nil)) }()
	return atomicfile.Write(hdr, 0o644, func(h io.Writer) error {
		return atomicfile.Write(img, 0o644, func(w io.Writer) error {
			if err := encodePair(h, &stopping{ctx, w}, zipped, v, o); err != nil {
				return err
			}
			return old.begin()
		})
	})
}

func encodePair(h, i io.Writer, zipped bool, v *imaging.Volume, o WriteOptions) error {
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
}
