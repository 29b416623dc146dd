package server

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/ordered"
)

// stream is a client of /events.
type stream struct {
	t      *testing.T
	lines  *bufio.Scanner
	resp   *http.Response
	cancel context.CancelFunc
}

func (s *live) listen(t *testing.T, path, last string) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req) //nolint:bodyclose // by leave
	if err != nil {
		t.Fatal(err)
	}
	st := &stream{t: t, lines: bufio.NewScanner(resp.Body), resp: resp, cancel: cancel}
	t.Cleanup(st.leave)
	if st.lines.Scan(); resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || st.lines.Text() != ": voxloop" {
		t.Fatalf("%d %v %q", resp.StatusCode, resp.Header, st.lines.Text())
	}
	return st
}

func (st *stream) leave() { st.cancel(); _ = st.resp.Body.Close() }

// next returns the next event: its id, type and object.
func (st *stream) next() (id, kind string, o *ordered.Map) {
	st.t.Helper()
	for st.lines.Scan() {
		key, value, _ := strings.Cut(st.lines.Text(), ": ")
		switch key {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			o, err := ordered.Parse([]byte(value))
			if err != nil {
				st.t.Fatal(err)
			}
			if o.String("id") != id || o.String("type") != kind {
				st.t.Errorf("the event %s %s holds %s", id, kind, value)
			}
			return id, kind, o
		}
	}
	st.t.Fatalf("the stream ended: %v", st.lines.Err())
	return "", "", nil
}

func TestEventsOverTheWire(t *testing.T) {
	app := testApp(t, nil)
	s := serve(t, app, Options{})
	st := s.listen(t, "/events", "")
	some := s.listen(t, "/events?types=task_ended,task_started", "")
	h, body := formBody(t, field{key: "label", name: "l.nii.gz", data: labelBytes(t, gridOf(t, "045"))})
	s.must(200, "PUT", "/datastore/label?image=hippocampus_045&tag=final", h, body)
	s.must(200, "POST", "/scoring/dice?run_sync=true", nil, nil)
	first, kind, o := st.next()
	if kind != "label_saved" || string(marshal(t, o.Sub("data"))) != `{"image":"hippocampus_045","tag":"final","version":1}` {
		t.Errorf("%s %s", kind, marshal(t, o))
	}
	for _, c := range []*stream{st, some} {
		if _, kind, o = c.next(); kind != "task_started" || o.Sub("data").String("method") != "dice" || o.Sub("data").String("kind") != "Scoring" {
			t.Errorf("%s %s", kind, marshal(t, o))
		}
		if _, kind, o = c.next(); kind != "task_ended" || o.Sub("data").String("status") != "DONE" || o.Sub("data").String("message") == "" {
			t.Errorf("%s %s", kind, marshal(t, o))
		}
	}
	back := s.listen(t, "/events", first)
	if _, kind, _ := back.next(); kind != "task_started" {
		t.Errorf("a client that comes back gets %s", kind)
	}
	contains(t, "a type that is none", s.must(422, "GET", "/events?types=x", nil, nil).body, "label_saved")
	count := func() string {
		for line := range strings.Lines(string(s.must(200, "GET", "/metrics", nil, nil).body)) {
			if n, ok := strings.CutPrefix(line, "voxloop_http_requests_in_flight "); ok {
				return strings.TrimSpace(n)
			}
		}
		return ""
	}
	st.leave()
	some.leave()
	for deadline := time.Now().Add(10 * time.Second); count() != "2"; time.Sleep(time.Millisecond) { // the metrics' own, and the one that is left
		if time.Now().After(deadline) {
			t.Fatalf("%s requests in flight after two clients left", count())
		}
	}
	// A stop does not wait for clients that listen.
	begin := time.Now()
	if err := s.stop(); err != nil || time.Since(begin) > 5*time.Second {
		t.Errorf("the stop took %s: %v", time.Since(begin), err)
	}
}
