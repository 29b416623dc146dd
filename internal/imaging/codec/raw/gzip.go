package raw

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

var gzipMagic = []byte{0x1f, 0x8b}

// members reads the members of a gzip stream one after the other, as one
// stream. What follows a member and does not start with gzip's magic is no
// further one: some writers pad their files.
type members struct {
	z  *gzip.Reader
	in *bufio.Reader // itself, not wrapped: the decoder knows its type and reads it fast
}

func newMembers(in *bufio.Reader) (*members, error) {
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return &members{z, in}, nil
}

// Read implements io.Reader.
func (m *members) Read(p []byte) (int, error) {
	for {
		n, err := m.z.Read(p)
		if !errors.Is(err, io.EOF) { // at a member's end its checksum has been verified
			return n, err
		}
		if err := m.next(); err != nil || n > 0 {
			return n, err
		}
	}
}

// next begins the next member; io.EOF when there is none.
func (m *members) next() error {
	head, err := m.in.Peek(len(gzipMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.Equal(head, gzipMagic) {
		return io.EOF
	}
	if err := m.z.Reset(m.in); err != nil {
		return asUnexpected(err)
	}
	m.z.Multistream(false)
	return nil
}

// asUnexpected keeps a stream that ends within a header from looking whole.
func asUnexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
