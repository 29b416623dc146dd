package trainers

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// The bounds of what a program may write.
const (
	maxEvent    = 1 << 20 // bytes of one line of events; longer ones are read in pieces, none of which is an event
	maxGarbage  = 100     // lines that are no events
	maxLogLine  = 4 << 10 // bytes of one line of the log; longer ones are cut into pieces
	maxLogRate  = 50      // lines of the log per second; more are counted
	maxText     = 1000    // bytes of a message
	maxWarnings = 100     // warnings that a result keeps
	maxQuote    = 80      // bytes of a quoted line
)

// talk is the conversation with a program: what it said so far.
type talk struct {
	log    *slog.Logger
	report func(Event)
	over   chan struct{} // closed by the last event, or when there is too much that is none

	// Written by the reader of events, read by others once over is closed or
	// the readers have ended.
	last     *Event // finished or failed
	garbage  string // the line that was one too many, shortened
	strange  int
	steps    int
	epochs   int
	warnings []string

	words string // the last line of the log; as above
}

func newTalk(log *slog.Logger, report func(Event)) *talk {
	return &talk{log: log, report: report, over: make(chan struct{})}
}

// spoilt tells, once over is closed, that the program does not keep to the
// protocol.
func (t *talk) spoilt() bool { return t.last == nil }

// listen writes the request and starts to read. The returned function is called
// when the program has ended: it waits for the rest of the output, for a while,
// and closes the pipes.
func (t *talk) listen(c *child, request []byte) (finish func()) {
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = c.in.Write(request) }) // a program that does not read it ends without a result
	wg.Go(func() { t.readEvents(c.out) })
	wg.Go(func() { t.readLog(c.err) })
	read := make(chan struct{})
	go func() { wg.Wait(); close(read) }()
	return func() {
		c.hangUp()
		// A process that left the group may hold the pipes open.
		limit := time.NewTimer(drain)
		defer limit.Stop()
		select {
		case <-read:
		case <-limit.C:
		}
		_, _ = c.out.Close(), c.err.Close()
		<-read
	}
}

// readEvents reads events to the end of the stream.
func (t *talk) readEvents(f *os.File) {
	eachLine(f, maxEvent, func(line []byte) {
		if t.isOver() {
			return // nothing counts after the last event
		}
		e, ok := parseEvent(line)
		if !ok {
			t.odd(line)
			return
		}
		t.note(e)
	})
}

func (t *talk) isOver() bool { return t.last != nil || t.garbage != "" }

// odd counts a line that is no event. Libraries print to standard output; a
// program that writes nothing else has to be stopped.
func (t *talk) odd(line []byte) {
	text := shorten(string(line), maxQuote)
	t.strange++
	if t.strange > maxGarbage {
		t.garbage = text
		close(t.over)
		return
	}
	t.log.Info("trainer wrote a line that is no event", "line", text)
}

// note takes an event in and passes it on.
func (t *talk) note(e Event) {
	t.steps, t.epochs = max(t.steps, e.Step), max(t.epochs, e.Epoch)
	if e.Kind == Warned && len(t.warnings) < maxWarnings {
		t.warnings = append(t.warnings, e.Message)
	}
	final := e.Kind == Finished || e.Kind == Broke
	if final {
		t.last = &e
	}
	t.report(e)
	if final {
		close(t.over)
	}
}

// parseEvent reads one line; false when it is no event. Kinds that a later
// version may add count as events.
func parseEvent(line []byte) (Event, bool) {
	var e Event
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' || json.Unmarshal(line, &e) != nil || e.Kind == "" {
		return Event{}, false
	}
	e.Message = shorten(e.Message, maxText)
	e.Step, e.Steps, e.Epoch, e.Epochs = max(e.Step, 0), max(e.Steps, 0), max(e.Epoch, 0), max(e.Epochs, 0)
	return e, true
}

// readLog passes standard error on to the log, as much as a reader could read.
func (t *talk) readLog(f *os.File) {
	second, n, dropped := int64(0), 0, 0
	eachLine(f, maxLogLine, func(line []byte) {
		text := shorten(string(line), maxLogLine)
		if text == "" {
			return
		}
		t.words = text
		if now := time.Now().Unix(); now != second {
			if dropped > 0 {
				t.log.Warn("trainer wrote more than the log takes", "lines_dropped", dropped)
			}
			second, n, dropped = now, 0, 0
		}
		if n++; n > maxLogRate {
			dropped++
			return
		}
		t.log.Info("trainer", "line", text)
	})
}

// eachLine calls fn with the lines of a stream, without their ends, until it is
// closed. A line longer than limit comes in pieces.
func eachLine(f io.Reader, limit int, fn func(line []byte)) {
	r := bufio.NewReaderSize(f, limit)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			fn(bytes.TrimRight(line, "\r\n"))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// shorten makes a text one line of at most limit bytes, fit for a client.
func shorten(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return strings.TrimSpace(s)
}
