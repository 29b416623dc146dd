package apps

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// LogRing keeps the last lines of the log in memory, for GET /logs/. It is
// bounded in lines and in the length of a line.
type LogRing struct {
	mu    sync.Mutex
	lines []string // a ring once it is full
	next  int      // where the next line goes
	limit int
}

const (
	defaultLogLines = 5000
	maxLogLine      = 4096 // bytes
)

// NewLogRing keeps up to limit lines; 0 means 5000.
func NewLogRing(limit int) *LogRing {
	if limit <= 0 {
		limit = defaultLogLines
	}
	return &LogRing{limit: limit}
}

// Lines returns the last n lines, oldest first; all of them when n <= 0.
func (r *LogRing) Lines(n int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]string, 0, len(r.lines))
	out = append(out, r.lines[r.start():]...)
	out = append(out, r.lines[:r.start()]...)
	if n > 0 && n < len(out) {
		out = out[len(out)-n:]
	}
	return out
}

// start returns the index of the oldest line.
func (r *LogRing) start() int {
	if len(r.lines) < r.limit {
		return 0
	}
	return r.next
}

func (r *LogRing) add(line string) {
	if len(line) > maxLogLine {
		line = strings.ToValidUTF8(line[:maxLogLine], "") + "…"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) < r.limit {
		r.lines = append(r.lines, line)
		return
	}
	r.lines[r.next] = line
	r.next = (r.next + 1) % r.limit
}

// Handler returns a handler that keeps a line of every record that next
// handles, and passes the record on.
func (r *LogRing) Handler(next slog.Handler) slog.Handler {
	h := &ringHandler{ring: r, next: next, mu: new(sync.Mutex), buf: new(bytes.Buffer)}
	h.text = slog.NewTextHandler(h.buf, &slog.HandlerOptions{
		Level: slog.LevelDebug - 100, // next decides
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		},
	})
	return h
}

// ringHandler writes "[2026-11-23 09:21:28,749] [INFO] message key=value".
type ringHandler struct {
	ring *LogRing
	next slog.Handler
	mu   *sync.Mutex // guards buf; shared by the handlers derived from one
	buf  *bytes.Buffer
	text slog.Handler // formats the attributes into buf
}

func (h *ringHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h *ringHandler) Handle(ctx context.Context, rec slog.Record) error {
	h.mu.Lock()
	h.buf.Reset()
	err := h.text.Handle(ctx, rec)
	attrs := strings.TrimSpace(h.buf.String())
	h.mu.Unlock()
	line := fmt.Sprintf("[%s] [%s] %s", rec.Time.Format("2006-01-02 15:04:05,000"), rec.Level, strings.ReplaceAll(rec.Message, "\n", `\n`))
	if attrs != "" {
		line += " " + attrs
	}
	h.ring.add(line)
	if nerr := h.next.Handle(ctx, rec); nerr != nil {
		return nerr
	}
	return err
}

func (h *ringHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.next, c.text = h.next.WithAttrs(attrs), h.text.WithAttrs(attrs)
	return &c
}

func (h *ringHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.next, c.text = h.next.WithGroup(name), h.text.WithGroup(name)
	return &c
}
