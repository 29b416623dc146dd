package ort

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockEvery is how often a held lock is tried again.
const lockEvery = 100 * time.Millisecond

// lock takes an advisory lock on a file, waiting until it is free or ctx
// ends. The system drops it when the process dies. The file stays: removing it
// would let two processes lock two files of one name.
func lock(ctx context.Context, path string, log *slog.Logger) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640) //nolint:gosec // below the cache folder
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for waited := false; ; waited = true {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			break
		}
		if !waited {
			log.InfoContext(ctx, "another process is installing ONNX Runtime; waiting")
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
			err = ctx.Err()
		}
		break
	}
	_ = f.Close()
	return nil, err
}
