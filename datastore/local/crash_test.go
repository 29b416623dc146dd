package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/testkit"
)

// saveCases are the ways in which a save finds the folder.
var saveCases = []struct {
	name       string
	oldExt     string // "" means that there is no earlier label
	stray      string // extension of a file beside the label
	state, ext string
}{
	{"first", "", "", "", ".nii.gz"},
	{"same extension", ".nii.gz", "", "", ".nii.gz"},
	{"other extension", ".nrrd", "", "", ".nii.gz"},
	{"stray sibling", ".nii.gz", ".nii", "", ".nii.gz"},
	{"state elsewhere", ".nii.gz", "", "state", ".nii.gz"},
}

// prepare makes a store with an image and, perhaps, a label. Rewrites of the
// index file wait until closePrepared, so step sees the steps of the test only.
func prepare(t *testing.T, dir, oldExt, stray, state string, step func(string) error) *Store {
	t.Helper()
	writeFile(t, filepath.Join(dir, "studies", "a.nii.gz"), "voxels")
	o := Options{Studies: filepath.Join(dir, "studies"), step: func(string) error { return nil }}
	if state != "" {
		o.State = filepath.Join(dir, state)
	}
	on := false
	o.step = func(name string) error {
		if !on || step == nil {
			return nil
		}
		return step(name)
	}
	s := open(t, o)
	if oldExt != "" {
		saveText(t, s, "a", "final", oldExt, "old")
	}
	if stray != "" {
		writeFile(t, filepath.Join(dir, "studies", "labels", "final", "a"+stray), "stray")
	}
	s.indexMu.Lock()
	on = true
	return s
}

func closePrepared(t *testing.T, s *Store) {
	t.Helper()
	s.opts.step = func(string) error { return nil }
	s.indexMu.Unlock()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func saveText(t *testing.T, s *Store, id, tag, ext, content string) datastore.Label {
	t.Helper()
	l, err := s.SaveLabel(t.Context(), id, tag, datastore.LabelFile{Ext: ext, Info: ordered.Of("content", content), Write: bytesWriter(content)})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestSaveFailsAtEachStep makes every step of a save fail, one after the
// other, and expects the earlier state each time.
func TestSaveFailsAtEachStep(t *testing.T) {
	for _, tt := range saveCases {
		t.Run(tt.name, func(t *testing.T) {
			for fail := 0; ; fail++ {
				n, failed := 0, ""
				dir := t.TempDir()
				s := prepare(t, dir, tt.oldExt, tt.stray, tt.state, func(name string) error {
					n++
					if n-1 == fail {
						failed = name
						return &os.PathError{Op: name, Path: "x", Err: syscall.ENOSPC}
					}
					return nil
				})
				_, err := s.SaveLabel(t.Context(), "a", "final", datastore.LabelFile{Ext: tt.ext, Write: bytesWriter("new")})
				if failed == "" {
					if err != nil || fail < 4 {
						t.Fatalf("no step failed after %d: %v", fail, err)
					}
					closePrepared(t, s)
					return
				}
				what := fmt.Sprintf("step %d (%s)", fail, failed)
				if fault.KindOf(err) != fault.NoSpace {
					t.Errorf("%s: error %v, want NoSpace", what, err)
				}
				wantOld(t, what, s, tt.oldExt)
				noLitter(t, dir)
				if l := saveText(t, s, "a", "final", tt.ext, "after"); content(t, l.Path) != "after" {
					t.Errorf("%s: the next save failed", what)
				}
				closePrepared(t, s)
			}
		})
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(raw)
}

// wantOld fails the test unless the label is the earlier one, with the content
// "old"; ext "" means that there was none.
func wantOld(t *testing.T, what string, s *Store, ext string) {
	t.Helper()
	img, err := s.Image("a")
	if err != nil {
		t.Fatal(err)
	}
	l, ok := img.Label("final")
	if ok != (ext != "") {
		t.Errorf("%s: label present: %v", what, ok)
	}
	if !ok {
		if got, _ := filepath.Glob(filepath.Join(s.labels, "final", "*")); len(got) > 0 {
			t.Errorf("%s: left %v", what, got)
		}
		return
	}
	if l.Ext != ext || l.Version != 1 || content(t, l.Path) != "old" || l.Info.String("content") != "old" {
		t.Errorf("%s: label %+v", what, l)
	}
}

// TestCrashAtEachStep copies the folders as they are before every step of a
// save, which is what a kill at this moment leaves, and opens the copy.
func TestCrashAtEachStep(t *testing.T) {
	cp := testkit.NeedTool(t, "cp", "install coreutils")
	for _, tt := range saveCases {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "work")
			var copies, steps []string
			s := prepare(t, dir, tt.oldExt, tt.stray, tt.state, func(name string) error {
				to := fmt.Sprintf("%s-%d", dir, len(copies))
				if out, err := exec.Command(cp, "-a", dir, to).CombinedOutput(); err != nil {
					return fmt.Errorf("%w: %s", err, out)
				}
				copies, steps = append(copies, to), append(steps, name)
				return nil
			})
			saveText(t, s, "a", "final", tt.ext, "new")
			for i, c := range copies {
				checkCrashed(t, fmt.Sprintf("before step %d (%s)", i, steps[i]), c, tt.oldExt, tt.state)
			}
			closePrepared(t, s)
			if len(copies) < 4 {
				t.Errorf("only the steps %v", steps)
			}
		})
	}
}

func checkCrashed(t *testing.T, what, dir, oldExt, state string) {
	t.Helper()
	o := Options{Studies: filepath.Join(dir, "studies")}
	if state != "" {
		o.State = filepath.Join(dir, state)
	}
	s := open(t, o)
	defer s.Close()
	noLitter(t, dir)
	img, err := s.Image("a")
	if err != nil {
		t.Fatal(err)
	}
	l, ok := img.Label("final")
	if !ok {
		if oldExt != "" {
			t.Errorf("%s: the earlier label is gone", what)
		}
		return
	}
	switch got := content(t, l.Path); {
	case got == "old" && l.Ext == oldExt:
	case got == "new":
		if oldExt == l.Ext && content(t, filepath.Join(s.versionDir("a", "final"), "1"+oldExt)) != "old" {
			t.Errorf("%s: the earlier version is lost", what)
		}
	default:
		t.Errorf("%s: the label holds %q", what, got)
	}
	if next := saveText(t, s, "a", "final", ".nii.gz", "next"); content(t, next.Path) != "next" {
		t.Errorf("%s: the next save failed", what)
	}
	if err := s.RemoveLabel(t.Context(), "a", "final"); err != nil {
		t.Error(err)
	}
	if err := s.rescan(t.Context()); err != nil {
		t.Error(err)
	}
	if img, err := s.Image("a"); err != nil || len(img.Labels) > 0 {
		t.Errorf("%s: a removed label came back: %+v, %v", what, img.Labels, err)
	}
}

// TestServedDuringAnUpdate hands an image out while an update of its info waits
// for the disk: neither may undo the other, in memory or on disk.
func TestServedDuringAnUpdate(t *testing.T) {
	dir := t.TempDir()
	var s *Store
	s = prepare(t, dir, "", "", "", func(name string) error {
		if name != "record" {
			return nil
		}
		return s.MarkServed("a", "random", "c", 7)
	})
	if err := s.UpdateImageInfo(t.Context(), "a", ordered.Of("k", 1)); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		img, err := s.Image("a")
		if err != nil {
			t.Fatal(err)
		}
		_, updated := img.Info.Get("k")
		if served := img.Info.Sub("strategy").Sub("random"); !updated || served.String("client_id") != "c" {
			t.Errorf("updated %v, served %v", updated, served.Keys())
		}
	}
	check()
	closePrepared(t, s)
	s = open(t, Options{Studies: filepath.Join(dir, "studies")})
	defer s.Close()
	check()
}

// TestImageFailsAtEachStep does the same for an image that is replaced.
func TestImageFailsAtEachStep(t *testing.T) {
	for _, ext := range []string{".nii.gz", ".nrrd"} {
		for fail := 0; ; fail++ {
			n, failed := 0, ""
			dir := t.TempDir()
			s := prepare(t, dir, ".nii.gz", "", "", func(name string) error {
				n++
				if n-1 == fail {
					failed = name
					return errors.New("input/output error")
				}
				return nil
			})
			_, err := s.AddImage(t.Context(), "a", ext, nil, bytesWriter("new voxels"))
			if failed == "" {
				if err != nil || fail < 3 {
					t.Fatalf("no step failed after %d: %v", fail, err)
				}
				closePrepared(t, s)
				break
			}
			img, err2 := s.Image("a")
			if err == nil || err2 != nil || content(t, img.Files[0]) != "voxels" || img.Ext != ".nii.gz" || len(img.Labels) != 1 {
				t.Errorf("%s, step %d (%s): %v, %v, %+v", ext, fail, failed, err, err2, img)
			}
			noLitter(t, dir)
			closePrepared(t, s)
		}
	}
}
