package apps

import (
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"sync"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/trainers"
	proof "github.com/voxloop/voxloop/trainers/gate"
)

// holdOut remembers which subjects are held out and which have been trained on.
type holdOut struct {
	path  string
	rules *loopRules
	log   *slog.Logger

	mu    sync.Mutex
	state holdOutState
}

// holdOutState is what a restart finds. Share and salt stay as they were at
// first: another share would move subjects across the border.
type holdOutState struct {
	Share   float64           `json:"share"`
	Salt    string            `json:"salt"`
	Held    []string          `json:"held"`    // subjects
	Trained []string          `json:"trained"` // subjects
	Labels  map[string]string `json:"labels"`  // of held-out cases: SHA-256 of the label that judged last
}

func openHoldOut(path string, r *loopRules, log *slog.Logger) (*holdOut, error) {
	h := &holdOut{path: path, rules: r, log: log}
	err := loadJSON(path, &h.state)
	if errors.Is(err, fs.ErrNotExist) {
		h.state.Share = r.o.HoldOut.Share
		return h, nil
	}
	if err != nil {
		// Held-out subjects must not slip into a training because a file is damaged.
		return nil, fault.Wrap(fault.Unavailable, err, "%s/%s in the state folder cannot be read: it says which subjects must not be trained on; repair it, or remove it to draw the hold-out anew", loopDir, holdOutFile)
	}
	if h.state.Share != r.o.HoldOut.Share {
		log.Warn("the hold-out was drawn with another share, which stays", "share", h.state.Share, "configured", r.o.HoldOut.Share)
	}
	return h, nil
}

// subject is who a case is of.
func (r *loopRules) subject(id string, info *ordered.Map) string {
	for _, key := range []string{"subject", "PatientID"} {
		if s := info.String(key); s != "" {
			return s
		}
	}
	return r.subjectOf(id)
}

func (r *loopRules) subjectOf(id string) string {
	if r.pattern == nil {
		return id
	}
	m := r.pattern.FindStringSubmatch(id)
	for _, s := range slices.Backward(m[:min(2, len(m))]) {
		if s != "" {
			return s
		}
	}
	return id
}

// decide draws the hold-out for the subjects of a store and keeps it.
func (h *holdOut) decide(store datastore.Store) error {
	var subjects []string
	for img := range store.All() {
		subjects = append(subjects, h.rules.subject(img.ID, img.Info))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	draw := proof.HoldOut{Share: h.state.Share, Salt: h.state.Salt}
	held := draw.Fill(subjects, h.rules.o.HoldOut.Least, proof.Known{Held: h.state.Held, Trained: h.state.Trained})
	if slices.Equal(held, h.state.Held) {
		return nil
	}
	before := h.state
	h.state.Held = held
	if err := writeJSON(h.path, h.state); err != nil {
		h.state = before
		return err
	}
	h.log.Info("subjects are held out for judging models", "held", len(held), "subjects", len(subjects))
	return nil
}

// split parts cases into those to train on and those held out.
func (h *holdOut) split(cases []trainers.Case) (train, held []trainers.Case) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range cases {
		if _, out := slices.BinarySearch(h.state.Held, c.Subject); out {
			held = append(held, c)
		} else {
			train = append(train, c)
		}
	}
	return train, held
}

// trained remembers the subjects of a training. It must be kept before the
// training begins.
func (h *holdOut) trained(cases []trainers.Case) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := slices.Clone(h.state.Trained)
	for _, c := range cases {
		all = append(all, c.Subject)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if slices.Equal(all, h.state.Trained) {
		return nil
	}
	before := h.state
	h.state.Trained = all
	if err := writeJSON(h.path, h.state); err != nil {
		h.state = before
		return err
	}
	return nil
}

// corrected returns the held-out cases whose label has changed since the last
// judgement, and remembers the present labels.
func (h *holdOut) corrected(cases []trainers.Case) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var changed []string
	now := make(map[string]string, len(cases))
	for _, c := range cases {
		now[c.ID] = c.LabelSum
		if before, ok := h.state.Labels[c.ID]; ok && before != c.LabelSum {
			changed = append(changed, c.ID)
		}
	}
	h.state.Labels = now
	if err := writeJSON(h.path, h.state); err != nil {
		h.log.Warn("the labels that judge could not be remembered", "err", err)
	}
	return changed
}

// subjects returns how many are held out.
func (h *holdOut) subjects() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.state.Held)
}

// withSubjects names the subject of every case.
func (l *loop) withSubjects(cases []trainers.Case) []trainers.Case {
	for i := range cases {
		c := &cases[i]
		if img, err := l.app.store.Image(c.ID); err == nil {
			c.Subject = l.rules.subject(c.ID, img.Info)
		} else if c.Subject == "" {
			c.Subject = l.rules.subjectOf(c.ID)
		}
	}
	return cases
}

// holds tells whether subjects are held out: where no candidate is judged, every
// label is there to learn from.
func (l *loop) holds() bool {
	for _, p := range l.app.opts.Versions.Policy {
		if p == PublishBetter {
			return true
		}
	}
	return false
}

// trainable takes the held-out cases away. What it returns counts as trained
// on.
func (l *loop) trainable(cases []trainers.Case) ([]trainers.Case, int, error) {
	if !l.holds() {
		cases = l.withSubjects(cases)
		return cases, 0, l.held.trained(cases)
	}
	if err := l.held.decide(l.app.store); err != nil {
		return nil, 0, err
	}
	train, held := l.held.split(l.withSubjects(cases))
	return train, len(held), l.held.trained(train)
}
