// Package nrrd reads NRRD0001 to NRRD0005 and writes NRRD0004 as ITK does.
//
// Encodings raw, gzip, bzip2, text and hex are read, from single files and
// from detached headers whose data files lie in the same folder. The file's
// space becomes RAS once, here. Axes that are not in space (lists, vectors,
// segmentation layers, time) become channels.
//
// Source: the format's definition (teem.sourceforge.net/nrrd/format.html);
// where it leaves a choice, ITK's is followed and named.
package nrrd

import (
	"context"
	"errors"
	"fmt"

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
	o, err := open(s, lim)
	if err != nil {
		return nil, err
	}
	v, rest, err := o.volume(ctx)
	if err == nil {
		err = rest.Finish()
	}
	if err = errors.Join(err, o.close()); err != nil {
		return nil, err
	}
	return v, nil
}

// ReadWithMeta is Read that also returns what the header says beyond the volume,
// and that reads the file to its very end: a gzip stream's checksum is verified
// however much follows the voxels.
func ReadWithMeta(ctx context.Context, s *raw.Source, lim raw.Limits) (*imaging.Volume, Meta, error) {
	o, err := open(s, lim)
	if err != nil {
		return nil, Meta{}, err
	}
	v, rest, err := o.volume(ctx)
	if err == nil {
		err = o.rest(ctx, rest)
	}
	if err = errors.Join(err, o.close()); err != nil {
		return nil, Meta{}, err
	}
	return v, o.h.meta, nil
}

// Check reads what ReadWithMeta reads, but keeps no voxels: memory is constant.
// A file that it accepts can be read; its errors are Read's.
func Check(ctx context.Context, s *raw.Source, lim raw.Limits) error {
	o, err := open(s, lim)
	if err != nil {
		return err
	}
	o.checking = true
	return errors.Join(o.check(ctx), o.close())
}

// opened is a file whose header has been read and checked.
type opened struct {
	h        *header
	layout   layout
	info     raw.Header
	count    int         // voxels of all channels
	data     *raw.Source // stands where line skip and byte skip begin to count; of several files: the header's
	file     *raw.Source // a detached data file, else nil
	joined   *parts      // several detached data files, else nil
	checking bool        // no voxels will be kept
	lim      raw.Limits
}

func open(s *raw.Source, lim raw.Limits) (*opened, error) {
	h, err := readHeader(s)
	if err != nil {
		return nil, err
	}
	o := &opened{h: h, data: s, lim: lim}
	if o.layout, err = h.layout(); err != nil {
		return nil, err
	}
	o.info = raw.Header{Grid: o.layout.grid, Channels: o.layout.channels, Type: h.typ}
	if o.count, err = lim.Check(o.info); err != nil {
		return nil, err
	}
	h.meta.Axes, h.meta.Files = o.layout.beyondSpace(), h.files.count()
	switch {
	case h.files.count() > 1:
		return o, o.checkParts()
	case h.files.count() == 1:
		if o.file, err = openDataFile(s, h.files.name(0)); err != nil {
			return nil, err
		}
		o.data = o.file
	}
	if err := o.checkLength(o.data, o.count, ""); err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

// checkParts refuses several data files of which one is missing or too short.
func (o *opened) checkParts() error {
	n := o.h.files.count()
	for i := range n {
		name := o.h.files.name(i)
		f, err := openDataFile(o.data, name)
		if err != nil {
			return err
		}
		err = o.checkLength(f, o.count/n, fmt.Sprintf("its data file %q: ", name))
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (o *opened) close() error {
	var err error
	if o.joined != nil {
		err = o.joined.close()
	}
	if o.file != nil {
		err = errors.Join(err, o.file.Close())
	}
	return err
}

// checkLength refuses a header that promises more voxels than the file can
// hold. where starts the message.
func (o *opened) checkLength(s *raw.Source, count int, where string) error {
	left, bytes := s.Left(), int64(count)*int64(o.h.typ.Size())
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
		bytes, most = int64(count), left/2+1 // a digit and a blank each
	case "hex":
		most = left / 2
	default: // bzip2 has no useful bound, unknown encodings are refused later
		return nil
	}
	if bytes > most {
		return raw.Malformed("%sthe file is too short for the %d voxels of %s that its header declares", where, count, o.h.typ)
	}
	return nil
}

// volume reads the voxels. rest is the stream behind them.
func (o *opened) volume(ctx context.Context) (v *imaging.Volume, rest *raw.Source, err error) {
	s, err := o.source(ctx)
	if err != nil {
		return nil, nil, err
	}
	var data imaging.Voxels
	if isText(o.h.encoding) {
		data, err = readNumbers(ctx, s, o.h.typ, o.count, true)
	} else {
		data, err = raw.ReadVoxels(ctx, s, o.h.typ, o.count, o.h.big)
	}
	if err != nil {
		return nil, nil, err
	}
	if !o.layout.plain {
		data = raw.GatherChannels(data, o.info.Size, o.info.Channels, o.layout.start, o.layout.strides)
	}
	return &imaging.Volume{Grid: o.info.Grid, Channels: o.info.Channels, Slope: 1, Data: data}, s, nil
}

func (o *opened) check(ctx context.Context) error {
	s, err := o.source(ctx)
	if err != nil {
		return err
	}
	if isText(o.h.encoding) {
		_, err = readNumbers(ctx, s, o.h.typ, o.count, false)
	} else {
		err = s.Skip(ctx, int64(o.count)*int64(o.h.typ.Size()), "the voxels")
	}
	if err != nil {
		return err
	}
	return o.rest(ctx, s)
}

// rest reads what follows the voxels.
func (o *opened) rest(ctx context.Context, s *raw.Source) error {
	n, err := s.Drain(ctx, o.lim.Bytes())
	if err != nil {
		return err
	}
	if n > 0 && !isText(o.h.encoding) {
		o.h.meta.Problems = append(o.h.meta.Problems, fmt.Sprintf("%d bytes follow the voxels", n))
	}
	if n, err = s.Behind(ctx, o.lim.Bytes()); n > 0 {
		o.h.meta.Problems = append(o.h.meta.Problems, fmt.Sprintf("%d bytes that are no gzip follow the gzip stream; they are ignored", n))
	}
	return err
}
