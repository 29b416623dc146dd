package atomicfile_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/voxloop/voxloop/internal/atomicfile"
)

func TestWriteReplacesWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.bin")
	for _, text := range []string{"first, the longer one", "second"} {
		err := atomicfile.Write(path, 0o640, func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("content = %q, %v; want %q", got, err, text)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode = %v, %v; want 0640", info.Mode(), err)
	}
}

func TestFailureLeavesEarlierFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.bin")
	if err := os.WriteFile(path, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("the encoder failed")
	err := atomicfile.Write(path, 0o644, func(w io.Writer) error {
		if _, err := io.WriteString(w, "half"); err != nil {
			return err
		}
		return cause
	})
	if !errors.Is(err, cause) {
		t.Errorf("error = %v, want the writer's own", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "kept" {
		t.Errorf("content = %q, %v; want the earlier file", got, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v; want only the earlier file", entries, err)
	}
}

// An error names the file that was to be written, not the temporary one.
func TestErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "out.bin")
	if err := os.MkdirAll(filepath.Join(folder, "sub"), 0o750); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "none", "out.bin")
	for path, op := range map[string]string{folder: "replace", missing: "open"} {
		err := atomicfile.Write(path, 0o644, func(io.Writer) error { return nil })
		e, ok := errors.AsType[*fs.PathError](err)
		if !ok || e.Op != op || e.Path != path || strings.Contains(err.Error(), ".tmp") {
			t.Errorf("%s: error = %v, want %s of it", path, err, op)
		}
	}
	other := filepath.Join(dir, "other.tmp")
	path := filepath.Join(dir, "new.bin")
	err := atomicfile.Write(path, 0o644, func(io.Writer) error { _, err := os.ReadFile(other); return err })
	if e, ok := errors.AsType[*fs.PathError](err); !ok || e.Path != other {
		t.Errorf("error = %v, want one of %s", err, other)
	}
}

// A full device shows in the text of an error that the encoder has wrapped.
func TestFullDeviceNamesTheFile(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Skip("no limit of a file's size here: ", err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	small := syscall.Rlimit{Cur: 1 << 17, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.bin")
	err := atomicfile.Write(path, 0o644, func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return fmt.Errorf("encode: %w", err)
		}
		return nil
	})
	if back := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); back != nil {
		t.Fatal(back)
	}
	if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), ".tmp") {
		t.Errorf("error = %v, want one that names %s", err, path)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) != 0 {
		t.Errorf("%v are left behind", left)
	}
}

func TestMissingFolder(t *testing.T) {
	err := atomicfile.Write(filepath.Join(t.TempDir(), "none", "out"), 0o644, func(io.Writer) error { return nil })
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error = %v, want one that is os.ErrNotExist", err)
	}
}
