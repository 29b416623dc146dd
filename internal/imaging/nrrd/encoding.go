package nrrd

import (
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"io"

	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// source returns the stream of the voxels' bytes (of text: of the numbers),
// which stands at the first one. A detached header with several data files
// joins them. The stream is read before close.
func (o *opened) source(ctx context.Context) (*raw.Source, error) {
	bytes := int64(o.count) * int64(o.h.typ.Size())
	if o.h.files.count() > 1 {
		o.joined = o.parts(ctx)
		if o.h.encoding == "raw" { // every file has been seen to have its share
			return raw.NewSource(o.joined, bytes), nil
		}
		return o.data.Decoded(o.joined), nil
	}
	return o.begin(ctx, o.data, bytes)
}

// begin goes to the first voxel of a file whose voxels have the given number of
// bytes. Lines are skipped in the stored stream, bytes in the decoded one; a
// byte skip of -1 takes the last bytes.
func (o *opened) begin(ctx context.Context, s *raw.Source, bytes int64) (*raw.Source, error) {
	if err := skipLines(ctx, s, o.h.lineSkip); err != nil {
		return nil, err
	}
	s, err := o.decoded(s)
	if err != nil {
		return nil, err
	}
	if o.h.byteSkip < 0 && !isText(o.h.encoding) {
		if o.checking && !s.Exact() {
			return o.countBytes(ctx, s, bytes)
		}
		return o.lastBytes(ctx, s, bytes)
	}
	return s, s.Skip(ctx, max(o.h.byteSkip, 0), "the skipped bytes")
}

// decoded returns the stream behind the encoding.
func (o *opened) decoded(s *raw.Source) (*raw.Source, error) {
	switch o.h.encoding {
	case "raw", "ascii", "text", "txt":
		return s, nil
	case "gzip", "gz":
		return s.Inflate()
	case "bzip2", "bz2":
		return s.Decoded(bzip2.NewReader(s)), nil
	case "hex":
		return s.Decoded(&hexReader{s: s}), nil
	case "":
		return nil, raw.Malformed("the NRRD field \"encoding\" is missing")
	}
	return nil, raw.Malformed("the NRRD encoding %q is not supported", o.h.encoding)
}

func skipLines(ctx context.Context, s *raw.Source, n int64) error {
	for range n {
		for {
			c, err := s.ReadByte()
			if err != nil {
				return raw.ReadFailure(err, "the skipped lines")
			}
			if c == '\n' {
				break
			}
		}
		if err := ctx.Err(); err != nil {
			return raw.ReadFailure(err, "the skipped lines")
		}
	}
	return nil
}

// lastBytes returns the last n bytes of s. A stream of known length is skipped
// up to them; otherwise at most 2n bytes are held, and never more than arrive.
func (o *opened) lastBytes(ctx context.Context, s *raw.Source, n int64) (*raw.Source, error) {
	if s.Exact() {
		return s, s.Skip(ctx, max(s.Left()-n, 0), "the skipped bytes")
	}
	const step = 1 << 20
	var buf bytes.Buffer
	var total int64
	for {
		if err := ctx.Err(); err != nil {
			return nil, raw.ReadFailure(err, "the skipped bytes")
		}
		m, err := io.CopyN(&buf, s, step)
		if total += m; total > o.lim.Bytes() {
			return nil, raw.TooLong(o.lim.Bytes())
		}
		if over := int64(buf.Len()) - n; over > 0 && over >= n {
			buf.Next(int(over))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, raw.ReadFailure(err, "the voxels")
		}
	}
	if over := int64(buf.Len()) - n; over > 0 {
		buf.Next(int(over))
	}
	return raw.NewSource(&buf, int64(buf.Len())), nil
}

// countBytes reads s to its end and returns n zeros in its place, when there
// are n bytes at all: what a check needs to know of the last n bytes.
func (o *opened) countBytes(ctx context.Context, s *raw.Source, n int64) (*raw.Source, error) {
	total, err := s.Drain(ctx, o.lim.Bytes())
	if err != nil {
		return nil, err
	}
	if total < n {
		return nil, raw.ReadFailure(io.ErrUnexpectedEOF, "the voxels")
	}
	return raw.NewSource(io.LimitReader(zeros{}, n), n), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
