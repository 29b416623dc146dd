package e2e

import (
	"archive/tar"
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/phantom"
)

// slowServer sends the first bytes of a file, then nothing until it is let go.
type slowServer struct {
	data  []byte
	first int
	sent  chan struct{} // closed once the first bytes are out
	rest  chan struct{}

	mu     sync.Mutex
	ranges []string
}

func (s *slowServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	begin := len(s.ranges) == 1
	s.mu.Unlock()
	w.Header().Set("ETag", `"a"`)
	if !begin {
		http.ServeContent(w, r, "p.tar", time.Time{}, bytes.NewReader(s.data))
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(s.data)))
	_, _ = w.Write(s.data[:s.first])
	w.(http.Flusher).Flush()
	close(s.sent)
	<-s.rest
}

// The built program is killed in the middle of a download; the same command
// goes on, and what it makes verifies.
func TestDataFetchKilled(t *testing.T) {
	dir := t.TempDir()
	cases := filepath.Join(dir, "cases")
	if err := phantom.WriteCases(t.Context(), cases, 2, 1); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name string, data []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	add("d/dataset.json", []byte(`{"labels": {"background": 0, "anterior": 1, "posterior": 2}}`))
	for i := 1; i <= 2; i++ {
		for folder, from := range map[string]string{"imagesTr": cases, "labelsTr": filepath.Join(cases, phantom.TruthDir)} {
			data, err := os.ReadFile(filepath.Join(from, phantom.Name(i)))
			if err != nil {
				t.Fatal(err)
			}
			add("d/"+folder+"/"+phantom.Name(i), data)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, sig := range map[string]syscall.Signal{"kill": syscall.SIGKILL, "interrupt": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			h := &slowServer{data: b.Bytes(), first: 50_000, sent: make(chan struct{}), rest: make(chan struct{})}
			s := httptest.NewServer(h)
			defer s.Close()
			out := filepath.Join(t.TempDir(), "studies")
			args := []string{"data", "fetch", "decathlon-layout", "--url", s.URL + "/p.tar", "--out", out}
			cmd := exec.Command(binary(t), args...)
			var said bytes.Buffer
			cmd.Stderr = &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			<-h.sent
			part := filepath.Join(out+".fetch", "p.tar.part")
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
				if info, err := os.Stat(part); err == nil && info.Size() == int64(h.first) {
					break
				}
				if time.Now().After(deadline) {
					_ = cmd.Process.Kill()
					t.Fatalf("the part does not grow: %s", said.String())
				}
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			err := cmd.Wait()
			close(h.rest)
			if err == nil {
				t.Fatal("it ended as if all were there")
			}
			if sig == syscall.SIGINT && (cmd.ProcessState.ExitCode() != 1 || !strings.Contains(said.String(), "the same command goes on")) {
				t.Errorf("%v, %s", cmd.ProcessState, said.String())
			}
			if _, err := os.Stat(out); !os.IsNotExist(err) {
				t.Errorf("a studies folder is there: %v", err)
			}
			if text, err := exec.Command(binary(t), args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			if text, err := exec.Command(binary(t), "data", "verify", out).CombinedOutput(); err != nil || !strings.Contains(string(text), "all as recorded") {
				t.Errorf("%v: %s", err, text)
			}
			if len(h.ranges) != 2 || h.ranges[1] != "bytes=50000-" {
				t.Errorf("ranges %q", h.ranges)
			}
		})
	}
}
