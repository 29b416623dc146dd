package dataset

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// archiveServer serves one file with ranges, and misbehaves as it is told.
type archiveServer struct {
	*httptest.Server

	mu       sync.Mutex
	data     []byte
	etag     string // also without the quotes that make it one
	date     string // Last-Modified
	cut      []int  // bytes after which the n-th answer breaks off; -1: not
	deny     []int  // statuses of the next answers
	noRange  bool
	after    string // Retry-After with deny
	requests []*http.Request
	sent     int // bytes of bodies
	hold     chan struct{}
}

func serve(t *testing.T, data []byte) *archiveServer {
	t.Helper()
	s := &archiveServer{data: data, etag: `"1"`}
	s.Server = httptest.NewServer(http.HandlerFunc(s.handle))
	t.Cleanup(s.Close)
	return s
}

func (s *archiveServer) handle(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
	if len(s.deny) > 0 {
		code := s.deny[0]
		s.deny = s.deny[1:]
		w.Header().Set("Retry-After", s.after)
		w.WriteHeader(code)
		return
	}
	if s.etag != "" {
		w.Header().Set("ETag", s.etag)
	}
	if s.date != "" {
		w.Header().Set("Last-Modified", s.date)
	}
	from, status := 0, http.StatusOK
	if span := r.Header.Get("Range"); span != "" && !s.noRange && (r.Header.Get("If-Range") == s.etag || r.Header.Get("If-Range") == s.date) {
		from, _ = strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(span, "bytes="), "-"))
		status = http.StatusPartialContent
		if from >= len(s.data) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(s.data)-1, len(s.data)))
	}
	body, broken := s.data[from:], false
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if len(s.cut) > 0 {
		if n := s.cut[0]; n >= 0 && n < len(body) {
			body, broken = body[:n], true
		}
		s.cut = s.cut[1:]
	}
	n, _ := bytes.NewReader(body).WriteTo(w)
	s.sent += int(n)
	if s.hold != nil {
		w.(http.Flusher).Flush()
		hold := s.hold
		s.mu.Unlock()
		<-hold
		s.mu.Lock()
	}
	if broken {
		panic(http.ErrAbortHandler) // the connection breaks
	}
}

// counts returns the requests and the bytes of bodies so far.
func (s *archiveServer) counts() (requests, sent int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests), s.sent
}

// ranges are the Range headers of the requests so far.
func (s *archiveServer) ranges() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, r := range s.requests {
		out = append(out, r.Header.Get("Range"))
	}
	return strings.Join(out, "|")
}
