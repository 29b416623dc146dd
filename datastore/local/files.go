package local

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/voxloop/voxloop/internal/fault"
)

// Our temporary files start with a dot and end like no image, so neither we
// nor MONAI Label take one for data. What a kill leaves behind is removed at
// the next start.
const (
	tempPrefix = ".voxloop-"
	tempSuffix = ".tmp"
)

func isTemp(name string) bool {
	return strings.HasPrefix(name, tempPrefix) && strings.HasSuffix(name, tempSuffix)
}

func tempName(dir string) string {
	return filepath.Join(dir, tempPrefix+rand.Text()+tempSuffix)
}

// watchedWriter keeps the first error of the disk, so that a full disk is
// recognised however the writer above wraps or drops the error.
type watchedWriter struct {
	ctx context.Context //nolint:containedctx // lives for one call of writeTemp
	w   io.Writer
	err error
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.w.Write(p)
	if err != nil && w.err == nil {
		w.err = err
	}
	return n, err
}

// writeTemp writes a durable temporary file in dir and returns its path and
// state. On an error nothing is left behind.
func (s *Store) writeTemp(ctx context.Context, dir string, write func(io.Writer) error) (string, fileState, error) {
	path := tempName(dir)
	st, err := s.fillTemp(ctx, path, write)
	if err != nil {
		_ = os.Remove(path)
		return "", fileState{}, err
	}
	return path, st, nil
}

func (s *Store) fillTemp(ctx context.Context, path string, write func(io.Writer) error) (st fileState, err error) {
	// Readable as the umask allows: the files belong to the lab, not to us.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) //nolint:gosec // as said above; the name is ours
	if err != nil {
		return st, diskFault(err, "the file")
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = diskFault(cerr, "the file")
		}
	}()
	disk := &watchedWriter{ctx: ctx, w: f}
	buf := bufio.NewWriterSize(disk, 1<<18)
	err = s.opts.step("write")
	if err == nil {
		err = write(buf)
	}
	if err == nil {
		err = buf.Flush()
	}
	switch {
	case disk.err != nil:
		return st, diskFault(disk.err, "the file")
	case ctx.Err() != nil:
		return st, fault.Wrap(fault.Canceled, ctx.Err(), "the request was given up while its file was written")
	case err != nil:
		return st, diskFault(err, "the file")
	}
	if err := s.sync(f); err != nil {
		return st, diskFault(err, "the file")
	}
	info, err := f.Stat()
	if err != nil {
		return st, err
	}
	return stateOf(info), nil
}

func stateOf(i fs.FileInfo) fileState {
	return fileState{Size: i.Size(), MTime: i.ModTime().UnixNano()}
}

func (s *Store) sync(f *os.File) error {
	if err := s.opts.step("sync"); err != nil {
		return err
	}
	if s.opts.SyncDisabled {
		return nil
	}
	return f.Sync()
}

// syncDir makes the names in a folder durable.
func (s *Store) syncDir(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // a folder of the store
	if err != nil {
		return err
	}
	err = s.sync(f)
	return errors.Join(err, f.Close())
}

// makeDir creates dir and the folders above it up to base, durably.
func (s *Store) makeDir(base, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir && len(parent) >= len(base) {
		if err := s.makeDir(base, parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // readable like the lab's own folders
		return diskFault(err, "a folder")
	}
	return diskFault(s.syncDir(filepath.Dir(dir)), "a folder")
}

// diskFault gives an error of the file system its kind. Errors that have one
// keep it.
func diskFault(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Wrap(fault.NoSpace, err, "the disk is full: %s could not be written; free some space and send it again", what)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fault.Wrap(fault.Unavailable, err, "%s could not be written: the folder is read-only for the server", what)
	}
	return err
}

// clean removes the temporary files that a kill left in dir.
func clean(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if isTemp(n.Name()) && n.Type().IsRegular() {
			if err := os.Remove(filepath.Join(dir, n.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
