package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"math"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/testkit"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

// thresholds is an engine without a network: the voxels above the mean are
// label 1, those above the mean plus one deviation label 2 (written as the
// manifest's values). block, when set, is called before the work.
type thresholds struct {
	info  infer.Info
	block func(ctx context.Context) error
}

func newThresholds(name string) *thresholds {
	return &thresholds{info: infer.Info{
		Name: name, Type: "segmentation", Description: "Two levels of brightness", Dimension: 3, Channels: 1, State: infer.Ready,
		Labels: []infer.Label{{Name: "anterior", Value: 1}, {Name: "posterior", Value: 2}},
		Config: ordered.Of("largest_cc", false, "device", []string{"cpu"}),
	}}
}

func (e *thresholds) Models() []infer.Info { return []infer.Info{e.info} }
func (e *thresholds) Model(name string) (infer.Info, bool) {
	return e.info, name == e.info.Name
}
func (e *thresholds) Wait(context.Context, string) error { return nil }
func (e *thresholds) Close() error                       { return nil }

func (e *thresholds) Infer(ctx context.Context, _ string, in infer.Input, _ infer.Options) (*infer.Output, error) {
	if e.block != nil {
		if err := e.block(ctx); err != nil {
			return nil, err
		}
	}
	v := in.Volumes[0]
	f := make([]float32, v.Voxels())
	v.Float32s(f, 0, 0)
	var sum, squares float64
	for _, x := range f {
		sum, squares = sum+float64(x), squares+float64(x)*float64(x)
	}
	mean := sum / float64(len(f))
	dev := math.Sqrt(squares/float64(len(f)) - mean*mean)
	l := imaging.NewLabelMap(v.Grid)
	for i, x := range f {
		switch {
		case float64(x) > mean+dev:
			l.Data[i] = uint16(e.info.Labels[1].Value)
		case float64(x) > mean:
			l.Data[i] = uint16(e.info.Labels[0].Value)
		}
	}
	return &infer.Output{Labels: l, Model: e.info, Device: "cpu", Windows: 1, Stages: []infer.Stage{{Name: "network", Duration: time.Millisecond}}}, nil
}

// testApp opens an app on a studies folder with five real cases, two of them
// labelled, and an index in the recorded order.
func testApp(t testing.TB, change func(*apps.Options)) *apps.App {
	t.Helper()
	o := apps.Options{
		FS:       fstest.MapFS{"app.yaml": {Data: []byte("name: Test\ndescription: An app for tests\nversion: '1'\nmodels:\n  - path: segmentation\n")}, "segmentation/model.onnx": {Data: []byte("weights")}},
		Studies:  testStudies(t),
		Engine:   newThresholds("segmentation"),
		Sessions: apps.SessionOptions{Enabled: true},
		Logger:   slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	app, err := apps.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Close(); err != nil {
			t.Error(err)
		}
	})
	return app
}

func testStudies(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "labels", "final"), 0o750); err != nil {
		t.Fatal(err)
	}
	index := `{"name":"new-dataset","description":"New Dataset","images_dir":".","labels_dir":"labels","objects":{`
	for i, id := range []string{"044", "046", "045", "042", "051"} {
		name := "hippocampus_" + id
		copyFile(t, testkit.Shared(t, "data", "hippocampus", "images", name+".nii.gz"), filepath.Join(dir, name+".nii.gz"))
		labels := ""
		if id == "042" || id == "044" {
			copyFile(t, testkit.Shared(t, "data", "hippocampus", "labels", name+".nii.gz"), filepath.Join(dir, "labels", "final", name+".nii.gz"))
			labels = fmt.Sprintf(`"final":{"ext":".nii.gz","info":{"ts":1795425440,"name":"%s.nii.gz"}}`, name)
		}
		if i > 0 {
			index += ","
		}
		index += fmt.Sprintf(`"%s":{"image":{"ext":".nii.gz","info":{"ts":1795425440,"name":"%s.nii.gz"}},"labels":{%s}}`, name, name, labels)
	}
	if err := os.WriteFile(filepath.Join(dir, "datastore_v2.json"), []byte(index+"}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// live is a server on a real socket.
type live struct {
	t    testing.TB
	url  string
	addr string
	log  *testkit.Log
	stop func() error // ends the server; nil error when everything finished
}

func serve(t testing.TB, app *apps.App, o Options) *live {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &live{t: t, addr: l.Addr().String(), url: "http://" + l.Addr().String(), log: &testkit.Log{}}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	srv := New(app, o)
	go func() { done <- srv.Serve(ctx, l) }()
	s.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

// answer is a complete response.
type answer struct {
	status int
	header http.Header
	body   []byte
	length int64 // Content-Length, -1 when there is none
	close  bool  // the server closes the connection
}

// read takes in a whole response and closes it.
func read(t testing.TB, resp *http.Response) answer {
	t.Helper()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, data, resp.ContentLength, resp.Close}
}

// do sends a request without following redirects.
func (s *live) do(method, path string, header map[string]string, body []byte) answer {
	s.t.Helper()
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, s.url+path, r)
	if err != nil {
		s.t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return read(s.t, resp)
}

// must is do with an expected status.
func (s *live) must(status int, method, path string, header map[string]string, body []byte) answer {
	s.t.Helper()
	a := s.do(method, path, header, body)
	if a.status != status {
		s.t.Fatalf("%s %s: status %d, want %d: %.300s", method, path, a.status, status, a.body)
	}
	return a
}

func (a answer) object(t testing.TB) *ordered.Map {
	t.Helper()
	m, err := ordered.Parse(a.body)
	if err != nil {
		t.Fatalf("no JSON object: %.200q: %v", a.body, err)
	}
	return m
}

// field is one part of a form; a file when name is set.
type field struct {
	key, name, mime string
	data            []byte
}

func formBody(t testing.TB, fields ...field) (map[string]string, []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range fields {
		h := textproto.MIMEHeader{}
		d := fmt.Sprintf(`form-data; name="%s"`, f.key)
		if f.name != "" {
			d += fmt.Sprintf(`; filename="%s"`, f.name)
		}
		h.Set("Content-Disposition", d)
		if f.mime != "" {
			h.Set("Content-Type", f.mime)
		}
		p, err := w.CreatePart(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"Content-Type": w.FormDataContentType()}, b.Bytes()
}

func readAll(t testing.TB, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func caseFile(t testing.TB, id string) []byte {
	t.Helper()
	return readAll(t, testkit.Shared(t, "data", "hippocampus", "images", "hippocampus_"+id+".nii.gz"))
}

// gridOf reads the grid of one of the cases.
func gridOf(t testing.TB, id string) imaging.Grid {
	t.Helper()
	h, err := codec.ReadGrid(t.Context(), testkit.Shared(t, "data", "hippocampus", "images", "hippocampus_"+id+".nii.gz"))
	if err != nil {
		t.Fatal(err)
	}
	return h.Grid
}

// labelBytes is a synthetic label on a grid, as .nii.gz.
func labelBytes(t testing.TB, g imaging.Grid) []byte {
	t.Helper()
	l := imaging.NewLabelMap(g)
	for i := range l.Data {
		l.Data[i] = uint16(i % 3)
	}
	var b bytes.Buffer
	if err := codec.WriteLabels(&b, ".nii.gz", l, imaging.Uint8, codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decode(t testing.TB, name string, data []byte) *imaging.Volume {
	t.Helper()
	v, err := codec.ReadFrom(t.Context(), bytes.NewReader(data), name, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func tempFiles(t testing.TB, app *apps.App) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(app.StateDir(), "cache", "tmp", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// contains reports an answer without a text that it must hold.
func contains(t testing.TB, what string, got []byte, want string) {
	t.Helper()
	if !strings.Contains(string(got), want) {
		t.Errorf("%s: %.300q does not contain %q", what, got, want)
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := ordered.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// blocked tells when the work begins and waits until it may go on.
func blocked(started, release chan struct{}) func(context.Context) error {
	return func(context.Context) error {
		close(started)
		<-release
		return nil
	}
}
