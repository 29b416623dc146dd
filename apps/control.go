package apps

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/strategies"
)

const (
	controlFile   = "control.json"
	controlPicks  = 10_000 // images whose labels are awaited
	controlLabels = 2_000  // compared labels that are kept of a strategy, on either side
	controlLeast  = 5      // labels on either side that a comparison needs
	controlDraws  = 2_000  // of the bootstrap
)

// control answers whether a strategy finds other images than chance does, out
// of the share of its picks that is drawn at random. What is compared is how
// wrong the model's proposal was: 1 - Dice with the label that was then saved.
// Both kinds of picks come in random turn, so that a model which gets better
// meanwhile does not favour either. It is safe for many goroutines.
type control struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	awaited map[string]controlPick // by image
	found   map[string]*controlFound
	changed bool
}

// controlPick is an image that was handed out and has no label yet.
type controlPick struct {
	Strategy string    `json:"strategy"`
	Control  bool      `json:"control"`
	Time     time.Time `json:"time"`
}

// controlFound are the errors of a strategy's own picks and of its random ones,
// the oldest first.
type controlFound struct {
	Own    []float64 `json:"own"`
	Random []float64 `json:"random"`
}

// controlKept is the file.
type controlKept struct {
	Awaited map[string]controlPick   `json:"awaited"`
	Found   map[string]*controlFound `json:"found"`
}

func openControl(path string, log *slog.Logger) *control {
	c := &control{path: path, log: log}
	var k controlKept
	if err := loadJSON(path, &k); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("what is known of control picks cannot be read; it is gathered anew", "err", err)
		k = controlKept{}
	}
	c.awaited, c.found = k.Awaited, k.Found
	if c.awaited == nil {
		c.awaited = map[string]controlPick{}
	}
	if c.found == nil {
		c.found = map[string]*controlFound{}
	}
	maps.DeleteFunc(c.found, func(_ string, f *controlFound) bool { return f == nil })
	return c
}

// picked notes a pick whose label will count. Those of a cold start are no picks
// of the strategy.
func (c *control) picked(image string, e *strategies.Explanation, now time.Time) {
	if e == nil || e.ColdStart || e.Again {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaited[image] = controlPick{Strategy: e.Strategy, Control: e.Control, Time: now.UTC()}
	c.changed = true
	if len(c.awaited) <= controlPicks {
		return
	}
	ids := slices.SortedFunc(maps.Keys(c.awaited), func(a, b string) int {
		return cmp.Or(c.awaited[a].Time.Compare(c.awaited[b].Time), cmp.Compare(a, b))
	})
	for _, id := range ids[:controlPicks/10] { // the oldest ones, some at a time
		delete(c.awaited, id)
	}
}

// labelled takes in how well a proposal agreed with the label that was saved.
func (c *control) labelled(image string, dice float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.awaited[image]
	if !ok {
		return
	}
	delete(c.awaited, image)
	f := c.found[p.Strategy]
	if f == nil {
		f = &controlFound{}
		c.found[p.Strategy] = f
	}
	side := &f.Own
	if p.Control {
		side = &f.Random
	}
	if *side = append(*side, 1-dice); len(*side) > controlLabels {
		*side = slices.Delete(*side, 0, len(*side)-controlLabels)
	}
	c.changed = true
}

// keep writes what has changed. Picks do not wait for the disk. One goroutine
// calls it at a time.
func (c *control) keep() {
	kept, changed := c.snapshot()
	if !changed {
		return
	}
	if err := writeJSON(c.path, kept); err != nil {
		c.log.Warn("what is known of control picks cannot be kept", "err", err)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed = true
	}
}

// snapshot returns a copy of what is known, and whether it is new since the
// last one.
func (c *control) snapshot() (controlKept, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.changed {
		return controlKept{}, false
	}
	c.changed = false
	k := controlKept{maps.Clone(c.awaited), make(map[string]*controlFound, len(c.found))}
	for name, f := range c.found {
		k.Found[name] = &controlFound{slices.Clone(f.Own), slices.Clone(f.Random)}
	}
	return k, true
}

// status compares every strategy that has labels of either kind.
func (c *control) status() *ordered.Map {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := &ordered.Map{}
	for _, name := range slices.Sorted(maps.Keys(c.found)) {
		f := c.found[name]
		m := ordered.Of("own", len(f.Own), "random", len(f.Random))
		if len(f.Own) > 0 {
			m.Set("own_error", mean(f.Own, same))
		}
		if len(f.Random) > 0 {
			m.Set("random_error", mean(f.Random, same))
		}
		out.Set(name, m.Set("answer", f.answer(m)))
	}
	return out
}

// answer puts the difference and its interval into m and says what it means.
func (f *controlFound) answer(m *ordered.Map) string {
	if len(f.Own) < controlLeast || len(f.Random) < controlLeast {
		return fmt.Sprintf("not known yet: %d labels of its own picks and %d of random ones; it takes %d of each", len(f.Own), len(f.Random), controlLeast)
	}
	low, high := differenceOfMeans(f.Own, f.Random)
	m.Set("difference", mean(f.Own, same)-mean(f.Random, same)).Set("low", low).Set("high", high)
	switch {
	case low > 0:
		return "yes: the model was more wrong on its picks than on random ones"
	case high < 0:
		return "no: the model was less wrong on its picks than on random ones"
	default:
		return "no difference that these labels can show"
	}
}

// differenceOfMeans is the 95 % percentile interval of the bootstrap of
// mean(a) - mean(b); the same values give the same interval.
func differenceOfMeans(a, b []float64) (low, high float64) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable by intent
	draw := func(v []float64) float64 {
		var sum float64
		for range v {
			sum += v[r.IntN(len(v))]
		}
		return sum / float64(len(v))
	}
	all := make([]float64, controlDraws)
	for i := range all {
		all[i] = draw(a) - draw(b)
	}
	slices.Sort(all)
	return all[controlDraws*25/1000], all[controlDraws*975/1000-1]
}

func same(v float64) float64 { return v }

// accepted tells what a saved label says about the proposal before it: of the
// version that made it, and of the strategy that had the image labelled.
func (l *loop) accepted(model, version string, a accepted) {
	l.watch.accepted(model, version, a)
	if s := l.app.selection; s != nil && model == s.model {
		s.control.labelled(a.Image, a.Dice)
	}
}
