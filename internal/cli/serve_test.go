package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/cli"
	"github.com/voxloop/voxloop/internal/phantom"
	"github.com/voxloop/voxloop/internal/testkit"
)

// running is a server of this process.
type running struct {
	url  string
	log  *testkit.Log
	stop func() int // ends it and returns the exit code
}

// serve starts a server on a free port and waits for its "serving" line.
func serve(t *testing.T, args ...string) running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	log, code := &testkit.Log{}, make(chan int, 1)
	all := append([]string{"serve", "--host", "127.0.0.1", "--port", "0"}, args...)
	go func() { code <- cli.Run(ctx, all, strings.NewReader(""), log, log) }()
	r := running{log: log}
	r.stop = sync.OnceValue(func() int {
		cancel()
		return <-code
	})
	t.Cleanup(func() { r.stop() })
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for line := range strings.SplitSeq(log.String(), "\n") {
			var rec struct{ Msg, URL string }
			if json.Unmarshal([]byte(line), &rec) == nil && rec.Msg == "serving" {
				r.url = rec.URL
				return r
			}
		}
		if len(code) > 0 {
			t.Fatalf("the server ended with %d:\n%s", <-code, log)
		}
	}
	t.Fatalf("the server did not say where it listens:\n%s", log)
	return r
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

func studies(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "studies")
	if err := phantom.WriteCases(t.Context(), dir, 2, 1); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestServe(t *testing.T) {
	dir := studies(t)
	r := serve(t, "--app", "radiology", "--studies", dir, "--workers", "4", "--conf", "models", "hippocampus")
	code, body := get(t, r.url+"info/")
	if code != http.StatusOK {
		t.Fatalf("GET /info/: %d, %s", code, body)
	}
	var info struct {
		Models    map[string]any
		Datastore struct{ Total, Completed int }
	}
	if err := json.Unmarshal([]byte(body), &info); err != nil {
		t.Fatal(err)
	}
	if _, ok := info.Models["hippocampus"]; !ok || info.Datastore.Total != 2 || info.Datastore.Completed != 0 {
		t.Errorf("info = %+v; want the model hippocampus and 2 images without labels", info)
	}
	if code, body := get(t, r.url+"metrics"); code != http.StatusOK || !strings.Contains(body, "voxloop_") || !strings.Contains(body, "go_goroutines") {
		t.Errorf("GET /metrics: %d, without metrics of the server or the process", code)
	}
	if code, body := get(t, r.url+"logs/?text=true&lines=50"); code != http.StatusOK || !strings.Contains(body, "serving") {
		t.Errorf("GET /logs/: %d, %q does not hold the log", code, body)
	}
	if !strings.Contains(r.log.String(), `"flag":"--workers"`) {
		t.Errorf("the log does not name the flag without meaning:\n%s", r.log)
	}

	second := run(t, "serve", "--app", "radiology", "--studies", dir, "--host", "127.0.0.1", "--port", "0")
	if second.code != 1 || !strings.Contains(second.errOut, "voxloop: ") {
		t.Errorf("a second server on the same state: exit code %d, %q", second.code, second.errOut)
	}
	if code := r.stop(); code != 0 {
		t.Errorf("exit code %d after an orderly stop, want 0:\n%s", code, r.log)
	}
}

// A lab's command with the reference's name, flags and app folder.
func TestStartServer(t *testing.T) {
	app := filepath.Join(t.TempDir(), "apps", "radiology")
	if err := os.MkdirAll(app, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(app, "main.py"), []byte("class MyApp: pass\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := run(t, "start_server", "-a", app, "-s", "x", "-v", "DEBUG", "-i", "127.0.0.1", "-p", "8001", "-c", "models", "hippocampus", "--dryrun")
	for _, want := range []string{"level: debug", "port: 8001", "models: hippocampus", "host: 127.0.0.1"} {
		if !strings.Contains(out.out, want) {
			t.Errorf("the configuration lacks %q:\n%s", want, out.out)
		}
	}
	r := serve(t, "-a", app, "-s", studies(t))
	if code, body := get(t, r.url+"info/"); code != http.StatusOK || !strings.Contains(body, "hippocampus") {
		t.Errorf("GET /info/: %d, %s", code, body)
	}
	if !strings.Contains(r.log.String(), "MONAI Label") {
		t.Errorf("the log does not say that the built-in app is served:\n%s", r.log)
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	r := run(t, "serve", "--app", "radiology", "--studies", dir, "--log_level", "WARN", "--dryrun")
	if r.code != 0 || !strings.Contains(r.out, "level: warning") {
		t.Errorf("exit code %d, %q, %q", r.code, r.out, r.errOut)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the studies folder was made")
	}
}

func TestEnvironment(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("MONAI_LABEL_STUDIES", "from-monai")
	t.Setenv("VOXLOOP_PORT", "8123")
	r := run(t, "serve", "--app", "radiology", "--dryrun")
	if r.code != 0 || !strings.Contains(r.out, "studies: from-monai") || !strings.Contains(r.out, "port: 8123") {
		t.Errorf("exit code %d, %q, %q", r.code, r.out, r.errOut)
	}
}

func TestPortInUse(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	dir := filepath.Join(t.TempDir(), "studies")
	r := run(t, "serve", "--app", "radiology", "--studies", dir, "--host", "127.0.0.1", "--port", port)
	last := r.errOut[strings.LastIndex(strings.TrimSuffix(r.errOut, "\n"), "\n")+1:]
	if r.code != 1 || !strings.HasPrefix(last, "voxloop: port "+port) || !strings.Contains(last, "in use") {
		t.Errorf("exit code %d, %q", r.code, r.errOut)
	}
	if _, err := os.Stat(filepath.Join(dir, ".voxloop")); err == nil {
		t.Error("the state folder was made before the port was known to be free")
	}
}

// The reference's MONAI_LABEL_API_STR: protocol routes move, probes do not.
func TestAPIPrefix(t *testing.T) {
	t.Setenv("MONAI_LABEL_API_STR", "/label/v1")
	r := serve(t, "--app", "radiology", "--studies", studies(t))
	host := strings.TrimSuffix(r.url, "/label/v1/")
	for path, want := range map[string]int{
		"/label/v1/info/": http.StatusOK, "/info/": http.StatusNotFound, "/healthz": http.StatusOK, "/": http.StatusOK,
		"/label/v1/datastore/?output=all": http.StatusOK, "/label/v1/healthz": http.StatusNotFound,
	} {
		if code, body := get(t, host+path); code != want {
			t.Errorf("GET %s: %d, %.200s; want %d", path, code, body, want)
		}
	}
	// The other slash form leads to the prefixed path.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, host+"/label/v1/info", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusTemporaryRedirect || got != host+"/label/v1/info/" {
		t.Errorf("GET /label/v1/info: %d to %q", resp.StatusCode, got)
	}
}
