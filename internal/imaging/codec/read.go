package codec

import (
	"context"
	"errors"
	"io"
	"path/filepath"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
	"github.com/voxloop/voxloop/internal/imaging/nifti"
	"github.com/voxloop/voxloop/internal/imaging/nrrd"
)

// Limits bound what a file may hold; see raw.Limits for the defaults.
type Limits = raw.Limits

// Header is what a file says about itself: Grid, Channels, Type.
type Header = raw.Header

// Read reads the image file at path, voxels as on disk.
func Read(ctx context.Context, path string, lim Limits) (*imaging.Volume, error) {
	name := filepath.Base(path)
	s, err := openFile(path)
	if err != nil {
		return nil, raw.WithName(err, "read", name)
	}
	v, err := read(ctx, s, name, lim)
	return v, raw.WithName(errors.Join(err, s.Close()), "read", name)
}

// ReadFrom reads one image from a stream. name is used in messages. Files
// whose voxels lie in a second file (.nhdr, .hdr/.img) cannot come as streams.
func ReadFrom(ctx context.Context, r io.Reader, name string, lim Limits) (*imaging.Volume, error) {
	name = filepath.Base(name)
	v, err := read(ctx, raw.NewSource(r, -1), name, lim)
	return v, raw.WithName(err, "read", name)
}

// ReadGrid reads the header of the image file at path, no voxels. It refuses
// what exceeds the default limits or cannot be in a file of that length.
func ReadGrid(ctx context.Context, path string) (Header, error) {
	name := filepath.Base(path)
	if err := ctx.Err(); err != nil {
		return Header{}, raw.WithName(raw.ReadFailure(err, "the header"), "read", name)
	}
	s, err := openFile(path)
	if err != nil {
		return Header{}, raw.WithName(err, "read", name)
	}
	h, err := readHeader(s, name)
	return h, raw.WithName(errors.Join(err, s.Close()), "read", name)
}

// openFile opens path; further files of the image are looked for in its
// folder only, and symbolic links do not lead out of it.
func openFile(path string) (*raw.Source, error) {
	s, err := raw.Open(path)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	s.SetOpener(func(name string) (*raw.Source, error) { return raw.OpenIn(dir, name) })
	return s, nil
}

// Check reads the image file at path in full, as ReadFile does (header, length,
// decoding, checksum), but keeps no voxels: memory is constant whatever the
// file's size. A file that passes can be read; errors are those of Read.
func Check(ctx context.Context, path string, lim Limits) error {
	name := filepath.Base(path)
	s, err := openFile(path)
	if err != nil {
		return raw.WithName(err, "read", name)
	}
	return raw.WithName(errors.Join(check(ctx, s, name, lim), s.Close()), "read", name)
}

func check(ctx context.Context, s *raw.Source, name string, lim Limits) error {
	s, f, err := sniff(s)
	if err != nil {
		return err
	}
	if f == nrrdFormat {
		return nrrd.Check(ctx, s, lim)
	}
	return nifti.Check(ctx, s, name, lim)
}

type format int

const (
	unknownFormat format = iota
	niftiFormat
	nrrdFormat
)

// sniff looks through compression and recognises the format.
func sniff(s *raw.Source) (*raw.Source, format, error) {
	s, err := s.Unzip()
	if err != nil {
		return nil, unknownFormat, err
	}
	head := s.Peek(8)
	switch {
	case nrrd.Match(head):
		return s, nrrdFormat, nil
	case nifti.Match(head):
		return s, niftiFormat, nil
	case len(head) == 0:
		return nil, unknownFormat, s.Empty()
	}
	return nil, unknownFormat, raw.Malformed("it is neither NIfTI nor NRRD")
}

func read(ctx context.Context, s *raw.Source, name string, lim Limits) (*imaging.Volume, error) {
	s, f, err := sniff(s)
	if err != nil {
		return nil, err
	}
	if f == nrrdFormat {
		return nrrd.Read(ctx, s, lim)
	}
	return nifti.Read(ctx, s, name, lim)
}

func readHeader(s *raw.Source, name string) (Header, error) {
	s, f, err := sniff(s)
	if err != nil {
		return Header{}, err
	}
	if f == nrrdFormat {
		return nrrd.ReadHeader(s, Limits{})
	}
	return nifti.ReadHeader(s, name, Limits{})
}
