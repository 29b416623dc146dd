package trainers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/voxloop/voxloop/internal/fault"
)

// The files of a work folder.
const (
	lastFile   = "last.ckpt" // the whole state
	bestPrefix = "best-"     // best-STEP.ckpt: the values of the best model so far
	bestSuffix = ".ckpt"
	lockFile   = "lock"
)

// workDir is a folder for the checkpoints of one training. One process at a
// time holds it.
type workDir struct {
	dir  string
	lock *os.File
}

// openWork makes the folder where needed and takes it. A folder that another
// training holds gives fault.Conflict.
func openWork(dir string) (*workDir, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // checkpoints are shared with whoever shares the folder above
		return nil, diskFault(err, "the work folder cannot be made")
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o644) //nolint:gosec // as the folder
	if err != nil {
		return nil, diskFault(err, "the work folder cannot be used")
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fault.New(fault.Conflict, "another training is using the work folder: wait for it, or name another folder")
		}
		return nil, diskFault(err, "the work folder cannot be locked")
	}
	return &workDir{dir: dir, lock: f}, nil
}

func (w *workDir) last() string { return filepath.Join(w.dir, lastFile) }
func (w *workDir) best(step int) string {
	return filepath.Join(w.dir, fmt.Sprintf("%s%d%s", bestPrefix, step, bestSuffix))
}

// prune removes the best models but that of step, and what an interrupted
// write left behind.
func (w *workDir) prune(step int) error {
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return err
	}
	keep := filepath.Base(w.best(step))
	var errs []error
	for _, e := range entries {
		name := e.Name()
		old := strings.HasPrefix(name, bestPrefix) && strings.HasSuffix(name, bestSuffix) && name != keep
		if old || strings.HasPrefix(name, "."+lastFile) || strings.HasPrefix(name, "."+bestPrefix) {
			errs = append(errs, gone(os.Remove(filepath.Join(w.dir, name))))
		}
	}
	return errors.Join(errs...)
}

// close lets the folder go.
func (w *workDir) close() error { return w.lock.Close() }

// clear removes what a training left in the folder, and the folder when nothing
// else is in it.
func (w *workDir) clear() error {
	err := errors.Join(w.prune(-1), gone(os.Remove(w.last())), gone(os.Remove(filepath.Join(w.dir, lockFile))))
	if rerr := os.Remove(w.dir); rerr != nil && !errors.Is(rerr, syscall.ENOTEMPTY) && !errors.Is(rerr, syscall.EEXIST) {
		err = errors.Join(err, rerr)
	}
	return err
}

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// diskFault gives an error of the file system a kind and a message without
// paths.
func diskFault(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case fault.KindOf(err) != fault.Internal:
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Wrap(fault.NoSpace, err, "%s: the disk is full", what)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fault.Wrap(fault.Unavailable, err, "%s: it may not be written there", what)
	}
	return fault.Wrap(fault.Internal, err, "%s", what)
}
