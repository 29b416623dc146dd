// Package nrrd reads NRRD0001 to NRRD0005 and writes NRRD0004 as ITK does.
//
// Encodings raw, gzip, bzip2, text and hex are read, from single files and
// from detached headers whose data file lies in the same folder. The file's
// space becomes RAS once, here. Axes that are not in space (lists, vectors,
// segmentation layers, time) become channels.
//
// Source: the format's definition (teem.sourceforge.net/nrrd/format.html);
// where it leaves a choice, ITK's is followed and named.
package nrrd

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
func ReadHeader(s *raw.Source, lim raw.Limits) (raw.Header, error) {
	o, err := open(s, lim)
	if err != nil {
		return raw.Header{}, err
	}
	return o.info, o.close()
}

// Read reads a volume. Errors are faults: Invalid with imaging.ErrFormat for a
// file that cannot be read, TooLarge with imaging.ErrLimit, Canceled.
func Read(ctx context.Context, s *raw.Source, lim raw.Limits) (*imaging.Volume, error) {
	v, _, err := ReadWithMeta(ctx, s, lim)
	return v, err
}

// ReadWithMeta is Read that also returns the key:=value pairs of the header.
func ReadWithMeta(ctx context.Context, s *raw.Source, lim raw.Limits) (*imaging.Volume, Meta, error) {
	o, err := open(s, lim)
	if err != nil {
		return nil, Meta{}, err
	}
	data, err := o.voxels(ctx)
	if err = errors.Join(err, o.close()); err != nil {
		return nil, Meta{}, err
	}
	if !o.layout.plain {
		data = raw.GatherChannels(data, o.info.Size, o.layout.starts(), o.layout.strides)
	}
	v := &imaging.Volume{Grid: o.info.Grid, Channels: o.info.Channels, Slope: 1, Data: data}
	return v, o.h.meta, nil
}

// opened is a file whose header has been read and checked.
type opened struct {
	h      *header
	layout layout
	info   raw.Header
	count  int         // voxels of all channels
	data   *raw.Source // stands where line skip and byte skip begin to count
	file   *raw.Source // a detached data file, else nil
}

func open(s *raw.Source, lim raw.Limits) (*opened, error) {
	h, err := readHeader(s)
	if err != nil {
		return nil, err
	}
	o := &opened{h: h, data: s}
	if o.layout, err = h.layout(); err != nil {
		return nil, err
	}
	o.info = raw.Header{Grid: o.layout.grid, Channels: o.layout.channels, Type: h.typ}
	if o.count, err = lim.Check(o.info); err != nil {
		return nil, err
	}
	if h.dataFile != "" {
		if err := o.openDataFile(s); err != nil {
			return nil, err
		}
	}
	if err := o.checkLength(); err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

// openDataFile opens the voxels of a detached header. Only a plain name in the
// header's own folder is followed, never a path.
func (o *opened) openDataFile(s *raw.Source) error {
	name := strings.TrimPrefix(o.h.dataFile, "./")
	if err := checkDataFile(name); err != nil {
		return err
	}
	f, err := s.Beside(name)
	if fault.KindOf(err) == fault.NotFound {
		return raw.Malformed("its data file %q is missing", name)
	}
	if err != nil {
		return err
	}
	o.file, o.data = f, f
	return nil
}

func (o *opened) close() error {
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}

// checkLength refuses a header that promises more than the file can hold.
func (o *opened) checkLength() error {
	left, bytes := o.data.Left(), int64(o.count)*int64(o.h.typ.Size())
	if left < 0 {
		return nil
	}
	var most int64
	switch o.h.encoding {
	case "raw":
		most = left - max(o.h.byteSkip, 0)
	case "gzip", "gz":
		most = left * raw.DeflateRatio
	case "ascii", "text", "txt":
		bytes, most = int64(o.count), left/2+1 // a digit and a blank each
	case "hex":
		most = left / 2
	default: // bzip2 has no useful bound, unknown encodings are refused later
		return nil
	}
	if bytes > most {
		return raw.Malformed("the file is too short for the %d voxels of %s that its header declares", o.count, o.h.typ)
	}
	return nil
}
