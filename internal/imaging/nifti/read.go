// Package nifti reads NIfTI-1 and NIfTI-2 and writes NIfTI-1.
//
// All real voxel types in both byte orders are read, from single files and
// .hdr/.img pairs; extensions are skipped. Dimensions above the third become
// channels. Decompression, limits and memory are raw.Source's business. The
// written files carry the grid twice, as sform and as qform, because readers
// differ in which one they believe.
//
// Source: nifti1.h and nifti2.h (nifti.nimh.nih.gov); choices beyond them
// follow nibabel and MONAI and are named where they are made.
package nifti

import (
	"context"
	"errors"
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
	stem, found := strings.CutSuffix(strings.TrimSuffix(name, ".gz"), ".hdr")
	if !found {
		return raw.Malformed("it is the header of a .hdr/.img pair but is not named .hdr")
	}
	f, err := s.Beside(stem + ".img")
	if fault.KindOf(err) == fault.NotFound {
		f, err = s.Beside(stem + ".img.gz")
	}
	if fault.KindOf(err) == fault.NotFound {
		return raw.Malformed("the .img file with its voxels is missing")
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
	data, err := raw.ReadVoxels(ctx, o.data, o.info.Type, o.count, o.h.big)
	if err != nil {
		return nil, err
	}
	if err := o.data.Finish(); err != nil {
		return nil, err
	}
	return &imaging.Volume{
		Grid: o.info.Grid, Channels: o.info.Channels, Slope: o.h.slope, Intercept: o.h.inter, Data: data,
	}, nil
}

func (o *opened) close() error {
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}
