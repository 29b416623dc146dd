package apps

import (
	"archive/zip"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/voxloop/voxloop/internal/fault"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func testSessions(t *testing.T) (*Sessions, *clock) {
	t.Helper()
	s, err := openSessions(filepath.Join(t.TempDir(), "sessions"), SessionOptions{Enabled: true, Expiry: time.Hour}, 1000, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	c := &clock{time.Unix(1795425441, 0)}
	s.now = c.now
	return s, c
}

func upload(t *testing.T, name, text string) *Upload {
	t.Helper()
	p := filepath.Join(t.TempDir(), "u")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Upload{Name: name, Path: p, Size: int64(len(text))}
}

func archive(t *testing.T, entries map[string]string) *Upload {
	t.Helper()
	p := filepath.Join(t.TempDir(), "u.zip")
	f, err := os.Create(p)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for name, text := range entries {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return &Upload{Name: "u.zip", Path: p}
}

func TestSessionLife(t *testing.T) {
	s, c := testSessions(t)
	ses, err := s.Create([]*Upload{upload(t, "scan.nii.gz", "data")}, false, 5)
	if err != nil {
		t.Fatal(err)
	}
	if keys := strings.Join(ses.Object().Keys(), ","); keys != "name,path,image,meta,create_ts,last_access_ts,expiry" {
		t.Errorf("keys %s", keys)
	}
	if !sessionID.MatchString(ses.ID) || ses.ID[14] != '1' || filepath.Base(ses.Image) != "scan.nii.gz" || ses.Expiry != 5 {
		t.Errorf("%+v", ses)
	}
	c.t = c.t.Add(5 * time.Second)
	if got, err := s.Get(ses.ID, false); err != nil || got.LastAccess != ses.LastAccess {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := s.Get(ses.ID, true); err != nil || got.LastAccess != ses.LastAccess+5 {
		t.Errorf("touched: %+v, %v", got, err)
	}
	c.t = c.t.Add(5 * time.Second)
	if _, err := s.Get(ses.ID, false); err != nil {
		t.Errorf("a touched session expired: %v", err)
	}
	c.t = c.t.Add(time.Second)
	if _, err := s.Get(ses.ID, true); fault.KindOf(err) != fault.NotFound || err.Error() != "Session ("+ses.ID+") Not Found" {
		t.Errorf("an expired session: %v", err)
	}
	if _, err := os.Stat(ses.Dir); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
}

func TestSessionSurvivesARestartAndAMove(t *testing.T) {
	s, c := testSessions(t)
	c.t = time.Now() // the restarted server looks at the real clock
	ses, err := s.Create([]*Upload{upload(t, "a.nii", "1"), upload(t, "b.nii", "2")}, false, 0)
	if err != nil || ses.Expiry != 3600 {
		t.Fatalf("%+v, %v", ses, err)
	}
	s.close()
	moved := s.dir + "-moved"
	if err := os.Rename(s.dir, moved); err != nil {
		t.Fatal(err)
	}
	again, err := openSessions(moved, s.opts, 1000, s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	again.now = s.now
	got, err := again.Get(ses.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(got.Image); err != nil || len(files) != 2 {
		t.Errorf("%v, %v", files, err)
	}
	if removed, err := again.Remove(ses.ID); err != nil || removed.ID != ses.ID {
		t.Errorf("%+v, %v", removed, err)
	}
	if _, err := again.Remove(ses.ID); fault.KindOf(err) != fault.NotFound {
		t.Errorf("removed twice: %v", err)
	}
}

func TestSessionExpiryIsCut(t *testing.T) {
	s, _ := testSessions(t)
	for asked, want := range map[int64]int64{0: 3600, -5: 3600, 60: 60, 3601: 3600, 1 << 60: 3600} {
		ses, err := s.Create([]*Upload{upload(t, "a.nii", "1")}, false, asked)
		if err != nil || ses.Expiry != want {
			t.Errorf("%d: %d, %v", asked, ses.Expiry, err)
		}
	}
}

func TestSweep(t *testing.T) {
	s, c := testSessions(t)
	old, err := s.Create([]*Upload{upload(t, "a.nii", "1")}, false, 10)
	if err != nil {
		t.Fatal(err)
	}
	c.t = c.t.Add(11 * time.Second)
	fresh, err := s.Create([]*Upload{upload(t, "a.nii", "1")}, false, 10)
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(s.dir, "5a8d7e6c-0000-11f1-a4cb-02fc00000001") // left by a kill
	foreign := filepath.Join(s.dir, "keep")
	for _, d := range []string{half, foreign} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(d, c.t, c.t.Add(-2*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	s.sweep()
	for dir, want := range map[string]bool{old.Dir: false, fresh.Dir: true, half: false, foreign: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v", filepath.Base(dir), err)
		}
	}
}

func TestSessionRefusals(t *testing.T) {
	s, _ := testSessions(t)
	for _, id := range []string{"", "..", "../x", "no-such", "5a8d7e6c-0000-11f1-a4cb-02fc00000001", "5A8D7E6C-0000-11F1-A4CB-02FC00000001"} {
		if _, err := s.Get(id, true); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, name := range []string{"", "meta.info", ".x", "..", "a\x00b"} {
		if _, err := s.Create([]*Upload{upload(t, name, "1")}, false, 0); name != "a\x00b" && fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) != 0 {
		t.Errorf("refused sessions left %v (%v)", left, err)
	}
	off, err := openSessions(s.dir, SessionOptions{}, 1000, s.log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := off.Get("x", false); err != ErrSessionsOff { //nolint:errorlint // the very value
		t.Errorf("switched off: %v", err)
	}
	off.close()
}

func TestUnzip(t *testing.T) {
	s, _ := testSessions(t)
	ses, err := s.Create([]*Upload{archive(t, map[string]string{"a/b.nii": "12345", `c\d.nii`: "6"})}, true, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a/b.nii": "12345", "c/d.nii": "6"} {
		if b, err := os.ReadFile(filepath.Join(ses.Image, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	for _, tt := range []struct {
		entries map[string]string
		kind    fault.Kind
	}{
		{map[string]string{"../evil": "1"}, fault.Invalid},
		{map[string]string{`..\evil`: "1"}, fault.Invalid},
		{map[string]string{"/etc/evil": "1"}, fault.Invalid},
		{map[string]string{"a/../../evil": "1"}, fault.Invalid},
		{map[string]string{"bomb": strings.Repeat("0", 1001)}, fault.TooLarge},
		{map[string]string{"a": strings.Repeat("0", 600), "b": strings.Repeat("0", 600)}, fault.TooLarge},
		{map[string]string{"folder/": ""}, fault.Invalid},
		{nil, fault.Invalid},
	} {
		if _, err := s.Create([]*Upload{archive(t, tt.entries)}, true, 0); fault.KindOf(err) != tt.kind {
			t.Errorf("%v: %v", tt.entries, err)
		}
	}
	if _, err := s.Create([]*Upload{upload(t, "x.zip", "no archive")}, true, 0); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no archive: %v", err)
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) != 1 {
		t.Errorf("refused archives left %v (%v)", left, err)
	}
}

func TestUUIDsAreUniqueAndOrdered(t *testing.T) {
	c, seen := newUUIDClock(), map[string]bool{}
	at := time.Unix(1795425441, 0)
	for range 1000 {
		id := c.next(at)
		if seen[id] || !sessionID.MatchString(id) || id[14] != '1' {
			t.Fatalf("%s", id)
		}
		seen[id] = true
	}
	// 2026-11-23T09:17:21Z is 0x1f1_e71e_… hundred-nanosecond steps after 1582.
	if id := newUUIDClock().next(at); id[9:18] != "e71e-11f1" {
		t.Errorf("%s does not carry the time of the recording", id)
	}
}
