// Package nifti reads and writes NIfTI-1 and NIfTI-2.
//
// All real voxel types in both byte orders are read, from single files and
// .hdr/.img pairs. Dimensions above the third become channels. What a file says
// beyond the volume, extensions included, comes as a Meta, which Write takes.
// Decompression, limits and memory are raw.Source's business. The written files
// carry the grid twice, as sform and as qform, because readers differ in which
// one they believe.
//
// Source: nifti1.h and nifti2.h (nifti.nimh.nih.gov); choices beyond them
// follow nibabel and MONAI and are named where they are made.
package nifti

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// ReadHeader reads grid, channels and voxel type; no voxels. It fails where
// Read would fail because of the header, the limits or the length of the file.
// name is the plain name of the file, needed for .hdr/.img pairs only.
func ReadHeader(s *raw.Source, name string, lim raw.Limits) (raw.Header, error) {
	o, err := open(s, name, lim)
	if err != nil {
		return raw.Header{}, err
	}
	return o.info, o.close()
}

// Read reads a volume. Errors are faults: Invalid with imaging.ErrFormat for a
// file that cannot be read, TooLarge with imaging.ErrLimit, Canceled. name is
// the plain name of the file, needed for .hdr/.img pairs only.
func Read(ctx context.Context, s *raw.Source, name string, lim raw.Limits) (*imaging.Volume, error) {
	o, err := open(s, name, lim)
	if err != nil {
		return nil, err
	}
	v, err := o.voxels(ctx)
	return v, errors.Join(err, o.close())
}

// ReadWithMeta is Read that also returns what the file says beyond the volume,
// and that reads the file to its very end: a gzip stream's checksum is verified
// however much follows the voxels.
func ReadWithMeta(ctx context.Context, s *raw.Source, name string, lim raw.Limits) (*imaging.Volume, Meta, error) {
	o, err := open(s, name, lim)
	if err != nil {
		return nil, Meta{}, err
	}
	v, err := o.everything(ctx, s, lim)
	return v, o.h.meta, errors.Join(err, o.close())
}

// Check reads what ReadWithMeta reads, but keeps no voxels: memory is constant.
// A file that it accepts can be read; its errors are Read's.
func Check(ctx context.Context, s *raw.Source, name string, lim raw.Limits) error {
	o, err := open(s, name, lim)
	if err != nil {
		return err
	}
	return errors.Join(o.check(ctx, s, lim), o.close())
}

// opened is a file whose header has been read and checked.
type opened struct {
	h     header
	info  raw.Header
	count int         // voxels of all channels
	data  *raw.Source // stands at byte pos of the file that holds the voxels
	pos   int64
	file  *raw.Source // of a pair's second file, else nil
}

func open(s *raw.Source, name string, lim raw.Limits) (*opened, error) {
	h, err := readHeader(s)
	if err != nil {
		return nil, err
	}
	o := &opened{h: h, data: s, pos: int64(h.size)}
	o.info.Type = types[h.datatype]
	if o.info.Grid, err = h.grid(); err != nil {
		return nil, err
	}
	if o.info.Channels, err = h.channels(); err != nil {
		return nil, err
	}
	if o.count, err = lim.Check(o.info); err != nil {
		return nil, err
	}
	if h.pair {
		if err := o.openPair(s, name); err != nil {
			return nil, err
		}
	}
	if err := o.checkLength(); err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

// openPair opens the .img file, compressed or not, of a .hdr file.
func (o *opened) openPair(s *raw.Source, name string) error {
	stem := name
	if strings.HasSuffix(strings.ToLower(stem), ".gz") {
		stem = stem[:len(stem)-len(".gz")]
	}
	img := ".img"
	switch {
	case strings.HasSuffix(stem, ".HDR"):
		img = ".IMG"
	case !strings.HasSuffix(stem, ".hdr"):
		return raw.Malformed("it is the header of a .hdr/.img pair but is not named .hdr")
	}
	stem = stem[:len(stem)-len(img)]
	f, err := s.Beside(stem + img)
	for _, gz := range []string{".gz", ".GZ"} {
		if fault.KindOf(err) == fault.NotFound {
			f, err = s.Beside(stem + img + gz)
		}
	}
	if fault.KindOf(err) == fault.NotFound {
		return raw.Malformed("the %s file with its voxels is missing", img)
	}
	if err != nil {
		return err
	}
	o.file, o.pos = f, 0
	if o.data, err = f.Unzip(); err != nil {
		return errors.Join(err, f.Close())
	}
	return nil
}

// checkLength refuses a header that promises more than the file can hold.
func (o *opened) checkLength() error {
	left := o.data.Left()
	need := o.h.declaredOffset - o.pos + int64(o.count)*int64(o.info.Type.Size())
	if left >= 0 && need > left {
		return raw.Malformed("the file is too short for the %d voxels of %s that its header declares", o.count, o.info.Type)
	}
	return nil
}

func (o *opened) voxels(ctx context.Context) (*imaging.Volume, error) {
	if err := o.data.Skip(ctx, o.h.declaredOffset-o.pos, "the header extensions"); err != nil {
		return nil, err
	}
	v, err := o.block(ctx)
	if err != nil {
		return nil, err
	}
	return v, o.data.Finish()
}

// block reads the voxels where they start.
func (o *opened) block(ctx context.Context) (*imaging.Volume, error) {
	data, err := raw.ReadVoxels(ctx, o.data, o.info.Type, o.count, o.h.big)
	if err != nil {
		return nil, err
	}
	return &imaging.Volume{
		Grid: o.info.Grid, Channels: o.info.Channels, Slope: o.h.slope, Intercept: o.h.inter, Data: data,
	}, nil
}

// everything reads extensions, voxels and the rest. head is the file with the
// header.
func (o *opened) everything(ctx context.Context, head *raw.Source, lim raw.Limits) (*imaging.Volume, error) {
	n, err := o.keepExtensions(ctx, head)
	if err != nil {
		return nil, err
	}
	if o.h.pair {
		n = 0 // read from the other file
		if _, err := head.Drain(ctx, lim.Bytes()); err != nil {
			return nil, err
		}
	}
	if err := o.data.Skip(ctx, o.h.declaredOffset-o.pos-n, "the header extensions"); err != nil {
		return nil, err
	}
	v, err := o.block(ctx)
	if err != nil {
		return nil, err
	}
	return v, o.rest(ctx, lim)
}

func (o *opened) check(ctx context.Context, head *raw.Source, lim raw.Limits) error {
	if o.h.pair {
		if _, err := head.Drain(ctx, lim.Bytes()); err != nil {
			return err
		}
	}
	if err := o.data.Skip(ctx, o.h.declaredOffset-o.pos, "the header extensions"); err != nil {
		return err
	}
	if err := o.data.Skip(ctx, int64(o.count)*int64(o.info.Type.Size()), "the voxels"); err != nil {
		return err
	}
	return o.rest(ctx, lim)
}

func (o *opened) rest(ctx context.Context, lim raw.Limits) error {
	n, err := o.data.Drain(ctx, lim.Bytes())
	if err != nil {
		return err
	}
	if n > 0 {
		o.problem("%d bytes follow the voxels", n)
	}
	if n, err = o.data.Behind(ctx, lim.Bytes()); n > 0 {
		o.problem("%d bytes that are no gzip follow the gzip stream; they are ignored", n)
	}
	return err
}

func (o *opened) problem(format string, args ...any) {
	o.h.meta.Problems = append(o.h.meta.Problems, fmt.Sprintf(format, args...))
}

func (o *opened) close() error {
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}
