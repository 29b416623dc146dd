// Package raw reads and writes typed voxel blocks in byte streams: what the
// NIfTI and NRRD formats share.
//
// A Source knows how many bytes its stream can yield at most, so that a header
// which promises more is refused before memory is taken for it. Where only the
// compressed length is known, memory grows with what really arrives. Errors
// are faults whose messages are safe for clients: they hold no path.
package raw

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
)

const (
	bufferSize = 64 << 10
	// DeflateRatio is the most bytes that one byte of a DEFLATE stream can
	// expand to: a match of 258 bytes takes at least two bits (RFC 1951).
	DeflateRatio = 1032
	// drainSize bounds what is read behind the voxels to reach the checksum
	// at the end of a gzip stream.
	drainSize = 1 << 20
)

// Source is a stream of bytes with what is known about its length. It is not
// safe for concurrent use.
type Source struct {
	r        *bufio.Reader
	file     *os.File // closed by Close; nil for a foreign stream
	pos      int64    // bytes read so far
	limit    int64    // most bytes the stream can yield, -1 unknown
	exact    bool     // limit is the stream's real length
	zipped   bool
	outer    *bufio.Reader // what a zipped Source inflates
	initial  int64         // bytes that may be allocated before any voxel arrived
	trailer  int64         // the length that a gzip file's last bytes state, modulo 2^32; -1 unknown
	openNext Opener
}

// Opener opens a file beside the one being read, by its plain name. Headers
// whose voxels lie in a second file need one.
type Opener func(name string) (*Source, error)

// NewSource wraps a stream of length bytes; -1 when the length is unknown.
func NewSource(r io.Reader, length int64) *Source {
	size := bufferSize
	if length >= 0 {
		size = int(min(length, bufferSize)) // a volume may lie in thousands of small files
	}
	return &Source{r: bufio.NewReaderSize(r, size), limit: length, exact: length >= 0, initial: chunkSize, trailer: -1}
}

// Close closes the file that Open opened.
func (s *Source) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// SetOpener says how files beside this one are opened.
func (s *Source) SetOpener(o Opener) { s.openNext = o }

// Beside opens the file name in the folder of this one.
func (s *Source) Beside(name string) (*Source, error) {
	if s.openNext == nil {
		return nil, Malformed("the voxels are in a second file (%q), which a stream cannot bring along", name)
	}
	return s.openNext(name)
}

// Read implements io.Reader.
func (s *Source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.pos += int64(n)
	return n, err
}

// ReadByte implements io.ByteReader.
func (s *Source) ReadByte() (byte, error) {
	b, err := s.r.ReadByte()
	if err == nil {
		s.pos++
	}
	return b, err
}

// Peek returns the next n bytes, fewer at the end of the stream, without
// consuming them. n is at most 64 KiB.
func (s *Source) Peek(n int) []byte {
	b, _ := s.r.Peek(n) // what is missing shows in the length, the reason when it is read
	return b
}

// Empty says why Peek returned nothing: the reason why the stream cannot be
// read, or that it has ended.
func (s *Source) Empty() error {
	switch _, err := s.r.Peek(1); {
	case errors.Is(err, io.EOF):
		return Malformed("it is empty")
	case err != nil:
		return ReadFailure(err, "its first bytes")
	}
	return nil
}

// Left returns the most bytes that can still be read, -1 when unknown.
func (s *Source) Left() int64 {
	if s.limit < 0 {
		return -1
	}
	return max(s.limit-s.pos, 0)
}

// Exact reports whether Left is the real number of bytes left.
func (s *Source) Exact() bool { return s.exact }

// Unzip returns the decompressed stream when s starts with gzip's magic, else
// s itself. The new Source reads from s, which stays the one to close.
func (s *Source) Unzip() (*Source, error) {
	if !bytes.Equal(s.Peek(2), gzipMagic) {
		return s, nil
	}
	return s.Inflate()
}

// Inflate returns the decompressed gzip stream that starts here.
func (s *Source) Inflate() (*Source, error) {
	left := s.Left()
	z, err := newMembers(s.r)
	if err != nil {
		return nil, ReadFailure(err, "the gzip header")
	}
	d := &Source{r: bufio.NewReaderSize(z, headerSize), limit: -1, zipped: true, outer: s.r, initial: chunkSize, trailer: s.statedLength(), openNext: s.openNext}
	if left >= 0 {
		d.limit = left * DeflateRatio
		d.initial = max(bufferSize, 4*left)
	}
	return d, nil
}

// Decoded returns a Source over r, a decoder that reads from s; how much it
// yields is unknown.
func (s *Source) Decoded(r io.Reader) *Source {
	return &Source{r: bufio.NewReaderSize(r, bufferSize), limit: -1, initial: bufferSize, trailer: -1}
}

// headerSize buffers decompressed data: enough for a header, small beside the
// voxels, which are read past the buffer.
const headerSize = 4 << 10

// Skip discards n bytes of what.
func (s *Source) Skip(ctx context.Context, n int64, what string) error {
	if left := s.Left(); left >= 0 && n > left {
		return ReadFailure(io.ErrUnexpectedEOF, what)
	}
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return ReadFailure(err, what)
		}
		m, err := io.CopyN(io.Discard, s, min(n, chunkSize))
		if err != nil {
			return ReadFailure(err, what)
		}
		n -= m
	}
	return nil
}

// ReadFull fills p with the next bytes of what.
func (s *Source) ReadFull(p []byte, what string) error {
	if _, err := io.ReadFull(s, p); err != nil {
		return ReadFailure(err, what)
	}
	return nil
}

// Finish reads a gzip stream to its end, where the checksum of everything
// before it is verified, unless more than 1 MiB follows. Bytes behind the gzip
// stream, with which some writers pad files, are ignored.
func (s *Source) Finish() error {
	if !s.zipped {
		return nil
	}
	_, err := io.CopyN(io.Discard, s, drainSize)
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return ReadFailure(err, "the gzip stream")
}

// Drain reads the stream to its end, however far that is, up to most bytes
// (TooLarge beyond), and returns how many bytes were left. The checksum of a
// gzip stream has then been verified.
func (s *Source) Drain(ctx context.Context, most int64) (int64, error) {
	what := "what follows the voxels"
	if s.zipped {
		what = "the gzip stream"
	}
	var n int64
	for {
		if err := ctx.Err(); err != nil {
			return n, ReadFailure(err, what)
		}
		m, err := io.CopyN(io.Discard, s, chunkSize)
		switch n += m; {
		case n > most:
			return n, TooLong(most)
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, ReadFailure(err, what)
		}
	}
}

// Behind reads what follows a gzip stream that Drain has read to its end, up
// to most bytes (TooLarge beyond), and returns its length up to the last byte
// that is not 0: zeros are how some writers pad files. It is 0 for a stream
// that is no gzip.
func (s *Source) Behind(ctx context.Context, most int64) (int64, error) {
	if s.outer == nil {
		return 0, nil
	}
	var n, last int64
	buf := make([]byte, headerSize)
	for {
		if err := ctx.Err(); err != nil {
			return last, ReadFailure(err, "what follows the gzip stream")
		}
		m, err := s.outer.Read(buf)
		if k := len(bytes.TrimRight(buf[:m], "\x00")); k > 0 {
			last = n + int64(k)
		}
		switch n += int64(m); {
		case n > most:
			return last, TooLong(most)
		case errors.Is(err, io.EOF):
			return last, nil
		case err != nil:
			return last, ReadFailure(err, "what follows the gzip stream")
		}
	}
}

// TooLong says that a stream does not end within most bytes: TooLarge.
func TooLong(most int64) error {
	return TooLarge("its data go on for more than the %d bytes allowed", most)
}
