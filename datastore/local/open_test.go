package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/testkit"
)

func TestSecondServer(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Studies: dir})
	_, err := Open(t.Context(), Options{Studies: dir, Logger: quietLog})
	if fault.KindOf(err) != fault.Conflict {
		t.Fatalf("a second server: %v", err)
	}
	msg, _ := fault.Message(err)
	for _, want := range []string{fmt.Sprint(os.Getpid()), "voxloop", filepath.Base(dir)} {
		if !strings.Contains(msg, want) {
			t.Errorf("the message %q does not say %q", msg, want)
		}
	}
	if strings.Contains(msg, dir) {
		t.Errorf("the message %q tells a path", msg)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, Options{Studies: dir}).Close(); err != nil {
		t.Error(err)
	}
}

// TestDamagedDatabase damages every file of the index in turn.
func TestDamagedDatabase(t *testing.T) {
	damage := map[string]func(path string, size int64) error{
		"emptied": func(p string, _ int64) error { return os.Truncate(p, 0) },
		"cut":     func(p string, n int64) error { return os.Truncate(p, n/2) },
		"garbage": func(p string, n int64) error {
			return os.WriteFile(p, []byte(strings.Repeat("garbage!", int(min(n, 4096)/8+1))), 0o600)
		},
		"flipped":     func(p string, n int64) error { return flip(p, n/3) },
		"end flipped": func(p string, n int64) error { return flip(p, n-1) },
		"no folder":   func(p string, _ int64) error { return os.RemoveAll(filepath.Dir(p)) },
	}
	for _, file := range []string{"MANIFEST", "KEYREGISTRY", "DISCARD", "*.sst", "*.vlog"} {
		for name, harm := range damage {
			t.Run(file+" "+name, func(t *testing.T) {
				dir := usedStore(t)
				files, err := filepath.Glob(filepath.Join(dir, StateDir, "db", file))
				if err != nil || len(files) == 0 {
					t.Fatalf("%s: %v, %v", file, files, err)
				}
				for _, target := range files {
					info, err := os.Stat(target)
					if err != nil {
						continue // with its folder
					}
					if err := harm(target, info.Size()); err != nil {
						t.Fatal(err)
					}
				}
				s := open(t, Options{Studies: dir})
				defer s.Close()
				img, err := s.Image("zeta")
				if err != nil || len(img.Labels) != 2 {
					t.Fatalf("got %+v, %v", img, err)
				}
				if n, _ := img.Info.Get("n"); fmt.Sprint(n) != "9" || img.Info.String("checksum") != "SHA256:00" {
					t.Errorf("info n = %v, keys %v", n, img.Info.Keys())
				}
				saveText(t, s, "zeta", "final", ".nrrd", "works")
			})
		}
	}
}

// usedStore makes a studies folder whose index has tables of many blocks and
// values in the value log.
func usedStore(t *testing.T) string {
	t.Helper()
	dir := labFolder(t)
	for i := range 400 {
		writeFile(t, filepath.Join(dir, fmt.Sprintf("case%d.nii", i)), "x")
	}
	s := open(t, Options{Studies: dir, SyncDisabled: true})
	for i := range 10 {
		if err := s.UpdateImageInfo(t.Context(), "zeta", ordered.Of("n", i, "filler", strings.Repeat("x", 70_000))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// flip inverts one byte of a file.
func flip(path string, at int64) error {
	raw, err := os.ReadFile(path)
	if err != nil || at < 0 || at >= int64(len(raw)) {
		return err
	}
	raw[at] ^= 0xff
	return os.WriteFile(path, raw, 0o600)
}

func TestVersions(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a.nii"), "x")
	writeFile(t, filepath.Join(dir, "labels/final/a.nii"), "found")
	s := open(t, Options{Studies: dir})
	defer s.Close()
	for _, ext := range []string{".nii", ".nrrd", ".nii"} {
		saveText(t, s, "a", "final", ext, "saved as "+ext)
	}
	if err := s.RemoveLabel(t.Context(), "a", "final"); err != nil {
		t.Fatal(err)
	}
	all, err := s.Versions("a", "final")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range all {
		got = append(got, fmt.Sprint(l.Version, l.Ext, " ", content(t, l.Path), " ", l.Info.String("content")))
	}
	want := []string{"0.nii found ", "1.nii saved as .nii saved as .nii", "2.nrrd saved as .nrrd saved as .nrrd", "3.nii saved as .nii saved as .nii"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if none, err := s.Versions("unknown", "final"); err != nil || len(none) > 0 {
		t.Errorf("got %v, %v", none, err)
	}
	if _, err := s.Versions("..", "final"); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}

func TestRebuildKeepsVersions(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a.nii"), "x")
	s := open(t, Options{Studies: dir})
	for i := range 3 {
		saveText(t, s, "a", "final", ".nii", fmt.Sprint("v", i+1))
	}
	l, err := s.SaveLabel(t.Context(), "a", "original", datastore.LabelFile{Ext: ".nii", GridMismatch: true, Write: bytesWriter("o")})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), os.RemoveAll(filepath.Join(dir, StateDir, "db"))); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Studies: dir})
	defer s.Close()
	img, err := s.Image("a")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := img.Label("original"); !o.GridMismatch || o.Path != l.Path {
		t.Errorf("the grid flag was lost with the database: %+v", o)
	}
	if f, _ := img.Label("final"); f.Info.String("content") != "v3" {
		t.Errorf("info %v", f.Info.Keys())
	}
	if next := saveText(t, s, "a", "final", ".nii", "v4"); next.Version < 4 {
		t.Errorf("version %d", next.Version)
	}
	var all []string
	files, err := s.versionFiles("a", "final")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		if p, ok := files[n]; ok {
			all = append(all, content(t, p))
		}
	}
	if got := strings.Join(all, " "); got != "v1 v2 v3" {
		t.Errorf("older versions %q", got)
	}
}

func TestReadOnly(t *testing.T) {
	dir, state := labFolder(t), filepath.Join(t.TempDir(), "state")
	if _, err := Open(t.Context(), Options{Studies: dir, ReadOnly: true, Logger: quietLog}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "--state") {
		t.Errorf("without a state folder: %v", err)
	}
	before := tree(t, dir)
	s := open(t, Options{Studies: dir, State: state, ReadOnly: true, Debounce: time.Millisecond})
	ctx := t.Context()
	for what, err := range map[string]error{
		"add":    second(s.AddImage(ctx, "n", ".nii", nil, bytesWriter("x"))),
		"save":   second(s.SaveLabel(ctx, "zeta", "final", datastore.LabelFile{Ext: ".nii", Write: bytesWriter("x")})),
		"remove": s.RemoveImage(ctx, "zeta"), "remove label": s.RemoveLabel(ctx, "zeta", "final"),
		"update": s.UpdateImageInfo(ctx, "zeta", nil), "update label": s.UpdateLabelInfo(ctx, "zeta", "final", nil),
	} {
		if msg, _ := fault.Message(err); fault.KindOf(err) != fault.Unavailable || !strings.Contains(msg, "read-only") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := errors.Join(s.MarkServed("zeta", "random", "c", 9), s.Quarantine(ctx, "alpha.b", "why"), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Studies: dir, State: state, ReadOnly: true})
	defer s.Close()
	img, err := s.Image("zeta")
	if err != nil {
		t.Fatal(err)
	}
	if ts, _ := img.Info.Sub("strategy").Sub("random").Get("ts"); fmt.Sprint(ts) != "9" || s.Stats().Quarantined != 1 || s.Name() != "liver-study" {
		t.Errorf("served %v, stats %+v, name %s", ts, s.Stats(), s.Name())
	}
	if after := tree(t, dir); after != before {
		t.Errorf("the studies folder changed:\n%s\nwas\n%s", after, before)
	}
}

func second[T any](_ T, err error) error { return err }

func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		fmt.Fprintln(&b, path, info.Size(), info.ModTime())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// tmpfs mounts a small file system; only root may, in some places not even
// root.
func tmpfs(t *testing.T, size string, flags uintptr) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, "size="+size); err != nil {
		testkit.SkipOrFail(t, fmt.Sprintf("a small file system cannot be mounted (run as root): %v", err))
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestReadOnlyFileSystem(t *testing.T) {
	dir := tmpfs(t, "1m", 0)
	writeFile(t, filepath.Join(dir, "a.nii"), "x")
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		testkit.SkipOrFail(t, fmt.Sprintf("the small file system cannot be made read-only: %v", err))
	}
	if _, err := Open(t.Context(), Options{Studies: dir, Logger: quietLog}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("without a state folder: %v", err)
	}
	s := open(t, Options{Studies: dir, State: t.TempDir()})
	defer s.Close()
	_, err := s.SaveLabel(t.Context(), "a", "final", datastore.LabelFile{Ext: ".nii", Write: bytesWriter("x")})
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("save: %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	dir := tmpfs(t, "64m", 0)
	writeFile(t, filepath.Join(dir, "a.nii"), "x")
	s := open(t, Options{Studies: dir, Debounce: time.Millisecond})
	saveText(t, s, "a", "final", ".nii", "old")
	big := func(n int) error {
		_, err := s.SaveLabel(t.Context(), "a", "final", datastore.LabelFile{Ext: ".nii", Write: bytesWriter(strings.Repeat("x", n))})
		return err
	}
	// Full while the file is written.
	if err := big(60 << 20); fault.KindOf(err) != fault.NoSpace {
		t.Errorf("a label larger than the disk: %v", err)
	}
	wantOld(t, "too large", s, ".nii")
	// Full to the last byte by somebody else.
	fill := filepath.Join(dir, "fill")
	f, err := os.Create(fill)
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 1<<16)
	for err == nil {
		_, err = f.Write(chunk)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	_ = f.Close()
	for what, err := range map[string]error{
		"save": big(10), "add": second(s.AddImage(t.Context(), "n", ".nii", nil, bytesWriter("x"))),
		"update": s.UpdateImageInfo(t.Context(), "a", ordered.Of("k", 1)),
	} {
		if msg, ok := fault.Message(err); fault.KindOf(err) != fault.NoSpace || !ok || strings.Contains(msg, dir) {
			t.Errorf("%s on a full disk: %v", what, err)
		}
	}
	wantOld(t, "full", s, ".nii")
	noLitter(t, dir)
	if err := s.MarkServed("a", "random", "c", 5); err != nil {
		t.Errorf("handing out an image on a full disk: %v", err)
	}
	// An orderly end, although nothing can be written any more.
	if err := s.Close(); fault.KindOf(err) != fault.NoSpace {
		t.Errorf("close: %v", err)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Studies: dir})
	wantOld(t, "after a restart", s, ".nii")
	saveText(t, s, "a", "final", ".nii", "new")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestForeignLockIsNotWaitedForEver(t *testing.T) {
	dir := labFolder(t)
	f, err := os.Create(filepath.Join(dir, ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := flock(f, syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Studies: dir, Debounce: time.Hour})
	saveText(t, s, "zeta", "final", ".nrrd", "x")
	start := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("closing took %v", d)
	}
	if !strings.Contains(content(t, filepath.Join(dir, indexName)), `"content": "x"`) {
		t.Error("the last chance to write the index file was not used")
	}
}

func TestBadOptions(t *testing.T) {
	if _, err := Open(t.Context(), Options{Logger: quietLog}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no folder: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "x")
	if _, err := Open(t.Context(), Options{Studies: file, Logger: quietLog}); err == nil {
		t.Error("a file was opened as a studies folder")
	}
	o := Options{Extensions: []string{"*.nii.gz", " .x ", "y", "*", ""}}.withDefaults()
	if got := strings.Join(o.Extensions, " "); got != ".nii.gz .x .y" {
		t.Errorf("extensions %q", got)
	}
}
