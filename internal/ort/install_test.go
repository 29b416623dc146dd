package ort

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/testkit"
)

// fixture is a fake wheel, a fake pip that hands it out, and the options that
// install it.
type fixture struct {
	opts InstallOptions
	w    *wheel
	bin  string // folder of the fake pip; the whole PATH besides the system's
	file string // what pip hands out
}

// pipScript answers like pip does for --version and download; it counts the
// downloads. BODY is run before the file is handed out.
const pipScript = `#!/bin/sh
[ "$1" = "-m" ] && shift 2
[ "$1" = "--version" ] && { echo "pip 99"; exit 0; }
dest=""
for a in "$@"; do [ "$prev" = "--dest" ] && dest="$a"; prev="$a"; done
echo x >>"%[1]s/calls"
printf '%%s\n' "$@" >"%[1]s/args"
%[3]s
cp "%[2]s" "$dest/%[4]s"
`

func newFixture(t *testing.T, entries map[string]string) *fixture {
	t.Helper()
	f := &fixture{bin: t.TempDir(), file: filepath.Join(t.TempDir(), "fake.whl")}
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for name, body := range entries {
		e, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, f.file, buf.Bytes())
	sum := sha256.Sum256(buf.Bytes())
	f.opts = InstallOptions{Dir: filepath.Join(t.TempDir(), "cache"), wheels: []wheel{{
		os: runtime.GOOS, arch: runtime.GOARCH, variant: "openvino", project: "onnx-fake", version: "9.8.7", platform: "any_platform",
		sha256: hex.EncodeToString(sum[:]), size: int64(buf.Len()), unpacked: 11, files: []string{"liba.so", "libb.so"},
	}}}
	f.w = &f.opts.wheels[0]
	f.pip(t, "")
	return f
}

var goodWheel = map[string]string{
	"onnxruntime/capi/liba.so":       "hello",
	"onnxruntime/capi/libb.so":       "world!",
	"onnxruntime/capi/other.so":      "not wanted",
	"../../../../onnxruntime/escape": "zip slip",
}

// pip installs the fake pip with a body that runs before the hand-out.
func (f *fixture) pip(t *testing.T, body string) {
	t.Helper()
	script := fmt.Sprintf(pipScript, f.bin, f.file, body, f.w.name())
	for _, name := range []string{"python3", "pip3", "pip", "python"} {
		p := filepath.Join(f.bin, name)
		write(t, p, []byte(script))
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", f.bin+":/usr/bin:/bin")
}

func (f *fixture) downloads() int {
	b, _ := os.ReadFile(filepath.Join(f.bin, "calls")) // absent: none
	return bytes.Count(b, []byte("x"))
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// leftovers fails the test when the cache folder holds anything besides want
// and the lock.
func (f *fixture) leftovers(t *testing.T, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(f.opts.Dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if e.Name() != ".openvino.lock" {
			got = append(got, e.Name())
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the cache folder holds %v, want %v", got, want)
	}
}

func TestEnsureInstallsOnce(t *testing.T) {
	f := newFixture(t, goodWheel)
	if l, ok := Installed(f.opts); ok {
		t.Fatalf("Installed before the installation: %v", l)
	}
	var said bytes.Buffer
	f.opts.Progress = &said
	l, err := Ensure(t.Context(), f.opts)
	if err != nil {
		t.Fatal(err)
	}
	want := Library{Path: filepath.Join(f.opts.Dir, "openvino-9.8.7", "liba.so"), Version: "9.8.7", Variant: "openvino"}
	if l != want {
		t.Errorf("got %+v, want %+v", l, want)
	}
	for name, body := range map[string]string{"liba.so": "hello", "libb.so": "world!"} {
		if b, err := os.ReadFile(filepath.Join(filepath.Dir(l.Path), name)); err != nil || string(b) != body {
			t.Errorf("%s holds %q (%v), want %q", name, b, err, body)
		}
	}
	f.leftovers(t, "openvino-9.8.7")
	if _, err := os.Stat(filepath.Join(filepath.Dir(l.Path), "other.so")); !os.IsNotExist(err) {
		t.Errorf("a file that is not needed was unpacked: %v", err)
	}
	for _, line := range []string{"ONNX Runtime 9.8.7 (openvino): downloading", "unpacking", "installed in"} {
		if !strings.Contains(said.String(), line) {
			t.Errorf("progress %q does not say %q", said.String(), line)
		}
	}
	args, _ := os.ReadFile(filepath.Join(f.bin, "args")) // empty fails below
	for _, a := range []string{"download\n", "--no-deps\n", "--only-binary=:all:\n", "any_platform\n", "onnx-fake==9.8.7\n"} {
		if !strings.Contains(string(args), a) {
			t.Errorf("pip's arguments %q lack %q", args, a)
		}
	}
	if again, err := Ensure(t.Context(), f.opts); err != nil || again != want {
		t.Errorf("second Ensure: %+v, %v", again, err)
	}
	if n := f.downloads(); n != 1 {
		t.Errorf("%d downloads, want 1", n)
	}
	if err := Verify(t.Context(), f.opts); err != nil {
		t.Errorf("Verify: %v", err)
	}
}

func TestEnsureRefusesBadWheels(t *testing.T) {
	tests := []struct {
		name    string
		entries map[string]string
		change  func(t *testing.T, f *fixture)
		kind    fault.Kind
		say     string
	}{
		{"another file of the same size", goodWheel, func(t *testing.T, f *fixture) {
			b, err := os.ReadFile(f.file)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 1
			write(t, f.file, b)
		}, fault.Unavailable, "SHA-256"},
		{"truncated", goodWheel, func(t *testing.T, f *fixture) {
			if err := os.Truncate(f.file, f.w.size-7); err != nil {
				t.Fatal(err)
			}
		}, fault.Unavailable, "bytes"},
		{"no archive", nil, func(t *testing.T, f *fixture) {
			b := bytes.Repeat([]byte{7}, int(f.w.size))
			sum := sha256.Sum256(b)
			f.w.sha256 = hex.EncodeToString(sum[:])
			write(t, f.file, b)
		}, fault.Unavailable, "no readable archive"},
		{"a library is missing", map[string]string{"onnxruntime/capi/liba.so": "hello"}, nil, fault.Unavailable, "libb.so"},
		{"larger than known", map[string]string{"onnxruntime/capi/liba.so": "hello", "onnxruntime/capi/libb.so": "world!!!"}, nil, fault.Unavailable, "larger than expected"},
		{"pip leaves nothing", goodWheel, func(t *testing.T, f *fixture) { f.pip(t, "exit 0") }, fault.Unavailable, "pip did not leave"},
		{"pip fails", goodWheel, func(t *testing.T, f *fixture) { f.pip(t, "echo 'ERROR: no network' >&2; exit 1") }, fault.Unavailable, "ERROR: no network"},
		{"no pip", goodWheel, func(t *testing.T, _ *fixture) { t.Setenv("PATH", t.TempDir()) }, fault.Unavailable, "pip is needed"},
		{"offline", goodWheel, func(_ *testing.T, f *fixture) { f.opts.Offline = true }, fault.Unavailable, "downloads are off"},
		{"unknown variant", goodWheel, func(_ *testing.T, f *fixture) { f.opts.Variant = "tpu" }, fault.Invalid, "tpu"},
		{"other machine", goodWheel, func(_ *testing.T, f *fixture) { f.w.arch = "pdp11" }, fault.Unavailable, "no build is published"},
		{"too little space", goodWheel, func(_ *testing.T, f *fixture) { f.w.unpacked = 1 << 60 }, fault.NoSpace, "MB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, tt.entries)
			if tt.change != nil {
				tt.change(t, f)
			}
			_, err := Ensure(t.Context(), f.opts)
			if err == nil || fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("got %v (%v), want %v with %q", err, fault.KindOf(err), tt.kind, tt.say)
			}
			if m, _ := fault.Message(err); strings.Contains(m, f.opts.Dir) {
				t.Errorf("the message %q tells an absolute path", m)
			}
			f.leftovers(t)
			if _, ok := Installed(f.opts); ok {
				t.Error("Installed after a failure")
			}
		})
	}
}

func TestEnsureCanceled(t *testing.T) {
	f := newFixture(t, goodWheel)
	f.pip(t, fmt.Sprintf("touch '%s/started'; sleep 600; exit 1", f.bin))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var err error
	wg.Go(func() { _, err = Ensure(ctx, f.opts) })
	for {
		if _, serr := os.Stat(filepath.Join(f.bin, "started")); serr == nil {
			break
		}
		time.Sleep(5 * time.Millisecond) // another process: nothing to wait on
	}
	cancel()
	wg.Wait()
	if fault.KindOf(err) != fault.Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a fault of kind canceled", err)
	}
	f.leftovers(t)
}

func TestEnsureManyAtOnce(t *testing.T) {
	f := newFixture(t, goodWheel)
	f.pip(t, "sleep 0.3")
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { _, errs[i] = Ensure(t.Context(), f.opts) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if n := f.downloads(); n != 1 {
		t.Errorf("%d downloads, want 1", n)
	}
	f.leftovers(t, "openvino-9.8.7")
}

func TestEnsureWaitsForLockUntilCanceled(t *testing.T) {
	f := newFixture(t, goodWheel)
	if err := os.MkdirAll(f.opts.Dir, 0o750); err != nil {
		t.Fatal(err)
	}
	unlock, err := lock(t.Context(), filepath.Join(f.opts.Dir, ".openvino.lock"), f.opts.logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Ensure(ctx, f.opts); fault.KindOf(err) != fault.Canceled {
		t.Errorf("got %v, want a fault of kind canceled", err)
	}
	unlock()
	if _, err := Ensure(t.Context(), f.opts); err != nil {
		t.Errorf("after the lock was released: %v", err)
	}
}

func TestHalfInstallationIsRepaired(t *testing.T) {
	tests := []struct {
		name string
		harm func(dir string) error
	}{
		{"record missing", func(d string) error { return os.Remove(filepath.Join(d, recordName)) }},
		{"record cut", func(d string) error { return os.Truncate(filepath.Join(d, recordName), 10) }},
		{"library missing", func(d string) error { return os.Remove(filepath.Join(d, "libb.so")) }},
		{"library cut", func(d string) error { return os.Truncate(filepath.Join(d, "libb.so"), 2) }},
		{"record of another wheel", func(d string) error {
			return os.WriteFile(filepath.Join(d, recordName), []byte(`{"sha256":"0","files":[]}`), 0o600)
		}},
		{"killed before the rename", func(d string) error {
			return errors.Join(os.RemoveAll(d), os.MkdirAll(filepath.Join(filepath.Dir(d), ".openvino-9.8.7-new-123", "lib"), 0o750))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, goodWheel)
			l, err := Ensure(t.Context(), f.opts)
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.harm(filepath.Dir(l.Path)); err != nil {
				t.Fatal(err)
			}
			if _, ok := Installed(f.opts); ok {
				t.Error("taken for an installation")
			}
			if err := Verify(t.Context(), f.opts); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("Verify: %v", err)
			}
			if _, err := Ensure(t.Context(), f.opts); err != nil {
				t.Fatal(err)
			}
			if err := Verify(t.Context(), f.opts); err != nil {
				t.Errorf("Verify after the repair: %v", err)
			}
			f.leftovers(t, "openvino-9.8.7")
		})
	}
}

func TestVerifySeesChangedContent(t *testing.T) {
	f := newFixture(t, goodWheel)
	l, err := Ensure(t.Context(), f.opts)
	if err != nil {
		t.Fatal(err)
	}
	write(t, l.Path, []byte("hellO"))
	if _, ok := Installed(f.opts); !ok {
		t.Error("the sizes are right: Installed looks no further")
	}
	if err := Verify(t.Context(), f.opts); err == nil || !strings.Contains(err.Error(), "liba.so") {
		t.Errorf("Verify: %v, want one naming liba.so", err)
	}
}

func TestEnsureFolderCannotBeWritten(t *testing.T) {
	f := newFixture(t, goodWheel)
	for _, tt := range []struct{ name, dir string }{
		{"a file is in the way", filepath.Join(f.file, "cache")},
		{"read-only", t.TempDir()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := f.opts
			o.Dir = tt.dir
			if tt.name == "read-only" {
				withoutRights(t, tt.dir)
				o.Dir = filepath.Join(tt.dir, "cache")
			}
			_, err := Ensure(t.Context(), o)
			m, _ := fault.Message(err)
			if fault.KindOf(err) != fault.Unavailable || !strings.Contains(m, "cannot be written") || !strings.Contains(m, "--ort") {
				t.Errorf("got %v, want one that says the folder cannot be written and what to do", err)
			}
		})
	}
}

// withoutRights makes dir read-only, also for root: this goroutine's thread
// gives up root's rights on files until the test ends.
func withoutRights(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	if os.Geteuid() != 0 {
		return
	}
	if dropRights == nil {
		testkit.SkipOrFail(t, "root cannot be kept from writing on this system: run as another user")
	}
	runtime.LockOSThread() // not unlocked: the thread ends with the test's goroutine
	if err := dropRights(); err != nil {
		t.Fatal(err)
	}
}

// dropRights takes root's rights on files from the calling thread; nil where
// the system has no such call.
var dropRights func() error

func TestOwnLibrary(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "libonnxruntime.so.1.24.1")
	write(t, file, []byte("lib"))
	file, err := filepath.EvalSymlinks(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, dir} {
		l, err := Ensure(t.Context(), InstallOptions{Path: path})
		if err != nil || l.Path != file || l.Variant != VariantOwn {
			t.Errorf("%s: %+v, %v", filepath.Base(path), l, err)
		}
		if got, ok := Installed(InstallOptions{Path: path}); !ok || got != l {
			t.Errorf("Installed: %+v, %v", got, ok)
		}
	}
	for _, path := range []string{filepath.Join(dir, "absent.so"), t.TempDir()} {
		_, err := Ensure(t.Context(), InstallOptions{Path: path})
		if m, _ := fault.Message(err); fault.KindOf(err) != fault.Unavailable || !strings.Contains(m, "--ort") {
			t.Errorf("%s: got %v, want an error about --ort", filepath.Base(path), err)
		}
		if _, ok := Installed(InstallOptions{Path: path}); ok {
			t.Errorf("%s: Installed", filepath.Base(path))
		}
	}
}

func TestWheelTable(t *testing.T) {
	seen := make(map[string]bool)
	for _, w := range wheels {
		key := w.os + "/" + w.arch + "/" + w.variant
		if seen[key] || len(w.sha256) != 64 || w.size <= 0 || w.unpacked < w.size || !strings.HasPrefix(w.files[0], "libonnxruntime.") {
			t.Errorf("%s: %+v", key, w)
		}
		seen[key] = true
	}
	if got, want := wheels[0].name(), "onnxruntime_openvino-1.24.1-cp311-cp311-manylinux_2_28_x86_64.whl"; got != want {
		t.Errorf("name %s, want %s", got, want)
	}
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" && fmt.Sprint(Variants()) != "[openvino cpu gpu]" {
		t.Errorf("Variants: %v", Variants())
	}
}
