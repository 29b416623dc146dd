package raw

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"

	"github.com/voxloop/voxloop/internal/fault"
)

// Open opens a regular file. Errors are faults: NotFound when it does not
// exist, else Invalid. Close releases it.
func Open(path string) (*Source, error) {
	// Looked at before it is opened: opening a pipe waits for its other end.
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, Malformed("it is not a regular file")
	}
	if err != nil {
		return nil, openFailure(err)
	}
	f, err := os.Open(path) //nolint:gosec // the caller has chosen the file
	if err != nil {
		return nil, openFailure(err)
	}
	return sourceOf(f)
}

// OpenIn opens the regular file name in the folder dir. Neither name nor a
// symbolic link behind it may lead out of dir: whoever writes a header must
// not choose among all files of this machine.
func OpenIn(dir, name string) (*Source, error) {
	if name != filepath.Base(name) || !filepath.IsLocal(name) {
		return nil, Malformed("the file %q is not in the same folder", name)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, openFailure(err)
	}
	defer root.Close()
	info, err := root.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		return nil, Malformed("the file %q is not a regular file", name)
	}
	if err != nil {
		return nil, besideFailure(err, name)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, besideFailure(err, name)
	}
	return sourceOf(f)
}

func besideFailure(err error, name string) error {
	err = openFailure(err)
	if fault.KindOf(err) == fault.NotFound {
		return err
	}
	return fault.Wrap(fault.Invalid, err, "the file %q cannot be opened: it leads out of its folder, or may not be read", name)
}

func sourceOf(f *os.File) (*Source, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = Malformed("it is not a regular file")
	}
	if err != nil {
		_ = f.Close() // the first error says more
		return nil, ReadFailure(err, "the file")
	}
	s := NewSource(f, info.Size())
	s.file = f
	return s, nil
}

func openFailure(err error) error {
	cause := err
	if path, ok := errors.AsType[*os.PathError](err); ok {
		cause = path.Err
	}
	if errors.Is(err, os.ErrNotExist) {
		return fault.Wrap(fault.NotFound, cause, "the file does not exist")
	}
	return fault.Wrap(fault.Invalid, join(cause), "the file cannot be opened")
}

// statedLength returns what the last four bytes of a gzip file say about the
// length of its content, modulo 2^32 (ISIZE, RFC 1952); -1 when s is no file.
func (s *Source) statedLength() int64 {
	if s.file == nil || s.limit < 4 {
		return -1
	}
	var b [4]byte
	if _, err := s.file.ReadAt(b[:], s.limit-4); err != nil {
		return -1
	}
	return int64(binary.LittleEndian.Uint32(b[:]))
}

// promises reports whether a gzip file's own end says that n more bytes, or a
// few more than that, can be read. A forged end gains nothing that a stream of
// zeros of the same size would not: Left bounds both.
func (s *Source) promises(n int64) bool {
	const slack = 1 << 10
	left := s.Left()
	if s.trailer < 0 || left < n {
		return false
	}
	behind := (s.trailer - (s.pos + n)) & math.MaxUint32
	return behind < slack
}
