package apps

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/strategies"
)

func TestControl(t *testing.T) {
	path := filepath.Join(t.TempDir(), "selection", controlFile)
	c := openControl(path, quiet())
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	pick := func(i int, random bool) string {
		id := fmt.Sprintf("%03d-%v", i, random)
		c.picked(id, &strategies.Explanation{Strategy: "bald", Control: random}, now)
		return id
	}
	about := func() *ordered.Map { t.Helper(); return c.status().Sub("bald") }
	for i := range 4 {
		c.labelled(pick(i, false), 0.7+0.01*float64(i))
		c.labelled(pick(i, true), 0.9+0.01*float64(i))
	}
	if a := about().String("answer"); !strings.Contains(a, "not known yet: 4 labels") {
		t.Errorf("4 labels of each: %q", a)
	}
	own, random := pick(4, false), pick(4, true)
	c.keep()
	c = openControl(path, quiet()) // a restart forgets nothing
	c.labelled(own, 0.7)
	c.labelled(random, 0.9)
	c.labelled(own, 0.1)       // the second label of an image is a correction
	c.labelled("unasked", 0.1) // nobody picked it
	m := about()
	if a := m.String("answer"); !strings.HasPrefix(a, "yes") {
		t.Errorf("%v", m)
	}
	// Errors: own 0.30 … 0.27 and 0.3, random 0.10 … 0.07 and 0.1.
	if d, _ := m.Get("difference"); d.(float64) < 0.1999 || d.(float64) > 0.2001 {
		t.Errorf("difference %v", d)
	}
	low, _ := m.Get("low")
	high, _ := m.Get("high")
	if l, h := low.(float64), high.(float64); !(l > 0.18 && l < 0.2 && h > 0.2 && h < 0.22) {
		t.Errorf("interval %v to %v", l, h)
	}
	for i := range 20 { // its picks become easy: on the whole nothing can be said, then the opposite
		c.labelled(pick(100+i, false), 0.99)
		if i == 3 && !strings.HasPrefix(about().String("answer"), "no difference") {
			t.Errorf("after 4 easy ones: %v", about())
		}
	}
	if a := about().String("answer"); !strings.HasPrefix(a, "no difference") && !strings.HasPrefix(a, "no:") {
		t.Errorf("%q", a)
	}
	for i := range controlLabels {
		c.labelled(pick(1000+i, false), 0.99)
	}
	if m := about(); !strings.HasPrefix(m.String("answer"), "no:") || len(c.found["bald"].Own) != controlLabels {
		t.Errorf("%v, %d kept", m, len(c.found["bald"].Own))
	}
}

// Picks that say nothing about the strategy do not count; memory is bounded; a
// damaged file is no reason to stop.
func TestControlBounds(t *testing.T) {
	path := filepath.Join(t.TempDir(), controlFile)
	if err := os.WriteFile(path, []byte(`{"awaited":7`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := openControl(path, quiet())
	now := time.Now()
	c.picked("a", nil, now)
	c.picked("b", &strategies.Explanation{Strategy: "bald", ColdStart: true}, now)
	c.picked("c", &strategies.Explanation{Strategy: "bald", Again: true}, now)
	if len(c.awaited) != 0 {
		t.Errorf("%v", c.awaited)
	}
	for i := range controlPicks + 5 {
		c.picked(fmt.Sprint(i), &strategies.Explanation{Strategy: "bald"}, now.Add(time.Duration(i)))
	}
	if _, first := c.awaited["4"]; first || len(c.awaited) > controlPicks || len(c.awaited) < controlPicks*9/10 {
		t.Errorf("%d picks are awaited, the oldest among them: %v", len(c.awaited), first)
	}
}
