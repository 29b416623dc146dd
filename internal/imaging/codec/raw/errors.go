package raw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Malformed returns a fault of kind Invalid that wraps imaging.ErrFormat: the
// file cannot be read and the message says why.
func Malformed(format string, args ...any) error {
	return fault.Wrap(fault.Invalid, imaging.ErrFormat, format, args...)
}

// TooLarge returns a fault of kind TooLarge that wraps imaging.ErrLimit.
func TooLarge(format string, args ...any) error {
	return fault.Wrap(fault.TooLarge, imaging.ErrLimit, format, args...)
}

// Classify gives an error of imaging (ErrFormat, ErrLimit, ErrShape) its fault
// kind. Its text becomes the client message; faults and nil pass unchanged.
func Classify(err error) error {
	var f *fault.Error
	switch {
	case err == nil || errors.As(err, &f):
		return err
	case errors.Is(err, imaging.ErrLimit):
		return fault.Wrap(fault.TooLarge, imaging.ErrLimit, "%s", reason(err, imaging.ErrLimit))
	case errors.Is(err, imaging.ErrFormat):
		return fault.Wrap(fault.Invalid, imaging.ErrFormat, "%s", reason(err, imaging.ErrFormat))
	case errors.Is(err, imaging.ErrShape):
		return fault.Wrap(fault.Invalid, imaging.ErrShape, "%s", reason(err, imaging.ErrShape))
	}
	return err
}

// reason is err's text without the sentinel it starts with: the sentinel is
// kept as the cause.
func reason(err, sentinel error) string {
	text, prefix := err.Error(), sentinel.Error()+": "
	if len(text) > len(prefix) && text[:len(prefix)] == prefix {
		return text[len(prefix):]
	}
	return text
}

// ReadFailure turns an error met while reading what ("the header", "the
// voxels") into a fault: Canceled for a context's error, else Invalid. The
// client message holds no path, which an *fs.PathError would bring along.
func ReadFailure(err error, what string) error {
	var path *fs.PathError
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Canceled, err, "reading was stopped")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.Wrap(fault.Invalid, join(err), "the file ends before the end of %s", what)
	case errors.As(err, &path):
		return fault.Wrap(fault.Invalid, join(path.Err), "reading %s failed", what)
	}
	return fault.Wrap(fault.Invalid, join(err), "the file is damaged in %s", what)
}

// join makes cause an imaging.ErrFormat as well.
func join(cause error) error { return fmt.Errorf("%w: %w", imaging.ErrFormat, cause) }

// WithName puts name in front of the client message of a fault, once, at the
// place that knows which file it was about. Kind and cause stay. Errors
// without a kind become Invalid and keep their text out of the message.
func WithName(err error, verb, name string) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return &fault.Error{Kind: f.Kind, Msg: fmt.Sprintf("cannot %s %s: %s", verb, name, f.Msg), Err: f.Err}
	}
	return fault.Wrap(fault.Invalid, join(err), "cannot %s %s", verb, name)
}
