package apps

import (
	"context"
	"errors"
	"io"
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

// readFault gives the failure to read an image file a kind. what names the
// file for the client; its path is cut to its last part.
func readFault(err error, what, path string) error {
	var f *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Canceled, err, "the caller went away")
	case errors.As(err, &f):
		return err
	}
	text := strings.ReplaceAll(err.Error(), path, filepath.Base(path))
	switch {
	case errors.Is(err, imaging.ErrLimit):
		return fault.Wrap(fault.TooLarge, err, "%s: %s", what, text)
	case errors.Is(err, imaging.ErrFormat), errors.Is(err, imaging.ErrShape), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fault.Wrap(fault.Invalid, err, "%s cannot be read: %s", what, text)
	case errors.Is(err, fs.ErrNotExist):
		return fault.Wrap(fault.NotFound, err, "%s is not there any more", what)
	}
	return diskFault(err, "reading "+what)
}
