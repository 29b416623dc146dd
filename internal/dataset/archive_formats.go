package dataset

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"

	"github.com/voxloop/voxloop/internal/fault"
)

func walkTarGz(in *bufio.Reader, each func(member) error) error {
	z, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	if err := walkTar(z, each); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(z, 1<<20)) // padding, and the checksum at the end
	return err
}

// walkTar expects the two blocks of zeros that end a tar: without them, one that
// was cut off between two members would look whole.
func walkTar(in io.Reader, each func(member) error) error {
	end := &tail{r: in}
	t := tar.NewReader(end)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			if !end.zeros() {
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		if err != nil {
			return err
		}
		if err := checkName(h.Name); err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse {
			continue
		}
		if err := each(member{name: h.Name, size: h.Size, open: func() (io.ReadCloser, error) { return io.NopCloser(t), nil }}); err != nil {
			return err
		}
	}
}

func walkZip(ctx context.Context, f *os.File, n int64, each func(member) error) error {
	z, err := zip.NewReader(f, n)
	if err != nil {
		return err
	}
	for _, e := range z.File {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := checkName(e.Name); err != nil {
			return err
		}
		if !e.Mode().IsRegular() {
			continue
		}
		if e.Flags&1 != 0 {
			return fault.New(fault.Invalid, "the archive is encrypted: unpack it and give the folder with --from")
		}
		if e.UncompressedSize64 > 1<<62 {
			return fault.New(fault.TooLarge, "the member %.100q of the archive claims to have %d bytes", e.Name, e.UncompressedSize64)
		}
		if err := each(member{name: e.Name, size: int64(e.UncompressedSize64), open: e.Open}); err != nil {
			return err
		}
	}
	return nil
}

// tail remembers the last block that was read.
type tail struct {
	r    io.Reader
	last [512]byte
}

// Read implements io.Reader.
func (t *tail) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if n >= len(t.last) {
		copy(t.last[:], p[n-len(t.last):n])
	} else if n > 0 {
		copy(t.last[:], t.last[n:])
		copy(t.last[len(t.last)-n:], p[:n])
	}
	return n, err
}

func (t *tail) zeros() bool { return t.last == [512]byte{} }
