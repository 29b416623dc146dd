package apps

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// EventType says what happened.
type EventType string

// The events that clients can watch.
const (
	LabelSaved      EventType = "label_saved"      // by a person; proposals of models are not told
	TaskStarted     EventType = "task_started"     // a training, a batch inference or a scoring runs
	TaskEnded       EventType = "task_ended"       // in whatever way
	VerdictGiven    EventType = "verdict"          // on a candidate
	ModelPublished  EventType = "published"        // a version is in service
	ModelRolledBack EventType = "rolled_back"      // the version before is in service again
	ModelRefused    EventType = "refused"          // a version was to go into service and could not
	ScoresRefreshed EventType = "scores_refreshed" // every image that may be handed out has a score of the version in service
)

// EventTypes lists them.
func EventTypes() []EventType {
	return []EventType{LabelSaved, TaskStarted, TaskEnded, VerdictGiven, ModelPublished, ModelRolledBack, ModelRefused, ScoresRefreshed}
}

// Event is something that happened. Data must not be changed.
type Event struct {
	ID   string // "<start of the server>-<n>", n rising from 1
	Type EventType
	Time time.Time
	Data *ordered.Map

	n uint64
}

// Object is the event as clients see it.
func (e Event) Object() *ordered.Map {
	return ordered.Of("id", e.ID, "type", string(e.Type), "time", e.Time.UTC().Format(time.RFC3339Nano), "data", e.Data)
}

const (
	eventsKept    = 256 // for clients that come back
	eventsAhead   = 64  // that a client may lag behind
	eventWatchers = 64
)

// events tells everybody who watches what happens. It is safe for many
// goroutines, and never waits for a client.
type events struct {
	boot string

	mu       sync.Mutex
	n        uint64
	kept     []Event // the newest, oldest first
	watchers map[*Watcher]struct{}
	closed   bool

	total   *prometheus.CounterVec // by type
	dropped prometheus.Counter
	clients prometheus.GaugeFunc
}

func newEvents(now time.Time) *events {
	h := &events{
		boot: strconv.FormatInt(now.UnixMilli(), 36), watchers: map[*Watcher]struct{}{},
		total:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "voxloop_events_total", Help: "Events by type."}, []string{"type"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "voxloop_event_clients_dropped_total", Help: "Clients of /events that were too slow."}),
	}
	h.clients = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "voxloop_event_clients", Help: "Clients of /events, the webhook included."}, func() float64 {
		h.mu.Lock()
		defer h.mu.Unlock()
		return float64(len(h.watchers))
	})
	return h
}

func (h *events) collectors() []prometheus.Collector {
	return []prometheus.Collector{h.total, h.dropped, h.clients}
}

// emit tells an event. A client that lags too far behind is let go.
func (h *events) emit(t EventType, data *ordered.Map) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.n++
	e := Event{ID: h.boot + "-" + strconv.FormatUint(h.n, 10), Type: t, Time: time.Now(), Data: data, n: h.n}
	h.total.WithLabelValues(string(t)).Inc()
	if h.kept = append(h.kept, e); len(h.kept) > eventsKept {
		h.kept = append(h.kept[:0:0], h.kept[len(h.kept)-eventsKept:]...)
	}
	for w := range h.watchers {
		select {
		case w.ch <- e:
		default:
			h.dropped.Inc()
			w.slow = true
			h.leave(w)
		}
	}
}

// leave needs the lock.
func (h *events) leave(w *Watcher) {
	if _, in := h.watchers[w]; in {
		delete(h.watchers, w)
		close(w.ch)
	}
}

func (h *events) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for w := range h.watchers {
		h.leave(w)
	}
}

// Watcher gets the events from now on. Close ends it.
type Watcher struct {
	Missed []Event // those since the event that the client saw last, oldest first
	hub    *events
	ch     chan Event
	slow   bool // guarded by hub
}

// Events yields what happens. It is closed when the server stops, when the
// watcher is closed, and when the client is too slow.
func (w *Watcher) Events() <-chan Event { return w.ch }

// Slow tells, once Events is closed, that the client was too slow.
func (w *Watcher) Slow() bool {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	return w.slow
}

// Close ends the watch. It is safe to call twice.
func (w *Watcher) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.hub.leave(w)
}

// Watch begins to watch. last is the ID of the event that the client saw last,
// "" when it is new; events since then are in Missed as far as they are kept.
// Faults: Busy, Unavailable when the server stops.
func (a *App) Watch(last string) (*Watcher, error) { return a.events.watch(last, eventsAhead) }

func (h *events) watch(last string, ahead int) (*Watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, fault.New(fault.Unavailable, "the server is shutting down")
	case len(h.watchers) >= eventWatchers:
		return nil, fault.New(fault.Busy, "%d clients watch the events already", eventWatchers)
	}
	w := &Watcher{hub: h, ch: make(chan Event, ahead)}
	if last != "" {
		w.Missed = h.since(last)
	}
	h.watchers[w] = struct{}{}
	return w, nil
}

// since returns the kept events after one. Of another start of the server, or
// one that is kept no longer, all are new.
func (h *events) since(last string) []Event {
	boot, number, _ := strings.Cut(last, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if boot != h.boot || err != nil {
		n = 0
	}
	first := h.n - uint64(len(h.kept)) // number of the event before the first kept one
	if n <= first {
		return append([]Event{}, h.kept...)
	}
	return append([]Event{}, h.kept[min(n-first, uint64(len(h.kept))):]...)
}
