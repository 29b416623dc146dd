package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/internal/imaging"
)

// python is the boundary that the MONAI Label Python client always uses.
const python = "----------lImIt_of_THE_fIle_eW_$"

// dial opens a connection of its own, as Python's http.client does for every
// request.
func (s *live) dial() net.Conn {
	s.t.Helper()
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.Background(), "tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// raw sends bytes and parses one answer.
func (s *live) raw(method, request string) answer {
	s.t.Helper()
	c := s.dial()
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, request); err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(resp.TransferEncoding) > 0 {
		s.t.Errorf("the answer is %v: clients that read the raw socket cannot use it", resp.TransferEncoding)
	}
	return read(s.t, resp)
}

// TestStaleContentLengthIsAnsweredAtOnce sends the headers of an upload
// without its body: the answer must come within 100 ms, the connection must be
// closed, the log stay clean.
func TestStaleContentLengthIsAnsweredAtOnce(t *testing.T) {
	s := serve(t, testApp(t, nil), Options{})
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/info/", 200},
		{"GET", "/datastore/?output=all", 200},
		{"GET", "/datastore/image?image=hippocampus_042", 200},
		{"HEAD", "/datastore/image?image=hippocampus_042", 200},
		{"GET", "/session/none", 404},
		{"GET", "/nope", 404},
		{"DELETE", "/train/", 200},
		{"DELETE", "/session/none", 404},
		{"DELETE", "/datastore/label?id=none&tag=final", 200},
	} {
		begin := time.Now()
		a := s.raw(tt.method, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nAccept-Encoding: identity\r\ncontent-length: 83581\r\n"+
			"content-type: multipart/form-data; boundary=%s\r\n\r\n", tt.method, tt.path, python))
		if took := time.Since(begin); took > 100*time.Millisecond {
			t.Errorf("%s %s took %v", tt.method, tt.path, took)
		}
		if a.status != tt.status || !a.close {
			t.Errorf("%s %s: status %d, close %v: %.100s", tt.method, tt.path, a.status, a.close, a.body)
		}
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if log := s.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=WARN") {
		t.Errorf("the log holds:\n%s", log)
	}
}

// TestBodyOnGetAndDeleteDoesNotDisturb sends the announced body after all.
func TestBodyOnGetAndDeleteDoesNotDisturb(t *testing.T) {
	s := serve(t, testApp(t, nil), Options{})
	for _, method := range []string{"GET", "DELETE"} {
		a := s.raw(method, method+" /train/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 100000))
		if method == "DELETE" && (a.status != 200 || string(a.body) != "null") || method == "GET" && a.status != 404 {
			t.Errorf("%s: %d %s", method, a.status, a.body)
		}
	}
}

// pythonForm builds a body as the Python client does: the file part names a
// whole path, the body ends with an extra CRLF.
func pythonForm(params, part, filename string, file []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=\"params\"\r\n\r\n%s\r\n", python, params)
	if part != "" {
		fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"%s\"\r\nContent-Type: application/octet-stream\r\n\r\n", python, part, filename)
		b.Write(file)
		b.WriteString("\r\n")
	}
	fmt.Fprintf(&b, "--%s--\r\n\r\n", python)
	return b.Bytes()
}

func pythonRequest(method, path string, body []byte) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nAccept-Encoding: identity\r\ncontent-type: multipart/form-data; boundary=%s\r\ncontent-length: %d\r\n\r\n%s",
		method, path, python, len(body), body)
}

// TestSlicerPathRaw does what Slicer's module does, byte for byte.
func TestSlicerPathRaw(t *testing.T) {
	app := testApp(t, nil)
	s := serve(t, app, Options{})
	if a := s.raw("GET", "GET /auth/ HTTP/1.1\r\nHost: x\r\nAccept-Encoding: identity\r\n\r\n"); a.status != 404 {
		t.Errorf("/auth/ is %d", a.status)
	}
	params := `{"result_extension": ".nrrd", "result_dtype": "uint8", "client_id": "user-xyz", "largest_cc": false, "device": "cpu"}`
	a := s.raw("POST", pythonRequest("POST", "/infer/segmentation?image=hippocampus_046", pythonForm(params, "", "", nil)))
	if a.status != 200 || a.length != int64(len(a.body)) {
		t.Fatalf("status %d, length %d for %d bytes", a.status, a.length, len(a.body))
	}
	nrrd := partBytes(t, a.header.Get("Content-Type"), a.body)
	v := decode(t, "r.nrrd", nrrd)
	if g := gridOf(t, "046"); v.Data.Type() != imaging.Uint8 || g.Distance(v.Grid) > 1e-4 {
		t.Errorf("result is %s, %g voxels off", v.Data.Type(), g.Distance(v.Grid))
	}
	// Submit: the file name is a Windows path, there is no tag.
	a = s.raw("PUT", pythonRequest("PUT", "/datastore/label?image=hippocampus_046",
		pythonForm(`{"label_info": [{"name": "anterior", "idx": 1}], "client_id": "user-xyz"}`, "label", `C:\Users\me\AppData\Temp\t.nrrd`, nrrd)))
	if a.status != 200 || string(a.body) != `{"image":"hippocampus_046","label":"hippocampus_046"}` {
		t.Fatalf("save: %d %s", a.status, a.body)
	}
	a = s.must(200, "GET", "/datastore/label?label=hippocampus_046&tag=final", nil, nil)
	if cd := a.header.Get("Content-Disposition"); cd != `attachment; filename="hippocampus_046.nrrd"` || !bytes.Equal(a.body, nrrd) {
		t.Errorf("the label came back as %q, equal: %v", cd, bytes.Equal(a.body, nrrd))
	}
	info := s.must(200, "GET", "/info/", nil, nil).object(t)
	if got := string(marshal(t, info.Sub("datastore"))); got != `{"total":5,"completed":3,"label_tags":{"final":3}}` {
		t.Errorf("counts %s", got)
	}
	// Upload under a name with a space, as quote_plus sends it.
	a = s.raw("PUT", pythonRequest("PUT", "/datastore/?image=my+case", pythonForm("{}", "file", "/tmp/a b/x.nii.gz", caseFile(t, "045"))))
	if a.status != 200 || string(a.body) != `{"image":"my case"}` {
		t.Errorf("upload: %d %s", a.status, a.body)
	}
	a = s.must(200, "GET", "/datastore/image?image=my+case", nil, nil)
	if cd := a.header.Get("Content-Disposition"); cd != "attachment; filename*=utf-8''my%20case.nii.gz" {
		t.Errorf("content-disposition %q", cd)
	}
	if left := tempFiles(t, app); len(left) > 0 {
		t.Errorf("temp files are left: %v", left)
	}
}

// partBytes cuts the file out of a multipart answer as MITK does: by literal
// texts, not by a parser.
func partBytes(t testing.TB, contentType string, body []byte) []byte {
	t.Helper()
	_, boundary, _ := strings.Cut(contentType, "boundary=")
	const json, stream = "Content-Type: application/json", "Content-Type: application/octet-stream"
	if !bytes.Contains(body, []byte(json+"\r\n\r\n{")) {
		t.Fatalf("no params in %.200q", body)
	}
	_, data, found := bytes.Cut(body, []byte(stream))
	data, ends := bytes.CutSuffix(data, []byte("\r\n--"+boundary+"--\r\n"))
	if !found || !ends {
		t.Fatalf("no file in %.300q", body)
	}
	return bytes.TrimPrefix(data, []byte("\r\n\r\n"))
}

// TestClientGoneStopsTheInference closes the connection in the middle: the
// engine's context must end.
func TestClientGoneStopsTheInference(t *testing.T) {
	started, stopped := make(chan struct{}), make(chan struct{})
	engine := newThresholds("segmentation")
	engine.block = func(ctx context.Context) error {
		close(started)
		<-ctx.Done()
		close(stopped)
		return ctx.Err()
	}
	app := testApp(t, func(o *apps.Options) { o.Engine = engine })
	s := serve(t, app, Options{})
	c := s.dial()
	// What follows the form has to be read too: only at the body's end the
	// server notices that the client has left.
	form := append(pythonForm("{}", "file", "x.nii.gz", caseFile(t, "045")), bytes.Repeat([]byte(" "), 1<<17)...)
	if _, err := io.WriteString(c, pythonRequest("POST", "/infer/segmentation?image=hippocampus_045", form)); err != nil {
		t.Fatal(err)
	}
	<-started
	// Meanwhile others are served.
	begin := time.Now()
	s.must(200, "GET", "/info/", nil, nil)
	if d := time.Since(begin); d > time.Second {
		t.Errorf("/info/ took %v during an inference", d)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-stopped:
	case <-time.After(5 * time.Second):
		t.Fatal("the inference went on after its client had left")
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if left := tempFiles(t, app); len(left) > 0 {
		t.Errorf("temp files are left: %v", left)
	}
	if strings.Contains(s.log.String(), "level=ERROR") {
		t.Errorf("a client that leaves is no error: %s", s.log.String())
	}
}

// TestGracefulStop ends the server during an inference: it is finished, new
// connections are refused.
func TestGracefulStop(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	engine := newThresholds("segmentation")
	engine.block = func(context.Context) error {
		close(started)
		<-release
		return nil
	}
	s := serve(t, testApp(t, func(o *apps.Options) { o.Engine = engine }), Options{})
	got := make(chan int, 1)
	go func() {
		a := s.raw("POST", pythonRequest("POST", "/infer/segmentation?image=hippocampus_045", pythonForm("{}", "", "", nil)))
		if a.length != int64(len(a.body)) {
			t.Error("the answer was cut off")
		}
		got <- a.status
	}()
	<-started
	end := make(chan error, 1)
	go func() { end <- s.stop() }()
	for {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.addr)
		if err != nil {
			break
		}
		_ = c.Close()
	}
	close(release)
	if code := <-got; code != 200 {
		t.Errorf("the running inference was answered %d", code)
	}
	if err := <-end; err != nil {
		t.Error(err)
	}
}

// TestStopCutsOffWhatDoesNotEnd has a limit to the patience.
func TestStopCutsOffWhatDoesNotEnd(t *testing.T) {
	started := make(chan struct{})
	engine := newThresholds("segmentation")
	engine.block = func(ctx context.Context) error {
		close(started)
		<-ctx.Done()
		return ctx.Err()
	}
	app := testApp(t, func(o *apps.Options) { o.Engine = engine })
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New(app, Options{StopGrace: 50 * time.Millisecond, Logger: quiet()}).Serve(ctx, l) }()
	s := &live{t: t, addr: l.Addr().String()}
	c := s.dial()
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, pythonRequest("POST", "/infer/segmentation?image=hippocampus_045", pythonForm("{}", "", "", nil))); err != nil {
		t.Fatal(err)
	}
	<-started
	cancel()
	if err := <-done; err == nil {
		t.Error("a request was cut off and nobody says so")
	}
}

// TestStalledUploadIsGivenUp sends half a body and stops.
func TestStalledUploadIsGivenUp(t *testing.T) {
	app := testApp(t, nil)
	s := serve(t, app, Options{UploadIdle: 100 * time.Millisecond})
	body := pythonForm("{}", "file", "x.nii.gz", caseFile(t, "045"))
	req := pythonRequest("PUT", "/datastore/image?image=slow", body)
	a := s.raw("PUT", req[:len(req)-40000])
	if a.status != 400 || !strings.Contains(string(a.body), "stopped coming") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if left := tempFiles(t, app); len(left) > 0 {
		t.Errorf("temp files are left: %v", left)
	}
}
