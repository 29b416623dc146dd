package apps

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// number is the value of a counter or a gauge.
func number(c prometheus.Collector) float64 {
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		panic(err)
	}
	m := families[0].GetMetric()[0]
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}

func numbers(events []Event) (out []uint64) {
	for _, e := range events {
		out = append(out, e.n)
	}
	return out
}

func TestEventsLetSlowClientsGo(t *testing.T) {
	h := newEvents(time.Unix(1, 0))
	slow, err := h.watch("", 2)
	if err != nil {
		t.Fatal(err)
	}
	quick, err := h.watch("", 10)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		h.emit(LabelSaved, ordered.Of("i", i))
	}
	var got []Event
	for e := range slow.Events() { // closed after what it could hold
		got = append(got, e)
	}
	if !slices.Equal(numbers(got), []uint64{1, 2}) || !slow.Slow() || quick.Slow() || len(quick.Events()) != 3 {
		t.Errorf("the slow client got %v, slow %v; the quick one has %d", numbers(got), slow.Slow(), len(quick.Events()))
	}
	slow.Close() // again: harmless
	quick.Close()
	quick.Close()
	if n := number(h.clients); n != 0 {
		t.Errorf("%v clients are left", n)
	}
	h.close()
	h.emit(LabelSaved, nil)
	if _, err := h.watch("", 1); fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
}

func TestEventsForClientsThatComeBack(t *testing.T) {
	h := newEvents(time.Unix(1, 0))
	for range eventsKept + 10 { // numbers 1 to 266, of which 11 to 266 are kept
		h.emit(ModelPublished, nil)
	}
	for last, want := range map[string][2]uint64{
		h.boot + "-260":   {261, 266},
		h.boot + "-10":    {11, 266},
		h.boot + "-3":     {11, 266},
		h.boot + "-x":     {11, 266},
		"another-start-3": {11, 266},
		h.boot + "-265":   {266, 266},
	} {
		w, err := h.watch(last, 1)
		if err != nil {
			t.Fatal(err)
		}
		n := numbers(w.Missed)
		if n[0] != want[0] || n[len(n)-1] != want[1] || uint64(len(n)) != want[1]-want[0]+1 {
			t.Errorf("after %s: %d events from %d to %d", last, len(n), n[0], n[len(n)-1])
		}
		w.Close()
	}
	for _, last := range []string{"", h.boot + "-266", h.boot + "-999"} {
		if w, err := h.watch(last, 1); err != nil || len(w.Missed) != 0 {
			t.Errorf("after %q: %d missed, %v", last, len(w.Missed), err)
		} else {
			w.Close()
		}
	}
	for range eventWatchers {
		if _, err := h.watch("", 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.watch("", 1); fault.KindOf(err) != fault.Busy {
		t.Error(err)
	}
	h.close()
}

func TestEventsOfSwapsAndLabels(t *testing.T) {
	h := newEvents(time.Unix(1, 0))
	w, err := h.watch("", 20)
	if err != nil {
		t.Fatal(err)
	}
	h.swapped("m", infer.Swap{From: "a", To: "b", Cause: infer.Cause{Origin: infer.OriginPut}})
	h.swapped("m", infer.Swap{From: "b", To: "a", Cause: infer.Cause{Origin: infer.OriginRollback}})
	h.swapped("m", infer.Swap{From: "a", To: "c", Refused: "NaN"})
	label := func(tag string, info *ordered.Map) datastore.Image {
		return datastore.Image{ID: "x", Labels: []datastore.Label{{Tag: tag, Info: info, Version: 3}}}
	}
	h.stored(datastore.Event{Kind: datastore.LabelSaved, Tag: "original", Image: label("original", ordered.Of("model", "m"))})
	h.stored(datastore.Event{Kind: datastore.LabelRemoved, Tag: "final", Image: label("final", nil)})
	h.stored(datastore.Event{Kind: datastore.LabelSaved, Tag: "final", Image: label("final", nil)})
	h.judged(Judgement{Model: "m", Version: "c"})
	h.close()
	var got []string
	for e := range w.Events() {
		got = append(got, string(e.Type))
		if e.Type == LabelSaved {
			if o, err := ordered.Marshal(e.Data); err != nil || string(o) != `{"image":"x","tag":"final","version":3}` {
				t.Errorf("%s %v", o, err)
			}
		}
	}
	if s := strings.Join(got, " "); s != "published rolled_back refused label_saved verdict" {
		t.Error(s)
	}
}

// receiver is a server that takes events, or answers what it is told.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	status   []int // of the next answers; then 204
	requests []*http.Request
	bodies   [][]byte
	gate     chan struct{} // non-nil: an answer waits for an element
}

func newReceiver(t *testing.T, status ...int) *receiver {
	t.Helper()
	r := &receiver{status: status}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		code := http.StatusNoContent
		if len(r.status) > 0 {
			code, r.status = r.status[0], r.status[1:]
		}
		r.requests, r.bodies = append(r.requests, req), append(r.bodies, body)
		gate := r.gate
		r.mu.Unlock()
		if gate != nil {
			<-gate
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(code)
	}))
	t.Cleanup(r.Close)
	return r
}

// wait returns the bodies once there are n of them.
func (r *receiver) wait(t *testing.T, n int) [][]byte {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		r.mu.Lock()
		bodies := slices.Clone(r.bodies)
		r.mu.Unlock()
		if len(bodies) >= n {
			return bodies
		}
	}
	t.Fatalf("%d requests never came", n)
	return nil
}

func startHook(t *testing.T, o WebhookOptions) (*events, *webhook) {
	t.Helper()
	return startHookAt(t, filepath.Join(t.TempDir(), "state", webhookFile), o)
}

// startHookAt keeps what waits at the end in a file.
func startHookAt(t *testing.T, outbox string, o WebhookOptions) (*events, *webhook) {
	t.Helper()
	o, err := o.check()
	if err != nil {
		t.Fatal(err)
	}
	h := newEvents(time.Unix(1, 0))
	w := newWebhook(o, "lab", outbox, h, slog.New(slog.DiscardHandler))
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.close(); w.close() })
	return h, w
}

func (w *webhook) results() string {
	var out []string
	for _, r := range []string{"ok", "failed", "lost"} {
		out = append(out, fmt.Sprintf("%s %v", r, number(w.sent.WithLabelValues(r))))
	}
	return strings.Join(out, ", ")
}

func (w *webhook) awaitResults(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); w.results() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("results: %s, want %s", w.results(), want)
		}
	}
}

// TestWebhook sends signed events in order, again after a failure that may pass,
// and not again after another.
func TestWebhook(t *testing.T) {
	r := newReceiver(t, 503, 429, 200, 302, 404)
	secret := []byte("s3cret")
	h, w := startHook(t, WebhookOptions{URL: r.URL + "/hook", Secret: secret, Wait: time.Millisecond, Types: []EventType{ModelPublished, ModelRefused}})
	h.emit(ModelPublished, ordered.Of("model", "a"))
	h.emit(LabelSaved, ordered.Of("image", "not wanted"))
	h.emit(ModelRefused, ordered.Of("model", "b"))   // 302: a redirect is not followed
	h.emit(ModelPublished, ordered.Of("model", "c")) // 404
	h.emit(ModelPublished, ordered.Of("model", "d"))
	bodies := r.wait(t, 6)
	w.awaitResults(t, "ok 2, failed 2, lost 0")
	var models []string
	for i, b := range bodies {
		o, err := ordered.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		models = append(models, o.Sub("data").String("model"))
		req := r.requests[i]
		m := hmac.New(sha256.New, secret)
		m.Write(b)
		if got, want := req.Header.Get(SignatureHeader), "sha256="+hex.EncodeToString(m.Sum(nil)); got != want {
			t.Errorf("signature %s, want %s", got, want)
		}
		if req.URL.Path != "/hook" || req.Method != "POST" || req.Header.Get("Content-Type") != "application/json" ||
			req.Header.Get("X-Voxloop-Event") != o.String("type") || req.Header.Get("X-Voxloop-Delivery") != o.String("id") || o.String("app") != "lab" {
			t.Errorf("%s %s %v %s", req.Method, req.URL, req.Header, b)
		}
	}
	if got := strings.Join(models, " "); got != "a a a b c d" {
		t.Errorf("sent %s", got)
	}
}

// TestWebhookGivesUp after its attempts, goes on with the next event, and ends
// while it waits for another attempt.
func TestWebhookGivesUp(t *testing.T) {
	r := newReceiver(t, 500, 500, 500, 204, 500)
	h, w := startHook(t, WebhookOptions{URL: r.URL, Wait: time.Millisecond, Tries: 3})
	h.emit(LabelSaved, nil)
	h.emit(LabelSaved, nil)
	w.awaitResults(t, "ok 1, failed 1, lost 0")
	w.o.Wait = time.Hour
	h.emit(LabelSaved, nil)
	r.wait(t, 5)
	begin := time.Now()
	h.close()
	w.close()
	if took := time.Since(begin); took > time.Second {
		t.Errorf("closing took %s", took)
	}
}

// TestWebhookBehind sends what is still kept when the receiver was too slow.
// TestWebhookOutlivesAStop: what the receiver has not taken when the server stops
// comes after the next start, in order, before anything new, and once.
func TestWebhookOutlivesAStop(t *testing.T) {
	outbox := filepath.Join(t.TempDir(), "state", webhookFile)
	down := newReceiver(t, 500)
	h, w := startHookAt(t, outbox, WebhookOptions{URL: down.URL, Wait: time.Hour, Types: []EventType{ModelPublished}})
	h.emit(ModelPublished, ordered.Of("model", "a <b>"))
	first := down.wait(t, 1)
	h.emit(LabelSaved, ordered.Of("image", "not wanted"))
	h.emit(ModelPublished, ordered.Of("model", "c"))
	h.close()
	w.close()
	if got := w.results(); got != "ok 0, failed 0, lost 0" {
		t.Errorf("results: %s", got)
	}
	up := newReceiver(t)
	h, w = startHookAt(t, outbox, WebhookOptions{URL: up.URL})
	h.emit(ModelPublished, ordered.Of("model", "d"))
	bodies := up.wait(t, 3)
	w.awaitResults(t, "ok 3, failed 0, lost 0")
	if string(bodies[0]) != string(first[0]) {
		t.Errorf("%s was sent as %s", first[0], bodies[0])
	}
	var models []string
	for _, b := range bodies {
		o, err := ordered.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		models = append(models, o.Sub("data").String("model"))
	}
	if got := strings.Join(models, ", "); got != "a <b>, c, d" {
		t.Errorf("sent %s", got)
	}
	h.close()
	w.close()
	if _, err := os.Stat(outbox); !os.IsNotExist(err) {
		t.Errorf("the file of what waits is still there: %v", err)
	}
	if err := os.WriteFile(outbox, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, w = startHookAt(t, outbox, WebhookOptions{URL: up.URL}) // a damaged file does no harm
	h.emit(ModelPublished, ordered.Of("model", "e"))
	w.awaitResults(t, "ok 1, failed 0, lost 0")
}

func TestWebhookBehind(t *testing.T) {
	r := newReceiver(t)
	r.gate = make(chan struct{})
	h, w := startHook(t, WebhookOptions{URL: r.URL})
	h.emit(LabelSaved, nil)
	r.wait(t, 1) // the first is on its way, the queue is empty
	const more = webhookAhead + eventsKept + 40
	for range more {
		h.emit(LabelSaved, nil)
	}
	close(r.gate)
	w.awaitResults(t, fmt.Sprintf("ok %d, failed 0, lost 40", more+1-40))
	seen := map[string]bool{}
	for _, b := range r.wait(t, more+1-40) {
		o, err := ordered.Parse(b)
		if err != nil || seen[o.String("id")] {
			t.Fatalf("%s came twice, or %v", b, err)
		}
		seen[o.String("id")] = true
	}
}

func TestWebhookOptionsAreChecked(t *testing.T) {
	for want, o := range map[string]WebhookOptions{
		"webhook.url":    {URL: "ftp://x/y"},
		"webhook.events": {URL: "http://x/y", Types: []EventType{"nothing"}},
	} {
		if _, err := o.check(); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := (WebhookOptions{URL: "http://user:secret@[::x"}).check(); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

// TestWebhookHidesTheAddress keeps a password in it out of the log.
func TestWebhookHidesTheAddress(t *testing.T) {
	w := newWebhook(WebhookOptions{URL: "http://user:hunter2@127.0.0.1:1/"}, "lab", "", nil, nil)
	again, err := w.post(letter{})
	if !again || err == nil || strings.Contains(fmt.Sprint(err), "hunter2") {
		t.Errorf("%v %v", again, err)
	}
}
