package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/testkit"
)

func TestSecondServerOnTheSameStateIsRefused(t *testing.T) {
	studies := copyCases(t, "hippocampus_001")
	s := start(t, studies)
	second := launch(t, studies)
	if code := second.wait(20 * time.Second); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if log := second.log.String(); !strings.Contains(log, "another") && !strings.Contains(log, "in use") {
		t.Errorf("the refusal does not say why: %q", log)
	}
	s.must(200, "GET", "/info/", nil, nil)
	s.stop()
	third := start(t, studies) // the lock went with its owner
	third.stop()
}

// TestFullDisk mounts a small file system for the studies (root only; the
// build machines are).
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.SkipOrFail(t, "mounting a small file system needs root: run as root")
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", dir).CombinedOutput(); err != nil {
		testkit.SkipOrFail(t, fmt.Sprintf("no tmpfs can be mounted here: %v %s", err, out))
	}
	t.Cleanup(func() {
		if err := exec.CommandContext(context.Background(), "umount", "-l", dir).Run(); err != nil {
			t.Error(err)
		}
	})
	src := copyCases(t, "hippocampus_001")
	b, err := os.ReadFile(filepath.Join(src, "hippocampus_001.nii.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hippocampus_001.nii.gz"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir)
	l := s.segment("hippocampus_001", nil)
	s.save("hippocampus_001", l)
	before := s.must(200, "GET", "/datastore/label?label=hippocampus_001&tag=final", nil, nil).body
	s.must(200, "GET", "/datastore/?output=all", nil, nil)
	filler := fillDisk(t, dir)
	h, body := form(map[string]any{}, "label", "x.nii.gz", before)
	a, err := s.raw("PUT", "/datastore/label?image=hippocampus_001", h, body)
	if err != nil {
		t.Fatal(err)
	}
	if a.status != http.StatusInsufficientStorage || !strings.Contains(strings.ToLower(string(a.body)), "disk") {
		t.Errorf("a save on a full disk was answered %d %s", a.status, a.body)
	}
	if got := s.must(200, "GET", "/datastore/label?label=hippocampus_001&tag=final", nil, nil).body; !bytes.Equal(got, before) {
		t.Error("the earlier label changed")
	}
	s.must(200, "GET", "/info/", nil, nil)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.save("hippocampus_001", l) // room again: no restart is needed
	s.stop()
}

// fillDisk writes a file until no byte is left.
func fillDisk(t testing.TB, dir string) string {
	t.Helper()
	name := filepath.Join(dir, ".filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 16, 1 << 10, 1} {
		chunk := make([]byte, size)
		for {
			if _, err := f.Write(chunk); err != nil {
				break
			}
		}
	}
	return name
}

// TestStaleContentLength sends GET and DELETE with the length of a body that
// never comes, as library clients do behind a login.
func TestStaleContentLength(t *testing.T) {
	s := start(t, copyCases(t, "hippocampus_001"))
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/info/", 200},
		{"GET", "/datastore/?output=all", 200},
		{"DELETE", "/train/", 200},
		{"GET", "/train/", 404},
		{"DELETE", "/session/none", 404},
		{"GET", "/datastore/image?image=hippocampus_001", 200},
		{"HEAD", "/datastore/image?image=hippocampus_001", 200},
	} {
		s.must(tt.status, tt.method, tt.path, nil, nil)
		begin := time.Now()
		a := s.must(tt.status, tt.method, tt.path, []string{"content-type: multipart/form-data; boundary=" + boundary, "content-length: 83581"}, nil)
		if d := time.Since(begin); d > 100*time.Millisecond {
			t.Errorf("%s %s with a stale length took %v", tt.method, tt.path, d)
		}
		if !strings.EqualFold(a.header.Get("Connection"), "close") {
			t.Errorf("%s %s: the connection is kept open, the next request on it would be taken for the body", tt.method, tt.path)
		}
	}
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, word := range []string{"panic", "ERROR", "WARN", `"level":"WARN"`} {
		if strings.Contains(s.log.String(), word) {
			t.Errorf("the log holds %q:\n%s", word, s.log.String())
		}
	}
}

// largeCase writes an image that takes seconds to segment.
func largeCase(t testing.TB, dir, id string) {
	t.Helper()
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{160, 220, 160}, Affine: imaging.Identity()}, 1, imaging.Uint8)
	d := v.Data.(imaging.Samples[uint8])
	for i := range d {
		d[i] = uint8(i * 7919 >> 3)
	}
	f, err := os.Create(filepath.Join(dir, id+".nii.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if err := codec.Write(f, ".nii.gz", v, codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestClientGoneStopsItsInference hangs up in the middle of a long inference:
// the next case must not wait for the abandoned one.
func TestClientGoneStopsItsInference(t *testing.T) {
	studies := copyCases(t, "hippocampus_001")
	largeCase(t, studies, "large")
	s := start(t, studies)
	s.segment("hippocampus_001", nil) // the model is loaded
	begin := time.Now()
	s.segment("large", nil)
	whole := time.Since(begin)
	h, body := form(map[string]any{"result_extension": ".nrrd"}, "", "", nil)
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "POST /infer/hippocampus?image=large HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n\r\n%s", len(body), h[0], body)
	time.Sleep(whole / 4)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	s.segment("hippocampus_001", nil)
	if d := time.Since(begin); d > whole/2 {
		t.Errorf("the next case took %v; a whole large case takes %v: the abandoned inference went on", d, whole)
	}
	s.stop()
}

// TestGracefulStopFinishesWhatIsRunning sends SIGTERM during an inference.
func TestGracefulStopFinishesWhatIsRunning(t *testing.T) {
	studies := copyCases(t, "hippocampus_001")
	largeCase(t, studies, "large")
	s := start(t, studies)
	s.segment("hippocampus_001", nil)
	h, body := form(map[string]any{"result_extension": ".nrrd"}, "", "", nil)
	got := make(chan answer, 1)
	fail := make(chan error, 1)
	go func() {
		a, err := s.raw("POST", "/infer/hippocampus?image=large", h, body)
		got <- a
		fail <- err
	}()
	time.Sleep(150 * time.Millisecond)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	a := <-got
	if err := <-fail; err != nil || a.status != 200 {
		t.Fatalf("the running inference was cut off: %v, status %d", err, a.status)
	}
	filePart(t, a)
	if code := s.wait(10 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestFilesThatAppearAndVanish copies and removes files behind the server's
// back.
func TestFilesThatAppearAndVanish(t *testing.T) {
	studies := copyCases(t, "hippocampus_001", "hippocampus_003")
	s := start(t, studies)
	wait := func(what string, want int) {
		t.Helper()
		var total int
		for range 100 {
			if total, _ = datastoreCounts(s.must(200, "GET", "/info/", nil, nil).json(t)); total == want {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("%s: %d images, want %d", what, total, want)
	}
	b, err := os.ReadFile(filepath.Join(studies, "hippocampus_001.nii.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(studies, "copied.nii.gz"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	wait("a copied file", 3)
	if err := os.Rename(filepath.Join(studies, "copied.nii.gz"), filepath.Join(studies, "renamed.nii.gz")); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if a, err := s.raw("HEAD", "/datastore/image?image=renamed", nil, nil); err == nil && a.status == 200 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.must(200, "HEAD", "/datastore/image?image=renamed", nil, nil)
	wait("a renamed file", 3)
	if err := os.Remove(filepath.Join(studies, "hippocampus_003.nii.gz")); err != nil {
		t.Fatal(err)
	}
	wait("a removed file", 2)
	if err := os.WriteFile(filepath.Join(studies, "broken.nii.gz"), b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	for range 30 {
		a := s.must(200, "POST", "/activelearning/random", []string{"content-type: application/json"}, []byte("{}")).json(t)
		if a["id"] == "broken" {
			t.Fatal("a truncated image was handed out")
		}
	}
	s.stop()
}
