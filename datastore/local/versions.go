package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/voxloop/voxloop/datastore"
)

// versionDir holds the older versions of one label: <n><ext>.
func (s *Store) versionDir(id, tag string) string {
	return filepath.Join(s.state, "labels", id, tag)
}

// versionFiles returns the file of each kept version by number.
func (s *Store) versionFiles(id, tag string) (map[int]string, error) {
	dir := s.versionDir(id, tag)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return map[int]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	files := make(map[int]string, len(entries))
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), ".")
		if n, err := strconv.Atoi(number); err == nil && n >= 0 {
			files[n] = filepath.Join(dir, e.Name())
		}
	}
	return files, nil
}

func latest(files map[int]string) int {
	n := -1
	for k := range files {
		n = max(n, k)
	}
	return n
}

// keep puts a copy of a label file among the older versions, under number n or
// the next free one, and returns that number. The file itself stays where it
// is: a hard link where the file system has them. The copy is durable on
// return.
func (s *Store) keep(ctx context.Context, path, id, tag string, n int, ext string) (int, error) {
	files, err := s.versionFiles(id, tag)
	if err != nil {
		return 0, err
	}
	if old, ok := files[n]; ok && sameFile(old, path) {
		return n, nil // kept by a save that was cut short
	}
	n = max(n, latest(files)+1)
	dir := s.versionDir(id, tag)
	if err := s.makeDir(s.state, dir); err != nil {
		return 0, err
	}
	if err := s.opts.step("keep"); err != nil {
		return 0, err
	}
	target := filepath.Join(dir, fmt.Sprintf("%d%s", n, ext))
	if err := link(path, target); err != nil {
		if err := s.copyTo(ctx, path, s.state, target); err != nil {
			return 0, err
		}
	}
	return n, diskFault(s.syncDir(dir), "an older version of the label")
}

// link makes a hard link. Symbolic links are refused: the copy must stay when
// what they lead to changes.
func link(path, target string) error {
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, errors.ErrUnsupported)
	}
	return os.Link(path, target)
}

// copyTo copies a file durably to target by way of a temporary file in tempDir,
// which is on the same file system: complete or not at all.
func (s *Store) copyTo(ctx context.Context, path, tempDir, target string) error {
	temp, _, err := s.writeTemp(ctx, tempDir, func(w io.Writer) error {
		in, err := os.Open(path) //nolint:gosec // a label of the store
		if err != nil {
			return err
		}
		_, err = io.Copy(w, in)
		return errors.Join(err, in.Close())
	})
	if err != nil {
		return err
	}
	return os.Rename(temp, target)
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// Versions returns the older versions of a label, oldest first. The info of a
// version is empty where only its file is left.
func (s *Store) Versions(id, tag string) ([]datastore.Label, error) {
	if err := s.checkLabel(id, tag); err != nil {
		return nil, err
	}
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed.Load() {
		return nil, errClosed()
	}
	files, err := s.versionFiles(id, tag)
	if err != nil {
		return nil, err
	}
	var out []datastore.Label
	for _, n := range slices.Sorted(maps.Keys(files)) {
		var r labelRecord
		raw, err := s.db.value(versionKey(id, tag, n))
		if err == nil && raw != nil {
			err = json.Unmarshal(raw, &r)
		}
		if err != nil {
			return nil, err
		}
		ext := strings.TrimPrefix(filepath.Base(files[n]), strconv.Itoa(n))
		out = append(out, datastore.Label{
			Tag: tag, Ext: ext, Path: files[n], Version: n, Info: parseObject(r.Info), GridMismatch: r.Mismatch,
		})
	}
	return out, nil
}
