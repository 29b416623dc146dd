package nifti

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// Extension is a block of foreign data behind the header: a DICOM header, an
// XML text, a comment. Data keeps the zeros with which blocks are padded.
type Extension struct {
	Code int // who defines the content: 4 AFNI, 6 comment, 32 CIFTI, …
	Data []byte
}

const (
	extensionHead  = 8        // esize and ecode
	extensionUnit  = 16       // blocks are multiples of it
	maxExtensions  = 16 << 20 // more is skipped, not kept
	extensionFlags = 4
)

// keepExtensions reads what lies between the header and the voxels (in a pair:
// behind the header). What is malformed is left out and named in Problems, as
// it does not hinder reading. It returns how many bytes it has read.
func (o *opened) keepExtensions(ctx context.Context, s *raw.Source) (int64, error) {
	room := int64(maxExtensions + 1)
	if !o.h.pair {
		room = o.h.declaredOffset - o.pos
	}
	if room > maxExtensions && !o.h.pair {
		o.problem("the header extensions have %d bytes; they are not kept", room)
		return 0, nil
	}
	var b bytes.Buffer
	for int64(b.Len()) < room {
		if err := ctx.Err(); err != nil {
			return 0, raw.ReadFailure(err, "the header extensions")
		}
		_, err := io.CopyN(&b, s, min(room-int64(b.Len()), 1<<20))
		if o.h.pair && errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, raw.ReadFailure(err, "the header extensions")
		}
	}
	n := int64(b.Len())
	if n > maxExtensions {
		o.problem("the header extensions have more than %d bytes; they are not kept", maxExtensions)
		return n, nil
	}
	if all := b.Bytes(); len(all) >= extensionFlags && all[0] != 0 {
		o.parseExtensions(all[extensionFlags:])
	}
	return n, nil
}

func (o *opened) parseExtensions(b []byte) {
	order := binary.ByteOrder(binary.LittleEndian)
	if o.h.big {
		order = binary.BigEndian
	}
	r := fields{b: b, order: order}
	written := extensionFlags
	for at := 0; at+extensionHead <= len(b); {
		size := r.i32(at)
		if size < extensionHead || size > len(b)-at {
			o.problem("the header extension at byte %d says that it has %d bytes; it is left out", o.h.size+extensionFlags+at, size)
			return
		}
		if written += paddedSize(size - extensionHead); written > maxExtensions {
			o.problem("the header extensions behind byte %d would have more than %d bytes with the padding they lack; they are not kept", o.h.size+extensionFlags+at, maxExtensions)
			return
		}
		o.h.meta.Extensions = append(o.h.meta.Extensions, Extension{Code: r.i32(at + 4), Data: b[at+extensionHead : at+size]})
		at += size
	}
}

// paddedSize is how many bytes the block of an extension has in a file.
func paddedSize(data int) int {
	return (extensionHead + data + extensionUnit - 1) / extensionUnit * extensionUnit
}

// encodeExtensions returns the flags and the blocks, a multiple of 16 bytes
// each.
func encodeExtensions(all []Extension) ([]byte, error) {
	out := make([]byte, extensionFlags)
	for _, e := range all {
		size := paddedSize(len(e.Data))
		if len(out)+size > maxExtensions {
			return nil, fault.New(fault.Invalid, "the header extensions are longer than %d bytes", maxExtensions)
		}
		block := make([]byte, size)
		binary.LittleEndian.PutUint32(block, uint32(size))       //nolint:gosec // at most maxExtensions
		binary.LittleEndian.PutUint32(block[4:], uint32(e.Code)) //nolint:gosec // reinterprets bits
		copy(block[extensionHead:], e.Data)
		out = append(out, block...)
		out[0] = 1
	}
	return out, nil
}
