package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

func ids(s *Store) string {
	var out []string
	for img := range s.All() {
		out = append(out, img.ID)
	}
	return strings.Join(out, " ")
}

// TestWatch changes the folder from outside and expects the store to follow:
// once by the system's notices, once by the periodic scan alone.
func TestWatch(t *testing.T) {
	for _, mode := range []string{"notices", "scan"} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "a.nii"), "x")
			o := Options{Studies: dir, Rescan: time.Hour}
			if mode == "scan" {
				o.Rescan = 30 * time.Millisecond
			}
			s := open(t, o)
			defer s.Close()
			if mode == "scan" {
				s.quietNotices(t)
			}
			at := func(n string) string { return filepath.Join(dir, n) }
			writeFile(t, at("b.nii.gz"), "x")
			eventually(t, "a new image", func() bool { return ids(s) == "a b" })
			if err := os.Rename(at("b.nii.gz"), at("c.nii.gz")); err != nil {
				t.Fatal(err)
			}
			eventually(t, "a rename", func() bool { return ids(s) == "a c" })
			writeFile(t, at("labels/brand_new/c.nrrd"), "m")
			eventually(t, "a label in a new folder", func() bool { img, _ := s.Image("c"); return len(img.Labels) == 1 })
			writeFile(t, at("labels/brand_new/a.nrrd"), "m")
			eventually(t, "a second label there", func() bool { img, _ := s.Image("a"); return len(img.Labels) == 1 })
			writeFile(t, at("labels/brand_new/a.nrrd"), "changed")
			eventually(t, "a changed label", func() bool { img, _ := s.Image("a"); return img.Labels[0].Version == 1 })
			if err := os.RemoveAll(at("labels/brand_new")); err != nil {
				t.Fatal(err)
			}
			eventually(t, "removed labels", func() bool { return len(s.Stats().Tags) == 0 })
			if err := os.Remove(at("c.nii.gz")); err != nil {
				t.Fatal(err)
			}
			eventually(t, "a removed image", func() bool { return ids(s) == "a" })
		})
	}
}

// quietNotices stops the system's notices, as where their number is used up.
func (s *Store) quietNotices(t *testing.T) {
	t.Helper()
	s.cancel()
	s.wg.Wait()
	s.cancel = func() {}
	ctx, cancel := context.WithCancel(t.Context())
	s.cancel = cancel
	s.wg.Go(func() { s.flushLoop(ctx) })
	s.wg.Go(func() { s.watchLoop(ctx, &watcher{s: s}) })
}

// TestOwnWritesAreNoNews saves and waits for the notices of it: nothing more
// may happen.
func TestOwnWritesAreNoNews(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a.nii"), "x")
	s := open(t, Options{Studies: dir, Debounce: 10 * time.Millisecond, Rescan: 50 * time.Millisecond})
	defer s.Close()
	var mu sync.Mutex
	var kinds []datastore.EventKind
	defer s.Subscribe(func(ev datastore.Event) { mu.Lock(); kinds = append(kinds, ev.Kind); mu.Unlock() })()
	saveText(t, s, "a", "final", ".nii", "y")
	if _, err := s.AddImage(t.Context(), "b", ".nii", nil, bytesWriter("z")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the rewrite", func() bool { return settled(s) })
	before := printOf(filepath.Join(dir, indexName))
	time.Sleep(600 * time.Millisecond) // longer than a burst of notices is gathered
	mu.Lock()
	defer mu.Unlock()
	if len(kinds) != 3 || kinds[1] != datastore.LabelSaved || kinds[2] != datastore.ImageAdded {
		t.Errorf("events %v", kinds)
	}
	if after := printOf(filepath.Join(dir, indexName)); after != before {
		t.Error("the index file is written again and again")
	}
}

func TestChannels(t *testing.T) {
	tests := []struct {
		name, files, want string
	}{
		{"two channels", "m_0000.nii.gz m_0001.nii.gz", "m"},
		{"alone", "m_0000.nii.gz", "m_0000"},
		{"without the first", "m_0001.nii.gz m_0002.nii.gz", "m_0001 m_0002"},
		{"gap", "m_0000.nii m_0002.nii", "m_0000 m_0002"},
		{"a file of the id itself", "m.nii m_0000.nii m_0001.nii", "m m_0000 m_0001"},
		{"different extensions", "m_0000.nii m_0001.nrrd", "m_0000 m_0001"},
		{"labels of their own", "m_0000.nii m_0001.nii labels/final/m_0001.nii", "m_0000 m_0001"},
		{"label of the whole", "m_0000.nii m_0001.nii labels/final/m.nii", "m"},
		{"three digits", "m_000.nii m_001.nii", "m_000 m_001"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for f := range strings.FieldsSeq(tt.files) {
				writeFile(t, filepath.Join(dir, f), f)
			}
			for range 2 {
				s := open(t, Options{Studies: dir})
				if got := ids(s); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				// The next round has only the files and the index file.
				if err := os.RemoveAll(filepath.Join(dir, StateDir)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestLongSeriesAreCases(t *testing.T) {
	dir := t.TempDir()
	for c := range maxChannels + 1 {
		writeFile(t, filepath.Join(dir, channelID("case", c)+".nii"), "x")
	}
	s := open(t, Options{Studies: dir})
	defer s.Close()
	if n := s.Stats().Total; n != maxChannels+1 {
		t.Errorf("%d images of %d files", n, maxChannels+1)
	}
}

func TestChannelsArriveOneByOne(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Studies: dir})
	defer s.Close()
	for c := range 3 {
		writeFile(t, filepath.Join(dir, channelID("m", c)+".nii"), "x")
		want := []string{"m_0000", "m", "m"}[c]
		eventually(t, "channel", func() bool { img, err := s.Image(want); return err == nil && len(img.Files) == c+1 && ids(s) == want })
	}
	img, err := s.Image("m")
	if err != nil {
		t.Fatal(err)
	}
	for c, f := range img.Files {
		if filepath.Base(f) != channelID("m", c)+".nii" {
			t.Errorf("channel %d is %s", c, f)
		}
	}
	// A person worked on m: nothing may take it apart or merge it again.
	saveText(t, s, "m", "final", ".nii", "x")
	writeFile(t, filepath.Join(dir, "labels", "final", "m_0001.nii"), "x")
	if err := s.rescan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ids(s); got != "m" {
		t.Errorf("now %q", got)
	}
	if err := s.RemoveImage(t.Context(), "m"); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.nii")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestValidate(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"bad.nii", "good.nii"} {
		writeFile(t, filepath.Join(dir, n), n)
	}
	var mu sync.Mutex
	var asked []string
	o := Options{Studies: dir, Debounce: 10 * time.Millisecond, Validate: func(_ context.Context, path string) error {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, filepath.Base(path))
		raw, err := os.ReadFile(path)
		if err == nil && strings.HasPrefix(string(raw), "bad") {
			return fault.Wrap(fault.Invalid, errors.New("eof"), "the header is cut off")
		}
		return err
	}}
	s := open(t, o)
	eventually(t, "the quarantine", func() bool { return s.Stats().Quarantined == 1 })
	img, err := s.Image("bad")
	if err != nil || img.Quarantined != "the header is cut off" {
		t.Errorf("got %+v, %v", img, err)
	}
	eventually(t, "both verdicts", func() bool { mu.Lock(); defer mu.Unlock(); return len(asked) == 2 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// The verdicts are known at the next start, and hold until the file changes.
	s = open(t, o)
	defer s.Close()
	if s.Stats().Quarantined != 1 {
		t.Error("the quarantine was forgotten")
	}
	var events []string
	defer s.Subscribe(func(ev datastore.Event) {
		if ev.Image.ID == "bad" {
			mu.Lock()
			events = append(events, ev.Image.Quarantined)
			mu.Unlock()
		}
	})()
	writeFile(t, filepath.Join(dir, "bad.nii"), "repaired")
	eventually(t, "the end of the quarantine", func() bool { return s.Stats().Quarantined == 0 })
	eventually(t, "a new verdict", func() bool { mu.Lock(); defer mu.Unlock(); return len(asked) >= 3 })
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(asked[2:], " "); strings.Contains(got, "good") {
		t.Errorf("asked again for %q", got)
	}
	if len(events) < 2 || events[0] == "" || events[len(events)-1] != "" {
		t.Errorf("quarantine as the events tell it: %q", events)
	}
}

func TestLinksStayInside(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(outside, "secret.nii"), "secret")
	writeFile(t, filepath.Join(outside, "a.nii"), "secret")
	writeFile(t, filepath.Join(dir, "a.nii"), "x")
	writeFile(t, filepath.Join(dir, "sub", "real.nii"), "x")
	for from, to := range map[string]string{
		"out.nii":        filepath.Join(outside, "secret.nii"),
		"in.nii":         filepath.Join("sub", "real.nii"),
		"nowhere.nii":    "missing",
		"labels/evil":    outside,
		"labels/x/a.nii": filepath.Join(outside, "a.nii"),
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, from)), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, Options{Studies: dir})
	defer s.Close()
	if got := ids(s); got != "a in" {
		t.Errorf("images %q, want those inside", got)
	}
	if tags := s.Stats().Tags; len(tags) > 0 {
		t.Errorf("labels from outside: %v", tags)
	}
	_, err := s.SaveLabel(t.Context(), "a", "evil", datastore.LabelFile{Ext: ".nii", Write: bytesWriter("y")})
	if fault.KindOf(err) != fault.Conflict {
		t.Errorf("saving through a link that leads out: %v", err)
	}
	// A link in the place of a label is replaced, not followed.
	saveText(t, s, "a", "x", ".nii", "mine")
	if got := content(t, filepath.Join(outside, "a.nii")); got != "secret" {
		t.Errorf("a file outside now holds %q", got)
	}
}

func TestUnlistedExtension(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Studies: dir, Rescan: 20 * time.Millisecond})
	if _, err := s.AddImage(t.Context(), "scan", ".dcm", ordered.Of("k", 1), bytesWriter("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Studies: dir})
	defer s.Close()
	if got := ids(s); got != "scan" {
		t.Errorf("images %q", got)
	}
	if err := os.Remove(filepath.Join(dir, "scan.dcm")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its removal", func() bool { return ids(s) == "" })
}

func TestNamesThatCannotBeToldApart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Studies: dir})
	defer s.Close()
	add := func(id, ext string) error {
		_, err := s.AddImage(t.Context(), id, ext, nil, bytesWriter(id))
		return err
	}
	for _, ok := range [][2]string{{"a", ".b"}, {"1.2.840.5", ".nii.gz"}, {"x.seg", ".nrrd"}, {"nosuffix", ""}} {
		if err := add(ok[0], ok[1]); err != nil {
			t.Errorf("%v: %v", ok, err)
		}
	}
	if err := add("a.b", ""); fault.KindOf(err) != fault.Conflict {
		t.Errorf("another image's file name: %v", err)
	}
	if err := add("x.nii", ".gz"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a name that reads as another id: %v", err)
	}
	if err := add("same.nii", ".nii"); err != nil {
		t.Errorf("only the end of a name is its extension: %v", err)
	}
	if got := content(t, filepath.Join(dir, "a.b")); got != "a" {
		t.Errorf("a.b holds %q", got)
	}
}
