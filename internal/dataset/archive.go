package dataset

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
)

// member is one regular file of an archive.
type member struct {
	name string // as the archive has it, with slashes
	size int64  // that the archive declares
	path string // of a file that lies there already; "" in an archive
	open func() (io.ReadCloser, error)
}

// walk calls each for every regular file of an archive (tar, tar.gz or zip, by
// its content) or folder, in the archive's order. A reader of a tar's member
// must be used before each returns. Links, devices and folders are passed over:
// nothing is ever made from them. Names that lead out of the archive (absolute,
// "..") are Invalid.
func walk(ctx context.Context, from string, each func(member) error) error {
	info, err := os.Stat(from)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fault.Wrap(fault.NotFound, err, "there is no file %s", from)
		}
		return fault.Wrap(fault.Invalid, err, "%s cannot be read", from)
	}
	if info.IsDir() {
		return walkFolder(ctx, from, each)
	}
	f, err := os.Open(from) //nolint:gosec // the user names the file
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "%s cannot be read", from)
	}
	defer func() { _ = f.Close() }() // only read
	in := bufio.NewReaderSize(&reader{ctx, f}, 1<<18)
	head, err := in.Peek(262)
	if err != nil && !errors.Is(err, io.EOF) {
		return archiveFault(err, from)
	}
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")) || bytes.HasPrefix(head, []byte("PK\x05\x06")):
		err = walkZip(ctx, f, info.Size(), each)
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		err = walkTarGz(in, each)
	case len(head) == 262 && string(head[257:262]) == "ustar" || path.Ext(from) == ".tar":
		err = walkTar(in, each)
	default:
		return fault.New(fault.Invalid, "%s is neither tar, tar.gz nor zip", filepath.Base(from))
	}
	return archiveFault(err, from)
}

// archiveFault gives errors of reading an archive their kind.
func archiveFault(err error, from string) error {
	var known *fault.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Canceled, err, "unpacking was stopped")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault.Wrap(fault.Invalid, err, "the archive %s is cut off", filepath.Base(from))
	}
	return fault.Wrap(fault.Invalid, err, "the archive %s cannot be read", filepath.Base(from))
}

// checkName refuses names that lead out of an archive.
func checkName(name string) error {
	if strings.ContainsAny(name, "\x00\\") || !filepath.IsLocal(path.Clean(name)) {
		return fault.New(fault.Invalid, "the archive has a member %.100q, which leads out of it: it is not unpacked", name)
	}
	return nil
}

// walkFolder walks what was unpacked by hand. Links are passed over.
func walkFolder(ctx context.Context, dir string, each func(member) error) error {
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return archiveFault(err, dir)
	}
	return filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return archiveFault(err, dir)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return archiveFault(err, dir)
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		// The folder's own name belongs to the path: people name its parts.
		name := path.Join(filepath.Base(dir), filepath.ToSlash(rel))
		return each(member{name, info.Size(), p, func() (io.ReadCloser, error) { return os.Open(p) }}) //nolint:gosec // in the folder that the user named
	})
}
