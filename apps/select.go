package apps

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/strategies"
)

// Files below the state folder.
const (
	selectionDir = "selection"   // <model>.jsonl: observations
	leasesFile   = "leases.json" // who held what when the server stopped
)

// measurer is an Engine that can tell how sure a model is; infer.Registry is
// one.
type measurer interface {
	Measure(ctx context.Context, name string, in infer.Input, o infer.Options, s infer.Sampling) (*infer.Measured, error)
}

var _ measurer = (*infer.Registry)(nil)

// selection keeps the index of images current: what the model in service shows
// of every image that may be handed out. It is safe for many goroutines.
type selection struct {
	app     *App
	o       SelectionOptions
	rules   LookRules
	model   string
	index   *strategies.Index
	file    *looksFile
	log     *slog.Logger
	count   *selectMetrics
	control *control

	wake  chan struct{} // something may want a look
	plan  chan struct{} // plans of strategies may be used up
	ready chan struct{} // closed when the earlier observations are in the index

	mu       sync.Mutex
	hurry    int             // tasks that wait for images to be scored
	allow    int             // images that a task still wants; less than 0: all
	round    uint64          // how often nothing was left to look at
	gone     []string        // images whose observations count no longer
	flight   map[string]bool // images that are being looked at
	version  string          // of the model in service, as the index knows it
	tried    map[string]bool // images that this version failed on
	failures []keptLook      // that are not told to the index: perhaps it is the model
	seen     int             // looks of this version that went well
	looks    int             // looks that went well, ever
	blocked  string          // why this version scores nothing
	begun    time.Time       // of the present run of looks; zero: nothing was left
	run      int             // looks of that run

	held []strategies.Lease // as they are on the disk; of restore, then prepare, then close

	ctx    context.Context //nolint:containedctx // ends the background's work; close cancels it
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// newSelection makes the selection of an app without its work, which begins
// with start.
func newSelection(a *App, rules LookRules, x *strategies.Index) *selection {
	o := a.opts.Selection
	model := o.Model
	if model == "" && len(a.refs) > 0 {
		model = a.refs[0].Name
	}
	s := &selection{
		app: a, o: o, rules: rules, model: model, index: x, log: a.log,
		file: &looksFile{path: filepath.Join(a.opts.State, selectionDir, model+".jsonl")},
		wake: make(chan struct{}, 1), plan: make(chan struct{}, 1), ready: make(chan struct{}),
		flight: map[string]bool{}, tried: map[string]bool{},
	}
	s.count = newSelectMetrics(s)
	s.control = openControl(filepath.Join(a.opts.State, selectionDir, controlFile), a.log)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// start begins the work. The index knows the images by then.
func (s *selection) start() {
	s.index.UseModel(s.model)
	s.wg.Go(func() {
		s.restore()
		close(s.ready)
		s.work(s.ctx)
	})
	s.wg.Go(func() { s.prepare(s.ctx) })
}

func (s *selection) close() {
	s.cancel()
	s.wg.Wait()
	s.control.keep()
	if err := s.keepLeases(); err != nil {
		s.log.Warn("leases are not kept", "err", err)
	}
	if err := s.file.Close(); err != nil {
		s.log.Warn("the observations' file was not closed cleanly", "err", err)
	}
}

func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// event takes in a change of the data store. The index knows it already.
func (s *selection) event(e datastore.Event) {
	switch e.Kind {
	case datastore.ImageRemoved, datastore.ImageChanged: // what was seen of it is of another image
		if e.Kind == datastore.ImageChanged {
			s.index.Handle(strategies.Event{ID: e.Image.ID, Gone: true})
			s.index.Handle(indexEvent(e))
		}
		s.mu.Lock()
		s.gone = append(s.gone, e.Image.ID)
		delete(s.tried, e.Image.ID)
		s.mu.Unlock()
	case datastore.LabelSaved:
		if e.Tag == datastore.TagFinal {
			s.index.Spent(e.Image.ID, annotationTime(e.Image))
		}
	case datastore.ImageAdded, datastore.LabelRemoved, datastore.Served, datastore.InfoChanged:
	}
	if e.Kind != datastore.Served {
		nudge(s.wake)
	}
	nudge(s.plan)
}

// mostAnnotation is the longest time from hand-out to label that counts as work.
const mostAnnotation = 2 * time.Hour

// annotationTime is how many seconds a person had an image before its final
// label was saved; 0 when that is unknown or cannot have been work.
func annotationTime(img datastore.Image) float64 {
	l, ok := img.Label(datastore.TagFinal)
	if !ok || l.Info.String("model") != "" {
		return 0
	}
	ts, _ := l.Info.Get("ts")
	saved, ok := asFloat(ts)
	if !ok {
		return 0
	}
	best := 0.0
	for _, served := range strategies.ServedTimes(img.Info) {
		if d := saved - float64(served); d > 0 && d <= mostAnnotation.Seconds() && (best == 0 || d < best) {
			best = d
		}
	}
	return best
}

// swapped is told that a version went into service.
func (s *selection) swapped(model string, sw infer.Swap) {
	if model == s.model && sw.Refused == "" {
		nudge(s.wake)
	}
}

// restore gives the index what earlier servers saw, who held what, and how long
// annotations took.
func (s *selection) restore() {
	s.serve()
	n := 0
	err := s.file.load(func(k keptLook) bool {
		img, err := s.app.store.Image(k.Look.Image)
		if err != nil || s.ctx.Err() != nil {
			return err == nil // a stopped start forgets nothing
		}
		if stamp, err := fileStamp(img); err != nil || stamp != k.Stamp || k.Look.Model != s.model {
			return false
		}
		n++
		return s.index.Put(k.Look) == nil
	})
	if err != nil {
		s.log.Warn("earlier observations cannot be read; they are made again", "err", err)
		if err := os.Remove(s.file.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("their file is left", "err", err)
		}
		s.file.last, s.file.lines = map[string]int{}, 0
	}
	for img := range s.app.store.All() {
		s.index.Spent(img.ID, annotationTime(img))
	}
	var held []strategies.Lease
	if err := loadJSON(s.leasesPath(), &held); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("earlier leases cannot be read", "err", err)
	}
	s.index.Restore(held, time.Now())
	s.held = s.index.Leases(time.Now())
	s.log.Debug("observations restored", "model", s.model, "images", n)
}

func (s *selection) leasesPath() string {
	return filepath.Join(s.app.opts.State, selectionDir, leasesFile)
}

// keepLeases writes who holds what, when it has changed. One goroutine calls it
// at a time.
func (s *selection) keepLeases() error {
	held := s.index.Leases(time.Now())
	if slices.Equal(held, s.held) {
		return nil
	}
	s.held = held
	if len(held) == 0 {
		if err := os.Remove(s.leasesPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return writeJSON(s.leasesPath(), held)
}

// serve tells the index which version is in service and how many trainings it
// has behind it. ok is false while none can be used.
func (s *selection) serve() (ok bool) {
	m, found := s.app.engine.Model(s.model)
	if !found || m.State != infer.Ready || m.Version == "" {
		return false
	}
	s.mu.Lock()
	known := s.version == m.Version
	s.mu.Unlock()
	if known {
		return true
	}
	round := 0
	if v, is := s.app.engine.(versioner); is {
		if history, err := v.History(s.model); err == nil {
			for _, sw := range history {
				if sw.Origin == infer.OriginTraining && sw.Refused == "" {
					round++
				}
			}
		}
	}
	s.index.Serve(s.model, m.Version, round)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version, s.tried, s.failures, s.seen, s.blocked = m.Version, map[string]bool{}, nil, 0, ""
	return true
}

const (
	planEvery   = 100 * time.Millisecond // at most
	leasesEvery = 2 * time.Second
)

// prepare makes plans ahead for strategies that need long, whenever images or
// scores have changed, and keeps the leases.
func (s *selection) prepare(ctx context.Context) {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return
	}
	var kept time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.plan:
		}
		strategies.Prepare(ctx, s.app.strategies)
		if time.Since(kept) > leasesEvery {
			kept = time.Now()
			s.control.keep()
			if err := s.keepLeases(); err != nil {
				s.log.Warn("leases are not kept", "err", err)
			}
		}
		if err := pause(ctx, planEvery); err != nil {
			return
		}
	}
}
