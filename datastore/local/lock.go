package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
)

// lockState takes the state folder for this process. The lock ends with the
// file's descriptor, so a killed server leaves none behind.
func lockState(state, studies string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(state, "lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // a fixed name in the state folder
	if err != nil {
		return nil, diskFault(err, "the lock of the state folder")
	}
	if err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		owner, _ := io.ReadAll(io.LimitReader(f, 20))
		_ = f.Close()
		who := "another voxloop"
		if pid := strings.TrimSpace(string(owner)); pid != "" {
			who += " (process " + pid + ")"
		}
		return nil, fault.Wrap(fault.Conflict, fmt.Errorf("lock %s: %w", f.Name(), err),
			"%s is already running on the studies folder %q; stop it first, or serve another folder", who, filepath.Base(studies))
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid()) // only informs; the flock is what counts
	}
	return f, nil
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// lockIndex takes the lock that MONAI Label holds while it reads or writes
// datastore_v2.json. It waits at most patience and reports whether the lock
// was got; the caller calls unlock either way.
func (s *Store) lockIndex(ctx context.Context, patience time.Duration) (unlock func(), ok bool) {
	f, err := os.OpenFile(filepath.Join(s.studies, ".lock"), os.O_CREATE|os.O_RDWR, 0o644) //nolint:gosec // MONAI Label's name and mode
	if err != nil {
		return func() {}, false
	}
	unlock = func() { _ = f.Close() }
	for deadline := time.Now().Add(patience); ; {
		if flock(f, syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return unlock, true
		}
		if !time.Now().Before(deadline) {
			return unlock, false
		}
		select {
		case <-ctx.Done():
			return unlock, false
		case <-time.After(20 * time.Millisecond):
		}
	}
}
