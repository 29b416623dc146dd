package ort

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/voxloop/voxloop/internal/fault"
)

// InstallOptions says which ONNX Runtime is wanted and where installed ones
// are kept. The zero value takes the default build for the machine.
type InstallOptions struct {
	Variant  string    // openvino, cpu or gpu; "": the machine's default (see Variants)
	Dir      string    // folder of installed builds; "": voxloop/onnxruntime in the user's cache folder
	Path     string    // an own library (or the folder it lies in); nothing is installed then
	Offline  bool      // never download
	Progress io.Writer // a bar when it is a terminal, else plain lines; nil: nothing
	Logger   *slog.Logger

	wheels []wheel // tests: other pinned builds
}

// Ensure returns the library that o describes, installing it on first need:
// the user's pip downloads the pinned wheel, its SHA-256 is compared, the
// needed files are unpacked, and only a complete folder takes its final name.
// Several processes may call it at once; one installs, the others wait.
//
// Errors: fault.Unavailable when there is no build for the machine, no pip, no
// network, or the folder cannot be written; fault.NoSpace; fault.Canceled when
// ctx ends. Nothing half-written is left or ever taken for an installation.
func Ensure(ctx context.Context, o InstallOptions) (Library, error) {
	if o.Path != "" {
		return own(o.Path)
	}
	w, dir, err := o.target()
	if err != nil {
		return Library{}, err
	}
	if complete(dir, w) == nil {
		return w.library(dir), nil
	}
	if o.Offline {
		return Library{}, fault.New(fault.Unavailable,
			"ONNX Runtime %s (%s) is not installed and downloads are off: run `voxloop runtime install`, or name a library with --ort PATH", w.version, w.variant)
	}
	if err := install(ctx, o, w, dir); err != nil {
		if ctx.Err() != nil {
			return Library{}, fault.Wrap(fault.Canceled, context.Cause(ctx), "the installation of ONNX Runtime was stopped")
		}
		return Library{}, diskFault(err)
	}
	return w.library(dir), nil
}

// Installed returns the library that o describes when it is there, whole, by
// the sizes of its files. See Verify for their content.
func Installed(o InstallOptions) (Library, bool) {
	if o.Path != "" {
		l, err := own(o.Path)
		return l, err == nil
	}
	w, dir, err := o.target()
	if err != nil || complete(dir, w) != nil {
		return Library{}, false
	}
	return w.library(dir), true
}

// Verify compares every file of an installed build with the SHA-256 taken when
// it was unpacked. An own library has none to compare with and is accepted.
func Verify(ctx context.Context, o InstallOptions) error {
	if o.Path != "" {
		_, err := own(o.Path)
		return err
	}
	w, dir, err := o.target()
	if err != nil {
		return err
	}
	return verify(ctx, dir, w)
}

func (o InstallOptions) target() (w wheel, dir string, err error) {
	from := o.wheels
	if from == nil {
		from = wheels
	}
	if w, err = choose(from, o.Variant); err != nil {
		return w, "", err
	}
	if o.Dir != "" {
		return w, o.Dir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return w, "", fault.Wrap(fault.Unavailable, err, "ONNX Runtime: the user's cache folder is unknown: set XDG_CACHE_HOME or HOME")
	}
	return w, filepath.Join(cache, "voxloop", "onnxruntime"), nil
}

func (o InstallOptions) logger() *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	return slog.Default()
}

// own returns the library at path, or the one in the folder at path.
func own(path string) (Library, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Library{}, fault.Wrap(fault.Unavailable, err, "ONNX Runtime: the library named with --ort cannot be opened")
	}
	if info.IsDir() {
		found := ""
		for _, pattern := range []string{"libonnxruntime.so", "libonnxruntime.so.*", "libonnxruntime.dylib", "libonnxruntime.*.dylib"} {
			if m, _ := filepath.Glob(filepath.Join(path, pattern)); len(m) > 0 && found == "" { // the patterns are sound
				found = m[0]
			}
		}
		if found == "" {
			return Library{}, fault.New(fault.Unavailable, "ONNX Runtime: the folder named with --ort holds no libonnxruntime")
		}
		path = found
	}
	if path, err = realPath(path); err != nil {
		return Library{}, fault.Wrap(fault.Unavailable, err, "ONNX Runtime: the library named with --ort cannot be opened")
	}
	return Library{Path: path, Variant: VariantOwn}, nil
}

// install downloads and unpacks w below dir, holding the lock of its variant.
func install(ctx context.Context, o InstallOptions, w wheel, dir string) (err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "."+w.variant+".lock"), o.logger())
	if err != nil {
		return err
	}
	defer unlock()
	if complete(dir, w) == nil { // another process was faster
		return nil
	}
	began := time.Now()
	tmp, err := freshTemp(dir, "."+w.folder()+"-new-")
	if err != nil {
		return err
	}
	defer func() {
		if rerr := os.RemoveAll(tmp); err == nil {
			err = rerr
		}
	}()
	if err := enoughSpace(dir, w.size+w.unpacked); err != nil {
		return err
	}
	p := newProgress(o.Progress, fmt.Sprintf("ONNX Runtime %s (%s)", w.version, w.variant))
	defer p.close()
	file, err := download(ctx, w, tmp, p)
	if err != nil {
		return err
	}
	lib := filepath.Join(tmp, "lib")
	if err := unpack(ctx, w, file, lib, p); err != nil {
		return err
	}
	if err := publish(lib, filepath.Join(dir, w.folder()), filepath.Join(tmp, "old")); err != nil {
		return err
	}
	p.done(time.Since(began))
	o.logger().InfoContext(ctx, "ONNX Runtime installed", "variant", w.variant, "version", w.version, "dur", time.Since(began))
	return nil
}

// freshTemp makes an empty folder in dir and removes those that killed
// processes left; the caller holds the lock.
func freshTemp(dir, prefix string) (string, error) {
	stale, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
	if err != nil {
		return "", err
	}
	for _, s := range stale {
		if err := os.RemoveAll(s); err != nil {
			return "", err
		}
	}
	return os.MkdirTemp(dir, prefix)
}

// publish gives a complete folder its final name, moving an unusable one of
// that name to aside first.
func publish(from, to, aside string) error {
	if err := os.Rename(to, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

func enoughSpace(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil //nolint:nilerr // no answer: let the writes tell
	}
	free := int64(min(st.Bavail, 1<<40)) * int64(st.Bsize) //nolint:unconvert // Bsize is an int64 on Linux only
	if free < need {
		return fault.New(fault.NoSpace, "ONNX Runtime needs %d MB in the cache folder, %d MB are free", need>>20, free>>20)
	}
	return nil
}

// diskFault names the cause of an error of the file system that the user can
// do something about; other errors have their kind already.
func diskFault(err error) error {
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fault.Wrap(fault.NoSpace, err, "ONNX Runtime could not be installed: the disk of the cache folder is full")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS), errors.Is(err, unix.ENOTDIR):
		return fault.Wrap(fault.Unavailable, err,
			"ONNX Runtime could not be installed: the cache folder cannot be written; set XDG_CACHE_HOME to a writable folder, or name a library with --ort PATH")
	default:
		return fault.Wrap(fault.Unavailable, err, "ONNX Runtime could not be installed; try again, or name a library with --ort PATH")
	}
}
