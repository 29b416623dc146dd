package apps

import (
	"archive/zip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
)

const maxZipFiles = 20000

// unzip unpacks a ZIP archive into dir, at most limit bytes. Names that leave
// dir and entries that are no plain files or folders are refused.
func unzip(archive, dir string, limit int64) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "the upload is not a ZIP archive")
	}
	defer func() { _ = z.Close() }()
	if len(z.File) > maxZipFiles {
		return fault.New(fault.TooLarge, "the archive holds %d files; at most %d are allowed", len(z.File), maxZipFiles)
	}
	left := limit
	files := 0
	for _, f := range z.File {
		name := strings.ReplaceAll(f.Name, `\`, "/")
		if !filepath.IsLocal(filepath.FromSlash(name)) || strings.ContainsRune(name, 0) {
			return fault.New(fault.Invalid, "the archive's entry %q leaves its folder", clip(f.Name))
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o700); err != nil {
				return diskFault(err, "unpacking the archive")
			}
			continue
		}
		if !f.Mode().IsRegular() {
			return fault.New(fault.Invalid, "the archive's entry %q is not a plain file", clip(f.Name))
		}
		n, err := unzipFile(f, path, left)
		if err != nil {
			return err
		}
		left -= n
		files++
	}
	if files == 0 {
		return fault.New(fault.Invalid, "the archive holds no files")
	}
	return nil
}

// unzipFile unpacks one entry, at most limit bytes whatever its header says.
func unzipFile(f *zip.File, path string, limit int64) (int64, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return 0, diskFault(err, "unpacking the archive")
	}
	r, err := f.Open()
	if err != nil {
		return 0, fault.Wrap(fault.Invalid, err, "the archive's entry %q cannot be read", clip(f.Name))
	}
	defer func() { _ = r.Close() }()
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // checked to stay in the session's folder
	if errors.Is(err, os.ErrExist) {
		return 0, fault.New(fault.Invalid, "the archive holds %q twice", clip(f.Name))
	}
	if err != nil {
		return 0, diskFault(err, "unpacking the archive")
	}
	n, err := io.Copy(writeOnly{w}, io.LimitReader(r, limit+1))
	cerr := w.Close()
	switch {
	case n > limit:
		return 0, fault.New(fault.TooLarge, "the archive unpacks to more than the allowed size")
	case err != nil && fault.KindOf(err) == fault.Internal:
		return 0, fault.Wrap(fault.Invalid, err, "the archive's entry %q cannot be read", clip(f.Name))
	case err != nil:
		return 0, err
	}
	return n, diskFault(cerr, "unpacking the archive")
}
