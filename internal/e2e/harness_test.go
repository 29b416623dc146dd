// Package e2e starts the built binary and uses it as people and their programs
// do: Slicer's raw requests, kills, a full disk, a client that hangs up.
// Nothing is mocked; `make build` makes the binary first (VOXLOOP_BIN names
// another one).
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/testkit"
)

// boundary is the one that the MONAI Label Python client always uses.
const boundary = "----------lImIt_of_THE_fIle_eW_$"

// binary returns the program under test.
func binary(t testing.TB) string {
	t.Helper()
	p := os.Getenv("VOXLOOP_BIN")
	if p == "" {
		p = filepath.Join(testkit.Root(t), "bin", "voxloop")
	}
	if _, err := os.Stat(p); err != nil {
		testkit.SkipOrFail(t, "bin/voxloop is absent: run `make build`, or name a binary in VOXLOOP_BIN")
	}
	return p
}

// count returns the value of an environment variable that sets how often a
// long proof is repeated (make soak), or its small default.
func count(t testing.TB, name string, small int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return small
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a positive number", name, s)
	}
	return n
}

// server is one run of `voxloop serve`.
type server struct {
	t    testing.TB
	cmd  *exec.Cmd
	addr string
	log  *testkit.Log
	done chan struct{}
	err  error // of Wait, readable after done
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// launch starts `voxloop serve` on studies without waiting for it; more flags
// win over the first ones.
func launch(t testing.TB, studies string, more ...string) *server {
	t.Helper()
	port := freePort(t)
	s := &server{t: t, addr: "127.0.0.1:" + port, log: &testkit.Log{}, done: make(chan struct{})}
	args := append([]string{"serve", "--app", "radiology", "--studies", studies, "--host", "127.0.0.1", "--port", port}, more...)
	s.cmd = exec.Command(binary(t), args...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.err = s.cmd.Wait(); close(s.done) }()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.done
		if t.Failed() {
			t.Logf("log of the server:\n%s", tail(s.log.String(), 4000))
		}
	})
	return s
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// start launches a server and waits until it answers /readyz.
func start(t testing.TB, studies string, more ...string) *server {
	t.Helper()
	s := launch(t, studies, more...)
	s.waitReady()
	return s
}

func (s *server) waitReady() {
	s.t.Helper()
	const limit = time.Minute
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-s.done:
			s.t.Fatalf("the server ended before it was ready: %v\n%s", s.err, s.log.String())
		default:
		}
		resp, err := http.Get("http://" + s.addr + "/readyz") //nolint:noctx // a probe on loopback
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	s.t.Fatalf("the server was not ready after %v", limit)
}

// stop ends the server with SIGTERM and returns its exit code.
func (s *server) stop() int {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatal(err)
	}
	return s.wait(30 * time.Second)
}

func (s *server) wait(limit time.Duration) int {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(limit):
		s.t.Fatalf("the server did not end within %v", limit)
	}
	return s.cmd.ProcessState.ExitCode()
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// answer is a response as it came over the wire.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("not a JSON object: %q", tail(string(a.body), 300))
	}
	return v
}

// raw sends one request as Python's http.client does (its own connection,
// Host and Accept-Encoding first) and reads the answer from the raw socket:
// exactly Content-Length bytes, as the client's parser does.
func (s *server) raw(method, path string, header []string, body []byte) (answer, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(context.Background(), "tcp", s.addr)
	if err != nil {
		return answer{}, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(120 * time.Second)); err != nil {
		return answer{}, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nAccept-Encoding: identity\r\n", method, path, s.addr)
	if body != nil {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(body)
	if _, err := c.Write(b.Bytes()); err != nil {
		return answer{}, err
	}
	return readAnswer(bufio.NewReader(c), method)
}

func readAnswer(r *bufio.Reader, method string) (answer, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return answer{}, err
	}
	var a answer
	if _, err := fmt.Sscanf(line, "HTTP/1.1 %d", &a.status); err != nil {
		return answer{}, fmt.Errorf("status line %q", line)
	}
	a.header = http.Header{}
	for {
		line, err = r.ReadString('\n')
		if err != nil {
			return answer{}, err
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			break
		}
		k, v, _ := strings.Cut(line, ":")
		a.header.Add(k, strings.TrimSpace(v))
	}
	if te := a.header.Get("Transfer-Encoding"); te != "" {
		return answer{}, fmt.Errorf("the answer is %s: clients that read the raw socket cannot use it", te)
	}
	if method == http.MethodHead {
		return a, nil
	}
	n, err := strconv.Atoi(a.header.Get("Content-Length"))
	if err != nil {
		return answer{}, fmt.Errorf("content-length: %w", err)
	}
	a.body = make([]byte, n)
	_, err = io.ReadFull(r, a.body)
	return a, err
}

// must sends a raw request that has to be answered with status.
func (s *server) must(status int, method, path string, header []string, body []byte) answer {
	s.t.Helper()
	a, err := s.raw(method, path, header, body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	if a.status != status {
		s.t.Fatalf("%s %s: status %d, want %d: %s", method, path, a.status, status, tail(string(a.body), 500))
	}
	return a
}

// form builds a multipart body as the Python client does: the params, then one
// file part that names the whole local path.
func form(params any, part, filename string, file []byte) (header []string, body []byte) {
	var b bytes.Buffer
	p, err := json.Marshal(params)
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=\"params\"\r\n\r\n%s\r\n", boundary, p)
	if part != "" {
		fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=%q; filename=%q\r\nContent-Type: application/octet-stream\r\n\r\n", boundary, part, filename)
		b.Write(file)
		b.WriteString("\r\n")
	}
	fmt.Fprintf(&b, "--%s--\r\n\r\n", boundary)
	return []string{"content-type: multipart/form-data; boundary=" + boundary}, b.Bytes()
}

// copyCases copies images of the hippocampus set into a new studies folder.
func copyCases(t testing.TB, ids ...string) string {
	t.Helper()
	src, dst := testkit.Shared(t, "data", "hippocampus", "images"), t.TempDir()
	if len(ids) == 0 {
		entries, err := os.ReadDir(src)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			ids = append(ids, strings.TrimSuffix(e.Name(), ".nii.gz"))
		}
	}
	for _, id := range ids {
		b, err := os.ReadFile(filepath.Join(src, id+".nii.gz"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dst, id+".nii.gz"), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dst
}
