package dataset

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
)

// noise is data that no two offsets share.
func noise(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(r.Uint32())
	}
	return out
}

// fetcher returns a download of s into dir.
func fetcher(s *archiveServer, dir string) *download {
	return &download{
		url: s.URL + "/x.tar", path: filepath.Join(dir, "x.tar"), max: 1 << 30, client: newClient(), wait: noWait,
		free: freeBytes, need: func(int64) int64 { return 0 }, progress: func(int64, int64) {},
	}
}

func arrived(t *testing.T, d *download, want []byte) {
	t.Helper()
	got, err := os.ReadFile(d.path)
	if err != nil || string(got) != string(want) {
		t.Errorf("%d bytes came (%v), other than the %d that were served", len(got), err, len(want))
	}
	absent(t, d.part())
	if !d.complete() {
		t.Error("the file does not count as complete")
	}
}

func TestDownloadGoesOn(t *testing.T) {
	data := noise(3_000_000, 1)
	const date = "Wed, 21 Oct 2015 07:28:00 GMT"
	tests := []struct {
		name  string
		set   func(*archiveServer)
		want  string // Range headers
		again int    // bytes that are sent twice at least
	}{
		{"whole", func(*archiveServer) {}, "", 0},
		{"cut twice", func(s *archiveServer) { s.cut = []int{1_000_000, 500_000} }, "|bytes=1000000-|bytes=1500000-", 0},
		{"by date", func(s *archiveServer) { s.etag, s.date, s.cut = "", date, []int{1_000_000} }, "|bytes=1000000-", 0},
		{"weak tag, by date", func(s *archiveServer) { s.etag, s.date, s.cut = `W/"1"`, date, []int{1_000_000} }, "|bytes=1000000-", 0},
		{"no validator: from the beginning", func(s *archiveServer) { s.etag, s.cut = "", []int{1_000_000} }, "|", 1_000_000},
		{"no ranges: from the beginning", func(s *archiveServer) { s.noRange, s.cut = true, []int{1_000_000} }, "|bytes=1000000-", 1_000_000},
		{"busy", func(s *archiveServer) { s.deny = []int{503, 429} }, "||", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, data)
			tt.set(s)
			d := fetcher(s, t.TempDir())
			if err := d.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			arrived(t, d, data)
			if got := s.ranges(); got != tt.want {
				t.Errorf("ranges %q, want %q", got, tt.want)
			}
			if _, sent := s.counts(); sent < len(data)+tt.again || tt.again == 0 && sent != len(data) {
				t.Errorf("%d bytes were sent for %d", sent, len(data))
			}
		})
	}
}

// What an earlier process left is gone on with when the server still has the
// same file, and dropped when it has another.
func TestDownloadAfterRestart(t *testing.T) {
	old, changed := noise(2_000_000, 2), noise(1_500_000, 3)
	for _, tt := range []struct {
		name   string
		change bool
		want   []byte
		sent   int
	}{
		{"same file", false, old, len(old)},
		{"changed file", true, changed, 800_000 + len(changed)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := serve(t, old)
			s.cut, s.hold = []int{800_000}, make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			d := fetcher(s, dir)
			d.progress = func(done, _ int64) {
				if done == 800_000 {
					cancel()
				}
			}
			err := d.run(ctx)
			close(s.hold)
			fails(t, err, fault.Canceled)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v does not wrap the context's error", err)
			}
			absent(t, d.path)
			if info, err := os.Stat(d.part()); err != nil || info.Size() != 800_000 {
				t.Fatalf("the part: %v, %v", info, err)
			}
			s.mu.Lock()
			s.hold = nil
			if tt.change {
				s.data, s.etag = changed, `"2"`
			}
			s.mu.Unlock()
			d = fetcher(s, dir)
			if err := d.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			arrived(t, d, tt.want)
			if _, sent := s.counts(); s.ranges() != "|bytes=800000-" || sent != tt.sent {
				t.Errorf("ranges %q, %d bytes sent; want %d", s.ranges(), sent, tt.sent)
			}
		})
	}
}

// A part that is complete already, as after a kill before the last rename.
func TestDownloadOfCompletePart(t *testing.T) {
	data := noise(10_000, 4)
	s := serve(t, data)
	d := fetcher(s, t.TempDir())
	if err := os.WriteFile(d.part(), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.remember(partState{URL: d.url, ETag: `"1"`, Total: int64(len(data))}); err != nil {
		t.Fatal(err)
	}
	d = fetcher(s, filepath.Dir(d.path))
	if err := d.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	arrived(t, d, data)
	if _, sent := s.counts(); sent != 0 {
		t.Errorf("%d bytes were sent", sent)
	}
}

func TestDownloadFails(t *testing.T) {
	data := noise(100_000, 5)
	tests := []struct {
		name     string
		set      func(*archiveServer, *download)
		kind     fault.Kind
		requests int
		words    string
	}{
		{"not there", func(s *archiveServer, _ *download) { s.deny = []int{404} }, fault.NotFound, 1, "404"},
		{"not allowed", func(s *archiveServer, _ *download) { s.deny = []int{403} }, fault.Unavailable, 1, "403"},
		{"broken for good", func(s *archiveServer, _ *download) { s.deny = []int{500, 500, 500, 500, 500, 500, 500, 500} }, fault.Unavailable, maxTries, "7 times"},
		{"cut for good", func(s *archiveServer, _ *download) { s.cut = []int{100, 0, 0, 0, 0, 0, 0, 0, 0} }, fault.Unavailable, maxTries, "goes on with what has come"},
		{"no server", func(s *archiveServer, _ *download) { s.Close() }, fault.Unavailable, 0, "7 times"},
		{"larger than expected", func(_ *archiveServer, d *download) { d.max = 99_999 }, fault.TooLarge, 1, "expected at most"},
		{"no room", func(_ *archiveServer, d *download) {
			d.free = func(string) (int64, bool) { return 149_999, true }
			d.need = func(n int64) int64 { return n / 2 }
		}, fault.NoSpace, 1, "150000 bytes are needed on the disk, 149999 bytes are free"},
		{"no address", func(_ *archiveServer, d *download) { d.url = "ftp://x/y" }, fault.Invalid, 0, "no http or https address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, data)
			d := fetcher(s, t.TempDir())
			tt.set(s, d)
			fails(t, d.run(t.Context()), tt.kind, tt.words)
			absent(t, d.path)
			if n, _ := s.counts(); n != tt.requests {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
		})
	}
}

// The waits double up to half a minute, and a server's wish counts.
func TestDownloadWaits(t *testing.T) {
	s := serve(t, noise(1000, 6))
	s.deny, s.after = []int{503, 503, 503}, "7"
	d := fetcher(s, t.TempDir())
	var waits []time.Duration
	d.wait = func(_ context.Context, w time.Duration) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		waits, s.after = append(waits, w), ""
		return nil
	}
	if err := d.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(waits) != 3 || waits[0] != 7*time.Second || waits[1] != 2*time.Second || waits[2] != 4*time.Second {
		t.Errorf("waits %v", waits)
	}
	for text, want := range map[string]time.Duration{"": 0, "x": 0, "-3": 0, "3": 3 * time.Second, "86400": maxAfter, "Wed, 21 Oct 2015 07:28:00 GMT": 0} {
		if got := retryAfter(text); got != want {
			t.Errorf("Retry-After %q: %v, want %v", text, got, want)
		}
	}
}

// A disk that fills up is told, and not tried again.
func TestDownloadFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full here")
	}
	d := fetcher(serve(t, nil), t.TempDir())
	d.file, d.state = full, partState{Total: 100}
	err = d.receive(t.Context(), bytes.NewReader(make([]byte, 100)), func(error) {})
	fails(t, errors.Join(err, full.Close()), fault.NoSpace, "the disk is full")
	if _, again := errors.AsType[*retryError](err); again {
		t.Error("it is tried again")
	}
}

func TestRedirects(t *testing.T) {
	check := newClient().CheckRedirect
	from := func(url string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if err := check(from("http://b/x"), []*http.Request{from("http://a/x")}); err != nil {
		t.Error(err)
	}
	if err := check(from("https://b/x"), []*http.Request{from("http://a/x")}); err != nil {
		t.Error(err)
	}
	fails(t, check(from("http://b/x"), []*http.Request{from("https://a/x")}), fault.Unavailable, "leads from https to http")
	if err := check(from("http://b/x"), make([]*http.Request, 10)); err == nil {
		t.Error("endless redirects are followed")
	}
}
