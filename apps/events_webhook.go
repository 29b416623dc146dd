package apps

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// WebhookOptions say who is told of events by HTTP. The zero value tells nobody.
type WebhookOptions struct {
	URL    string
	Secret []byte      // signs what is sent; none: it is not signed
	Types  []EventType // those told; none: all

	Wait  time.Duration // before the second attempt, doubled for each further one; 0 means 1 s
	Tries int           // attempts per event; 0 means 8
}

const (
	webhookTime  = 10 * time.Second // of one attempt
	webhookAhead = 256              // events that wait
	webhookMost  = 5 * time.Minute  // between two attempts
	webhookFile  = "webhook.json"
)

// SignatureHeader carries "sha256=" and the HMAC-SHA256 of the body in
// hexadecimal digits.
const SignatureHeader = "X-Voxloop-Signature-256"

func (o WebhookOptions) check() (WebhookOptions, error) {
	if o.URL == "" {
		return o, nil
	}
	if u, err := url.Parse(o.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return o, fault.New(fault.Invalid, "webhook.url: it must be an address such as https://host/path")
	}
	for _, t := range o.Types {
		if !slices.Contains(EventTypes(), t) {
			return o, fault.New(fault.Invalid, "webhook.events: %q is no event; there are %v", string(t), EventTypes())
		}
	}
	if o.Wait <= 0 {
		o.Wait = time.Second
	}
	if o.Tries <= 0 {
		o.Tries = 8
	}
	return o, nil
}

// webhook sends events to an address, one after the other.
type webhook struct {
	o      WebhookOptions
	app    string // name of the app, for the receiver
	log    *slog.Logger
	hub    *events
	outbox string // file of what waited at the last stop
	client *http.Client
	sent   *prometheus.CounterVec // by result: ok, failed, lost

	ctx    context.Context //nolint:containedctx // ends an attempt; close cancels it
	cancel context.CancelFunc
	wg     sync.WaitGroup
	left   []letter // not taken when it was closed; of work's goroutine
}

// letter is an event as it is sent.
type letter struct {
	ID   string    `json:"id"`
	Type EventType `json:"type"`
	Body []byte    `json:"body"`
}

// newWebhook keeps what waits at a stop in the file outbox.
func newWebhook(o WebhookOptions, app, outbox string, hub *events, log *slog.Logger) *webhook {
	w := &webhook{
		o: o, app: app, outbox: outbox, log: log, hub: hub,
		client: &http.Client{
			Timeout:       webhookTime,
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "voxloop_webhook_total", Help: "Events for the webhook by result: ok, failed (given up), lost (too many waited).",
		}, []string{"result"}),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// start begins to send.
func (w *webhook) start() error {
	if w.o.URL == "" {
		return nil
	}
	watch, err := w.hub.watch("", webhookAhead)
	if err != nil {
		return err
	}
	w.wg.Go(func() {
		defer w.keep()
		w.resume()
		w.work(watch)
	})
	return nil
}

// resume sends what waited when an earlier server stopped, before anything new.
func (w *webhook) resume() {
	var waiting []letter
	err := loadJSON(w.outbox, &waiting)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		w.log.Warn("what waited for the webhook cannot be read; it is lost", "err", err)
	}
	for _, l := range waiting {
		w.send(l)
	}
	if len(w.left) == 0 {
		if err := os.Remove(w.outbox); err != nil {
			w.log.Warn("what the webhook has taken will be sent again at the next start", "err", err)
		}
	}
}

// keep writes what is left for the next server.
func (w *webhook) keep() {
	if len(w.left) == 0 {
		return
	}
	if over := len(w.left) - webhookAhead; over > 0 {
		w.sent.WithLabelValues("lost").Add(float64(over))
		w.left = w.left[over:]
	}
	if err := writeJSON(w.outbox, w.left); err != nil {
		w.sent.WithLabelValues("lost").Add(float64(len(w.left)))
		w.log.Warn("what waits for the webhook cannot be kept; it is lost", "events", len(w.left), "err", err)
	}
}

// close ends sending; what waits is sent after the next start. The events must be
// closed before.
func (w *webhook) close() {
	w.cancel()
	w.wg.Wait()
	w.client.CloseIdleConnections()
}

// work sends until it is closed. When more events wait than the queue holds, it
// goes on with those that are still kept; the others are lost.
func (w *webhook) work(watch *Watcher) {
	var last Event
	for {
		for _, e := range watch.Missed {
			if lost := e.n - last.n - 1; lost > 0 {
				w.sent.WithLabelValues("lost").Add(float64(lost))
				w.log.Warn("the webhook is too slow", "lost", lost)
			}
			last = e
			w.deliver(e)
		}
		for e := range watch.Events() {
			last = e
			w.deliver(e)
		}
		if w.ctx.Err() != nil || !watch.Slow() {
			return
		}
		var err error
		if watch, err = w.hub.watch(last.ID, webhookAhead); err != nil {
			return
		}
	}
}

// deliver sends one event, if it is of a wanted type.
func (w *webhook) deliver(e Event) {
	if len(w.o.Types) > 0 && !slices.Contains(w.o.Types, e.Type) {
		return
	}
	body, err := ordered.Marshal(e.Object().Set("app", w.app))
	if err != nil {
		w.log.Error("an event cannot be written", "event", e.ID, "err", err)
		return
	}
	w.send(letter{e.ID, e.Type, body})
}

// send makes attempts where a further one may help. What is not decided when the
// webhook is closed is left.
func (w *webhook) send(l letter) {
	wait := w.o.Wait
	for try := 1; w.ctx.Err() == nil; try++ {
		again, err := w.post(l)
		switch {
		case err == nil:
			w.sent.WithLabelValues("ok").Inc()
			return
		case w.ctx.Err() != nil:
		case !again || try >= w.o.Tries:
			w.sent.WithLabelValues("failed").Inc()
			w.log.Warn("the webhook did not take an event", "event", l.ID, "type", string(l.Type), "attempts", try, "err", err)
			return
		}
		_ = pause(w.ctx, wait) // the loop asks
		wait = min(2*wait, webhookMost)
	}
	w.left = append(w.left, l)
}

// post makes one attempt. again tells whether another one may help.
func (w *webhook) post(l letter) (again bool, err error) {
	req, err := http.NewRequestWithContext(w.ctx, http.MethodPost, w.o.URL, bytes.NewReader(l.Body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "voxloop")
	req.Header.Set("X-Voxloop-Event", string(l.Type))
	req.Header.Set("X-Voxloop-Delivery", l.ID)
	if len(w.o.Secret) > 0 {
		req.Header.Set(SignatureHeader, Sign(w.o.Secret, l.Body))
	}
	resp, err := w.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the address may hold a password
		}
		return true, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<16) // so that the connection can be used again
	switch c := resp.StatusCode; {
	case c >= 200 && c < 300:
		return false, nil
	case c >= 500, c == http.StatusRequestTimeout, c == http.StatusTooEarly, c == http.StatusTooManyRequests:
		return true, fmt.Errorf("it answered %s", resp.Status)
	default:
		return false, fmt.Errorf("it answered %s", resp.Status)
	}
}

// Sign returns the value of SignatureHeader for a body.
func Sign(secret, body []byte) string {
	m := hmac.New(sha256.New, secret)
	m.Write(body)
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}
