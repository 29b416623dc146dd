package apps

import (
	"bytes"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
)

func TestLogRingKeepsTheLastLines(t *testing.T) {
	ring := NewLogRing(3)
	var next bytes.Buffer
	log := slog.New(ring.Handler(slog.NewTextHandler(&next, &slog.HandlerOptions{Level: slog.LevelInfo})))
	for i := range 5 {
		log.Info("line", "n", i)
	}
	log.Debug("not handled, not kept")
	log.With("model", "m").WithGroup("g").Warn("two\nlines", "k", "a b")
	lines := ring.Lines(0)
	if len(lines) != 3 {
		t.Fatalf("%q", lines)
	}
	if !regexp.MustCompile(`^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] \[INFO\] line n=3$`).MatchString(lines[0]) {
		t.Errorf("%q", lines[0])
	}
	if !strings.HasSuffix(lines[2], `[WARN] two\nlines model=m g.k="a b"`) {
		t.Errorf("%q", lines[2])
	}
	if got := ring.Lines(1); len(got) != 1 || got[0] != lines[2] {
		t.Errorf("the last line is %q", got)
	}
	if strings.Count(next.String(), "\n") != 6 {
		t.Errorf("the next handler got %q", next.String())
	}
	log.Info("long", "text", strings.Repeat("x", 3*maxLogLine))
	if got := ring.Lines(1)[0]; len(got) > maxLogLine+4 {
		t.Errorf("a line of %d bytes is kept", len(got))
	}
}

func TestLogRingIsSafeForManyGoroutines(t *testing.T) {
	ring := NewLogRing(50)
	loud := slog.New(ring.Handler(slog.NewTextHandler(new(bytes.Buffer), nil)))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 50 {
				loud.With("worker", i).Info("work", "k", k)
				ring.Lines(10)
			}
		})
	}
	wg.Wait()
	for _, l := range ring.Lines(0) {
		var worker, k int
		if _, err := fmt.Sscanf(l[strings.Index(l, "work "):], "work worker=%d k=%d", &worker, &k); err != nil {
			t.Fatalf("a mixed line: %q", l)
		}
	}
}
