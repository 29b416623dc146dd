package nrrd

import (
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// checkDataFile refuses lists, patterns and every name that is not a plain
// file of the same folder.
func checkDataFile(name string) error {
	if strings.HasPrefix(name, "LIST") || strings.ContainsRune(name, '%') {
		return raw.Malformed("several NRRD data files are not supported; join them into one file")
	}
	if name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") || name != filepath.Base(name) || filepath.VolumeName(name) != "" {
		return raw.Malformed("the NRRD data file %q must be a plain name in the folder of the header", name)
	}
	return nil
}

// voxels decodes the data. Lines are skipped in the stored stream, bytes in
// the decoded one; a byte skip of -1 takes the last bytes.
func (o *opened) voxels(ctx context.Context) (imaging.Voxels, error) {
	if err := skipLines(ctx, o.data, o.h.lineSkip); err != nil {
		return nil, err
	}
	s, err := o.decoded()
	if err != nil {
		return nil, err
	}
	if isText(o.h.encoding) {
		if err := s.Skip(ctx, max(o.h.byteSkip, 0), "the skipped bytes"); err != nil {
			return nil, err
		}
		return readNumbers(ctx, s, o.h.typ, o.count)
	}
	if o.h.byteSkip < 0 {
		if s, err = lastBytes(ctx, s, int64(o.count)*int64(o.h.typ.Size())); err != nil {
			return nil, err
		}
	} else if err := s.Skip(ctx, o.h.byteSkip, "the skipped bytes"); err != nil {
		return nil, err
	}
	v, err := raw.ReadVoxels(ctx, s, o.h.typ, o.count, o.h.big)
	if err != nil {
		return nil, err
	}
	return v, s.Finish()
}

// decoded returns the stream of the voxels' bytes.
func (o *opened) decoded() (*raw.Source, error) {
	switch o.h.encoding {
	case "raw", "ascii", "text", "txt":
		return o.data, nil
	case "gzip", "gz":
		return o.data.Inflate()
	case "bzip2", "bz2":
		return o.data.Decoded(bzip2.NewReader(o.data)), nil
	case "hex":
		return o.data.Decoded(&hexReader{s: o.data}), nil
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
func lastBytes(ctx context.Context, s *raw.Source, n int64) (*raw.Source, error) {
	if s.Exact() {
		return s, s.Skip(ctx, max(s.Left()-n, 0), "the skipped bytes")
	}
	const step = 1 << 20
	var buf bytes.Buffer
	for {
		if err := ctx.Err(); err != nil {
			return nil, raw.ReadFailure(err, "the skipped bytes")
		}
		_, err := io.CopyN(&buf, s, step)
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

// hexReader decodes pairs of hexadecimal digits and ignores white space.
type hexReader struct{ s *raw.Source }

func (h *hexReader) Read(p []byte) (int, error) {
	for i := range p {
		hi, err := h.digit()
		if err != nil {
			return i, err
		}
		lo, err := h.digit()
		if err != nil {
			return i, io.ErrUnexpectedEOF
		}
		p[i] = hi<<4 | lo
	}
	return len(p), nil
}

func (h *hexReader) digit() (byte, error) {
	for {
		c, err := h.s.ReadByte()
		if err != nil {
			return 0, err
		}
		switch {
		case c >= '0' && c <= '9':
			return c - '0', nil
		case c >= 'a' && c <= 'f':
			return c - 'a' + 10, nil
		case c >= 'A' && c <= 'F':
			return c - 'A' + 10, nil
		case !isSpace(c):
			return 0, raw.Malformed("the hexadecimal NRRD data hold the character %q", c)
		}
	}
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// readNumbers reads numbers separated by white space.
func readNumbers(ctx context.Context, s *raw.Source, t imaging.DataType, n int) (imaging.Voxels, error) {
	switch t {
	case imaging.Uint8:
		return parseText(ctx, s, n, unsigned[uint8](8))
	case imaging.Int8:
		return parseText(ctx, s, n, signed[int8](8))
	case imaging.Uint16:
		return parseText(ctx, s, n, unsigned[uint16](16))
	case imaging.Int16:
		return parseText(ctx, s, n, signed[int16](16))
	case imaging.Uint32:
		return parseText(ctx, s, n, unsigned[uint32](32))
	case imaging.Int32:
		return parseText(ctx, s, n, signed[int32](32))
	case imaging.Uint64:
		return parseText(ctx, s, n, unsigned[uint64](64))
	case imaging.Int64:
		return parseText(ctx, s, n, signed[int64](64))
	case imaging.Float32:
		return parseText(ctx, s, n, float[float32](32))
	case imaging.Float64:
		return parseText(ctx, s, n, float[float64](64))
	case imaging.Unknown:
	}
	return nil, raw.Malformed("the type of the voxels is unknown")
}

func unsigned[T imaging.Number](bits int) func(string) (T, error) {
	return func(w string) (T, error) { v, err := strconv.ParseUint(w, 10, bits); return T(v), err }
}

func signed[T imaging.Number](bits int) func(string) (T, error) {
	return func(w string) (T, error) { v, err := strconv.ParseInt(w, 10, bits); return T(v), err }
}

func float[T imaging.Number](bits int) func(string) (T, error) {
	return func(w string) (T, error) { v, err := strconv.ParseFloat(w, bits); return T(v), err }
}

func parseText[T imaging.Number](ctx context.Context, s *raw.Source, n int, parse func(string) (T, error)) (imaging.Voxels, error) {
	out := make(imaging.Samples[T], 0, min(n, 1<<16))
	for len(out) < n {
		if len(out)&0xffff == 0 && ctx.Err() != nil {
			return nil, raw.ReadFailure(ctx.Err(), "the voxels")
		}
		w, err := word(s)
		if err != nil {
			return nil, err
		}
		v, err := parse(w)
		if err != nil {
			return nil, raw.Malformed("the text voxel %d is %.20q, which is no %s", len(out), w, out.Type())
		}
		out = append(out, v)
	}
	return out, nil
}

// maxWord is longer than any number that strconv writes.
const maxWord = 512

// word returns the next run of characters that are neither white space nor
// commas.
func word(s *raw.Source) (string, error) {
	var b []byte
	for {
		c, err := s.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && len(b) > 0:
			return string(b), nil
		case err != nil:
			return "", raw.ReadFailure(err, "the voxels")
		case isSpace(c) || c == ',':
			if len(b) > 0 {
				return string(b), nil
			}
		case len(b) == maxWord:
			return "", raw.Malformed("the text voxels hold a word of more than %d characters", maxWord)
		default:
			b = append(b, c)
		}
	}
}
