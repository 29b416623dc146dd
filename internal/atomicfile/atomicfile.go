// Package atomicfile writes files that are either complete or absent.
package atomicfile

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Write creates or replaces the file at path with what fn writes. The bytes go
// to a temporary file in the same folder, are synced and then renamed, so that
// an error or a kill leaves the earlier file as it was. The folder must exist.
// perm is used as given for a new file; a replaced file's mode is not kept.
// Errors of the file system are *fs.PathError that name path, not the temporary
// file; Op is "replace" where something at path is in the way.
func Write(path string, perm os.FileMode, fn func(io.Writer) error) (err error) {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	f, err := os.CreateTemp(dir, "."+name+".*.tmp")
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = &fs.PathError{Op: e.Op, Path: path, Err: e.Err}
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(named(err, f.Name(), path), named(ignoreClosed(f.Close()), f.Name(), path), named(os.Remove(f.Name()), f.Name(), path))
		}
	}()
	buf := bufio.NewWriterSize(temporary{f, path}, 1<<16)
	if err := fn(buf); err != nil {
		return err
	}
	if err := buf.Flush(); err != nil {
		return err
	}
	if err := f.Chmod(perm); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// temporary is the file as its content's writer sees it: the text of an error,
// however it is wrapped, names path.
type temporary struct {
	*os.File
	path string
}

// Write implements io.Writer.
func (t temporary) Write(p []byte) (int, error) {
	n, err := t.File.Write(p)
	return n, named(err, t.Name(), t.path)
}

// named puts path in the place of the temporary file in an error about it.
// Errors of other files stay.
func named(err error, temp, path string) error {
	switch e := err.(type) { //nolint:errorlint // what a call about the file returned, not what it wraps
	case *os.LinkError:
		if e.Old == temp {
			return &fs.PathError{Op: "replace", Path: path, Err: e.Err}
		}
	case *fs.PathError:
		if e.Path == temp {
			return &fs.PathError{Op: e.Op, Path: path, Err: e.Err}
		}
	}
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
