package apps

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// RollbackOptions say when a version that has gone into service is taken out of
// it again by itself. The zero value of a field means the default in brackets.
type RollbackOptions struct {
	Off      bool
	Errors   float64 // share of inferences that fail by the network's or the server's fault [0.2]
	Requests int     // fewest inferences for that [10]
	Dice     float64 // by how much the Dice of proposals with the labels then saved may fall [0.1]
	Labels   int     // fewest such labels, of this version and of the one before [5]
}

func (o RollbackOptions) check() (RollbackOptions, error) {
	if o.Errors == 0 {
		o.Errors = 0.2
	}
	if o.Requests == 0 {
		o.Requests = 10
	}
	if o.Dice == 0 {
		o.Dice = 0.1
	}
	if o.Labels == 0 {
		o.Labels = 5
	}
	if !(o.Errors > 0 && o.Errors <= 1) || !(o.Dice > 0 && o.Dice <= 1) || o.Requests < 0 || o.Labels < 0 {
		return o, fault.New(fault.Invalid, "loop.rollback: errors %g and dice %g must lie in (0, 1], requests %d and labels %d above 0", o.Errors, o.Dice, o.Requests, o.Labels)
	}
	return o, nil
}

const (
	watchFile   = "watch.json"
	watchWindow = 50 // latest inferences and labels that count
)

// watch looks after versions in service: how often they fail, and how much of
// what they propose people keep. It is safe for many goroutines.
type watch struct {
	app  *App
	o    RollbackOptions
	path string
	log  *slog.Logger
	wg   sync.WaitGroup

	mu     sync.Mutex
	models map[string]*watched
	closed bool
}

// watched is what a restart finds about one model.
type watched struct {
	Version   string            `json:"version"` // in service
	Against   string            `json:"against"` // before it; "": it is not watched, nothing is there to go back to
	Usage     map[string]*usage `json:"usage"`   // of these two
	Withdrawn map[string]string `json:"withdrawn,omitempty"`
	rolling   bool              // a rollback is under way
}

// usage is what a version did for people.
type usage struct {
	Failed   []bool     `json:"failed"`   // the latest inferences, oldest first
	Accepted []accepted `json:"accepted"` // the latest labels that were saved after a proposal
}

// accepted compares a proposal with the label that was then saved.
type accepted struct {
	Image   string    `json:"image"`
	Time    time.Time `json:"time"`
	Dice    float64   `json:"dice"`           // mean over the classes of either
	Changed int       `json:"changed_voxels"` // that differ
}

func openWatch(a *App, dir string, o RollbackOptions) *watch {
	w := &watch{app: a, o: o, path: filepath.Join(dir, watchFile), log: a.log, models: map[string]*watched{}}
	if err := loadJSON(w.path, &w.models); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.log.Warn("what was known of versions in service cannot be read; it is gathered anew", "err", err)
		w.models = map[string]*watched{}
	}
	return w
}

// of needs the lock.
func (w *watch) of(model string) *watched {
	m := w.models[model]
	if m == nil {
		m = &watched{}
		w.models[model] = m
	}
	if m.Usage == nil {
		m.Usage = map[string]*usage{}
	}
	if m.Withdrawn == nil {
		m.Withdrawn = map[string]string{}
	}
	return m
}

// use returns the usage of one of the versions that count. It needs the lock.
func (m *watched) use(version string) *usage {
	u := m.Usage[version]
	if u == nil {
		u = &usage{}
		m.Usage[version] = u
	}
	return u
}

// save needs the lock.
func (w *watch) save() {
	if err := writeJSON(w.path, w.models); err != nil {
		w.log.Warn("what is known of versions in service cannot be kept", "err", err)
	}
}

// swapped begins to watch a version.
func (w *watch) swapped(model string, s infer.Swap) {
	if s.Refused != "" {
		return
	}
	from, to := w.id(model, s.From), w.id(model, s.To)
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.of(model)
	m.Version, m.Against = to, from
	switch s.Origin {
	case infer.OriginRollback, infer.OriginStart:
		m.Against = "" // it was there before
	case infer.OriginOperator:
		delete(m.Withdrawn, to) // somebody wants it all the same
	default:
	}
	if m.Against != "" {
		delete(m.Usage, to) // it begins anew
	}
	for v := range m.Usage {
		if v != m.Version && v != m.Against {
			delete(m.Usage, v)
		}
	}
	w.save()
}

// id is the hash of the app's own version where a swap calls it by its name.
func (w *watch) id(model, version string) string {
	if version != infer.AppVersion {
		return version
	}
	if e, err := w.app.versions(); err == nil {
		if all, err := e.Versions(model); err == nil {
			if i := slices.IndexFunc(all, func(v infer.Version) bool { return v.App }); i >= 0 {
				return all[i].ID
			}
		}
	}
	return version
}

// inferred counts an inference of a version.
func (w *watch) inferred(model, version string, err error) {
	if err != nil && fault.KindOf(err) != fault.Internal {
		return // the request's fault, or nobody's
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.of(model)
	if m.Version == "" {
		m.Version = version
	}
	if version != m.Version {
		return // of a request that began before the swap
	}
	u := m.use(version)
	u.Failed = latest(append(u.Failed, err != nil))
	if err != nil {
		w.save()
		w.check(model, m)
	}
}

// accepted counts a label that was saved after a proposal.
func (w *watch) accepted(model, version string, a accepted) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.of(model)
	if version != m.Version && version != m.Against {
		return
	}
	u := m.use(version)
	u.Accepted = latest(append(slices.DeleteFunc(u.Accepted, func(x accepted) bool { return x.Image == a.Image }), a))
	w.save()
	w.check(model, m)
}

func latest[T any](s []T) []T { return s[max(0, len(s)-watchWindow):] }

// check takes the version out of service when it has shown that it must. It
// needs the lock.
func (w *watch) check(model string, m *watched) {
	why := w.fault(m)
	if why == "" || w.o.Off || m.rolling || w.closed {
		return
	}
	m.rolling = true
	version := m.Version
	w.wg.Go(func() {
		err := w.rollBack(model, version, why)
		w.mu.Lock()
		defer w.mu.Unlock()
		m.rolling = false
		if err != nil {
			m.Against = "" // do not try with every request
			w.log.Error("a version should be taken out of service and cannot", "model", model, "version", version, "why", why, "err", err)
		}
		w.save()
	})
}

// fault says why a version must not stay in service; "": nothing is known
// against it.
func (w *watch) fault(m *watched) string {
	now, before := m.Usage[m.Version], m.Usage[m.Against]
	if now == nil || m.Against == "" {
		return ""
	}
	if before == nil {
		before = &usage{}
	}
	if n, was := len(now.Failed), before.rate(); n >= w.o.Requests && now.rate() > w.o.Errors && (len(before.Failed) < w.o.Requests || now.rate() > was+w.o.Errors/2) {
		return fmt.Sprintf("%.0f %% of %d inferences failed (allowed %.0f %%), %.0f %% of %d with the version before", 100*now.rate(), n, 100*w.o.Errors, 100*was, len(before.Failed))
	}
	if a, b := len(now.Accepted), len(before.Accepted); a >= w.o.Labels && b >= w.o.Labels && now.dice() < before.dice()-w.o.Dice {
		return fmt.Sprintf("labels saved after its proposals have a mean Dice of %.3f with them (%d labels, %.0f voxels changed on average), %.3f with the version before (%d labels, %.0f voxels changed); allowed is a fall by %g",
			now.dice(), a, now.changed(), before.dice(), b, before.changed(), w.o.Dice)
	}
	return ""
}

func (u *usage) rate() float64 {
	n := 0
	for _, f := range u.Failed {
		if f {
			n++
		}
	}
	return float64(n) / float64(max(1, len(u.Failed)))
}

func (u *usage) dice() float64 {
	return mean(u.Accepted, func(a accepted) float64 { return a.Dice })
}

func (u *usage) changed() float64 {
	return mean(u.Accepted, func(a accepted) float64 { return float64(a.Changed) })
}

// mean of a quantity; 0 of nothing.
func mean[T any](s []T, of func(T) float64) float64 {
	var sum float64
	for _, x := range s {
		sum += of(x)
	}
	return sum / float64(max(1, len(s)))
}

// rollBack withdraws a version, so that nothing but a person's wish puts it into
// service again, and brings the one before back.
func (w *watch) rollBack(model, version, why string) error {
	e, err := w.app.versions()
	if err != nil {
		return err
	}
	all, err := e.Versions(model)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(v infer.Version) bool { return v.InService })
	switch {
	case i < 0 || all[i].ID != version:
		return nil // somebody was faster
	case all[i].Pinned:
		return fault.New(fault.Conflict, "version %s is pinned", version)
	}
	w.mu.Lock()
	w.of(model).Withdrawn[version] = why
	w.save()
	w.mu.Unlock()
	_, err = e.Rollback(w.app.loop.ctx, model, infer.Cause{Reason: "by itself: " + why})
	return err
}

// withdrawn says why a version must not go into service by itself; "": it may.
func (w *watch) withdrawn(model, version string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.of(model).Withdrawn[version]
}

// object tells people how the versions in service do.
func (w *watch) object() *ordered.Map {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := &ordered.Map{}
	for _, ref := range w.app.refs {
		m := w.models[ref.Name]
		if m == nil {
			continue
		}
		o := ordered.Of("version", m.Version, "in_service", m.Usage[m.Version].object(), "against", m.Against, "before", m.Usage[m.Against].object())
		withdrawn := &ordered.Map{}
		for v, why := range m.Withdrawn {
			withdrawn.Set(v, why)
		}
		out.Set(ref.Name, o.Set("withdrawn", withdrawn))
	}
	return out
}

func (u *usage) object() *ordered.Map {
	if u == nil {
		return nil
	}
	o := ordered.Of("inferences", len(u.Failed), "failed", u.rate(), "labels", len(u.Accepted))
	if len(u.Accepted) > 0 {
		o.Set("dice", u.dice()).Set("changed_voxels", u.changed())
	}
	return o
}

// close waits for a rollback under way; the loop's context ends it.
func (w *watch) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wg.Wait()
}
