package apps

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// diskFault gives an error of the file system a kind. doing says what failed,
// for the client.
func diskFault(err error, doing string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Wrap(fault.NoSpace, err, "%s: the server's disk is full", doing)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fault.Wrap(fault.Unavailable, err, "%s: the server's folder is read only", doing)
	}
	return fault.Wrap(fault.Internal, err, "%s failed; the server's log says why", doing)
}

// readFault makes the failure to read an image file fit for a client: what
// names the file in place of its name on our disk. The codec's errors carry
// their kind already.
func readFault(err error, what, path string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Canceled, err, "the caller went away")
	}
	kind, text := fault.KindOf(err), err.Error()
	if msg, ok := fault.Message(err); ok {
		text = msg
	}
	switch {
	case errors.Is(err, imaging.ErrLimit):
		kind = fault.TooLarge
	case errors.Is(err, imaging.ErrFormat):
		kind = fault.Invalid
	case kind == fault.Internal:
		return diskFault(err, "reading "+what)
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, path, what), filepath.Base(path), what)
	if !strings.Contains(text, what) {
		text = what + ": " + text
	}
	return fault.Wrap(kind, err, "%s", text)
}
