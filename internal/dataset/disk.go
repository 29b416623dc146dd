package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
)

// freeBytes returns what a user may still write to the disk of dir; false when
// the system does not say.
func freeBytes(dir string) (int64, bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, false
	}
	return int64(min(st.Bavail, 1<<40)) * int64(st.Bsize), true //nolint:unconvert // Bsize is an int64 on Linux only
}

// enough reports (NoSpace) when fewer than need bytes are free.
func enough(free func(string) (int64, bool), dir string, need int64) error {
	if have, ok := free(dir); ok && have < need {
		return fault.New(fault.NoSpace, "%s are needed on the disk, %s are free", size(need), size(have))
	}
	return nil
}

// mountPoint reports (Conflict) that a folder is the top of a disk, which cannot
// be replaced by a complete folder.
func mountPoint(dir string) error {
	here, ok := device(dir)
	if above, known := device(filepath.Dir(dir)); !ok || !known || here == above {
		return nil
	}
	return fault.New(fault.Conflict, "%s is the top of a disk: name a folder below it, which is made whole or not at all", dir)
}

// device returns the disk that a folder lies on; false where there is none.
func device(dir string) (uint64, bool) {
	var st unix.Stat_t
	err := unix.Stat(dir, &st)
	return uint64(st.Dev), err == nil //nolint:unconvert // the type differs from system to system
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.0f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%d bytes", n)
}

// diskFault gives errors of the file system their kind. doing names the work.
func diskFault(err error, doing string) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	switch {
	case errors.As(err, &known) && (known.Kind == fault.NoSpace || !fullDisk(err)):
		return err
	case fullDisk(err):
		return fault.Wrap(fault.NoSpace, err, "%s: the disk is full; make room and run the same command again", doing)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Canceled, err, "%s was stopped", doing)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS), errors.Is(err, unix.ENOTDIR):
		return fault.Wrap(fault.Invalid, err, "%s: the folder cannot be written", doing)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func fullDisk(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

func atomicWrite(path string, data []byte) error {
	return atomicfile.Write(path, 0o644, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // a folder of the user's
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lock takes the lock file at path, or reports (Conflict) that somebody has it.
// The system drops it when the process dies; the file stays.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644) //nolint:gosec // beside the user's folder
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fault.New(fault.Conflict, "another voxloop is fetching into the same folder")
		}
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// reader stops when its context ends.
type reader struct {
	ctx context.Context // of the call that it serves
	r   io.Reader
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
