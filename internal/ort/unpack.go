package ort

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
)

// recordName is the file that says what an installed folder holds. It is
// written last, so a folder without it is no installation.
const recordName = "installed.json"

// record describes an installed build.
type record struct {
	Wheel  string       `json:"wheel"`
	SHA256 string       `json:"sha256"` // of the wheel
	Files  []recordFile `json:"files"`
}

type recordFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// unpack writes the needed files of the wheel and the record into a new
// folder. Only entries of exactly the expected names are looked at, so names
// in the archive cannot lead anywhere else, and no more bytes are written
// than the build is known to have.
func unpack(ctx context.Context, w wheel, file, dir string, p *progress) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the wheel %s is no readable archive", w.name())
	}
	defer func() { _ = z.Close() }()
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	p.phase("unpacking", w.unpacked)
	rec := record{Wheel: w.name(), SHA256: w.sha256}
	left := w.unpacked
	for _, name := range w.files {
		i := slices.IndexFunc(z.File, func(f *zip.File) bool { return f.Name == "onnxruntime/capi/"+name })
		if i < 0 {
			return fault.New(fault.Unavailable, "the wheel %s has no %s", w.name(), name)
		}
		rf, err := unpackOne(ctx, z.File[i], filepath.Join(dir, name), left)
		if err != nil {
			return fmt.Errorf("unpack %s: %w", name, err)
		}
		left -= rf.Size
		p.set(w.unpacked - left)
		rec.Files = append(rec.Files, rf)
	}
	return writeRecord(dir, rec)
}

func unpackOne(ctx context.Context, from *zip.File, to string, limit int64) (recordFile, error) {
	r, err := from.Open()
	if err != nil {
		return recordFile{}, err
	}
	defer func() { _ = r.Close() }()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640) //nolint:gosec // below the cache folder
	if err != nil {
		return recordFile{}, err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(&ctxReader{ctx, r}, limit+1))
	if err == nil && n > limit {
		err = fault.New(fault.Unavailable, "%s is larger than expected", filepath.Base(to))
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return recordFile{filepath.Base(to), n, hex.EncodeToString(h.Sum(nil))}, err
}

func writeRecord(dir string, rec record) error {
	b, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, recordName), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640) //nolint:gosec // below the cache folder
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the cache folder
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// complete checks an installation by its record and the sizes of its files.
func complete(dir string, w wheel) error {
	_, err := readRecord(dir, w)
	return err
}

func readRecord(dir string, w wheel) (record, error) {
	var rec record
	b, err := os.ReadFile(filepath.Join(dir, w.folder(), recordName)) //nolint:gosec // the cache folder
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return rec, err
	}
	if rec.SHA256 != w.sha256 || len(rec.Files) != len(w.files) {
		return rec, errors.New("another build")
	}
	for i, f := range rec.Files {
		if f.Name != w.files[i] {
			return rec, errors.New("another set of files")
		}
		info, err := os.Lstat(filepath.Join(dir, w.folder(), f.Name))
		if err != nil {
			return rec, err
		}
		if !info.Mode().IsRegular() || info.Size() != f.Size {
			return rec, fmt.Errorf("%s has %d bytes, not %d", f.Name, info.Size(), f.Size)
		}
	}
	return rec, nil
}

// verify checks an installation by the content of its files.
func verify(ctx context.Context, dir string, w wheel) error {
	rec, err := readRecord(dir, w)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "ONNX Runtime %s (%s) is not installed whole: run `voxloop runtime install`", w.version, w.variant)
	}
	for _, f := range rec.Files {
		sum, err := hashFile(ctx, filepath.Join(dir, w.folder(), f.Name))
		if err != nil {
			return fault.Wrap(fault.Unavailable, err, "%s of ONNX Runtime cannot be read", f.Name)
		}
		if sum != f.SHA256 {
			return fault.New(fault.Unavailable, "%s of ONNX Runtime %s (%s) was changed since it was installed: delete its folder and run `voxloop runtime install`",
				f.Name, w.version, w.variant)
		}
	}
	return nil
}
