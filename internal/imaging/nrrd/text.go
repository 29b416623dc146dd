package nrrd

import (
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

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

// readNumbers reads n numbers separated by white space. With keep false they are
// read and checked, but not kept: the result is nil.
func readNumbers(ctx context.Context, s *raw.Source, t imaging.DataType, n int, keep bool) (imaging.Voxels, error) {
	switch t {
	case imaging.Uint8:
		return parseText(ctx, s, n, keep, unsigned[uint8](8))
	case imaging.Int8:
		return parseText(ctx, s, n, keep, signed[int8](8))
	case imaging.Uint16:
		return parseText(ctx, s, n, keep, unsigned[uint16](16))
	case imaging.Int16:
		return parseText(ctx, s, n, keep, signed[int16](16))
	case imaging.Uint32:
		return parseText(ctx, s, n, keep, unsigned[uint32](32))
	case imaging.Int32:
		return parseText(ctx, s, n, keep, signed[int32](32))
	case imaging.Uint64:
		return parseText(ctx, s, n, keep, unsigned[uint64](64))
	case imaging.Int64:
		return parseText(ctx, s, n, keep, signed[int64](64))
	case imaging.Float32:
		return parseText(ctx, s, n, keep, float[float32](32))
	case imaging.Float64:
		return parseText(ctx, s, n, keep, float[float64](64))
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

func parseText[T imaging.Number](ctx context.Context, s *raw.Source, n int, keep bool, parse func(string) (T, error)) (imaging.Voxels, error) {
	var out imaging.Samples[T]
	if keep {
		out = make(imaging.Samples[T], 0, min(n, firstNumbers))
	}
	var words wordReader
	for i := range n {
		if i&0xffff == 0 && ctx.Err() != nil {
			return nil, raw.ReadFailure(ctx.Err(), "the voxels")
		}
		w, err := words.next(s)
		if err != nil {
			return nil, err
		}
		v, err := parse(string(w))
		if err != nil {
			return nil, raw.Malformed("the text voxel %d is %.20q, which is no %s", i, w, out.Type())
		}
		if !keep {
			continue
		}
		if len(out) == cap(out) { // twice as many, but not more than n
			grown := make(imaging.Samples[T], len(out), min(n, 2*len(out)))
			copy(grown, out)
			out = grown
		}
		out = append(out, v)
	}
	return out, nil
}

// firstNumbers is how many voxels get memory before any has been read.
const firstNumbers = 1 << 12

// maxWord is longer than any number that strconv writes.
const maxWord = 512

// wordReader reads runs of characters that are neither white space nor commas.
// The zero value is ready for use.
type wordReader struct{ b []byte }

// next returns the next word of s, valid until the next call.
func (r *wordReader) next(s *raw.Source) ([]byte, error) {
	b := r.b[:0]
	for {
		c, err := s.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && len(b) > 0:
			return b, nil
		case err != nil:
			return nil, raw.ReadFailure(err, "the voxels")
		case isSpace(c) || c == ',':
			if len(b) > 0 {
				return b, nil
			}
		case len(b) == maxWord:
			return nil, raw.Malformed("the text voxels hold a word of more than %d characters", maxWord)
		default:
			b = append(b, c)
			r.b = b
		}
	}
}
