package apps

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
)

// ShadowOptions say whether candidates run beside the version in service.
type ShadowOptions struct {
	On    bool // every candidate that is not put into service, until the next one or a swap
	Cases int  // after so many it has been seen enough; 0 means 50
}

const (
	shadowDir   = "shadow" // <model>/<version>.json
	shadowQueue = 8        // cases that wait for their turn
	shadowTries = 5        // a case that had to give way so often is left out
)

// Shadow is what a candidate would have answered on live cases, beside what the
// version in service did.
type Shadow struct {
	Model   string       `json:"model"`
	Version string       `json:"version"`
	Against string       `json:"against"`
	Begun   time.Time    `json:"begun"`
	Running bool         `json:"running"`
	Why     string       `json:"why,omitempty"` // it does not run any more
	Cases   []ShadowCase `json:"cases"`
	Dropped int          `json:"dropped"` // cases for which there was no time
}

// ShadowCase is one live case.
type ShadowCase struct {
	Image   string             `json:"image"`
	Time    time.Time          `json:"time"`
	Dice    map[string]float64 `json:"dice,omitempty"` // of both answers, by class
	Mean    float64            `json:"mean_dice"`
	Seconds float64            `json:"seconds"`
	Error   string             `json:"error,omitempty"`
}

// ShadowSummary is a Shadow in short.
type ShadowSummary struct {
	Against string  `json:"against"`
	Cases   int     `json:"cases"`
	Failed  int     `json:"failed"`
	Dropped int     `json:"dropped"`
	Mean    float64 `json:"mean_dice"`
	Least   float64 `json:"least_dice"`
	Running bool    `json:"running"`
}

// summary counts and averages the cases.
func (s *Shadow) summary() *ShadowSummary {
	o := &ShadowSummary{Against: s.Against, Cases: len(s.Cases), Dropped: s.Dropped, Running: s.Running, Least: 1}
	n := 0
	for _, c := range s.Cases {
		if c.Error != "" {
			o.Failed++
			continue
		}
		n++
		o.Mean += c.Mean
		o.Least = min(o.Least, c.Mean)
	}
	if n == 0 {
		o.Least = 0
		return o
	}
	o.Mean /= float64(n)
	return o
}

// shadows runs candidates on live cases, in turns of the background: a request
// for an inference ends what runs here. Nothing is shown or saved but how far
// both agree. It is safe for many goroutines.
type shadows struct {
	app  *App
	o    ShadowOptions
	dir  string
	log  *slog.Logger
	work chan proposed
	wg   sync.WaitGroup

	mu  sync.Mutex
	now map[string]*Shadow // by model
}

func newShadows(a *App, dir string, o ShadowOptions) *shadows {
	if o.Cases <= 0 {
		o.Cases = 50
	}
	return &shadows{app: a, o: o, dir: filepath.Join(dir, shadowDir), log: a.log, work: make(chan proposed, shadowQueue), now: map[string]*Shadow{}}
}

func (s *shadows) start(ctx context.Context) { s.wg.Go(func() { s.run(ctx) }) }

// begin lets a version run beside the one in service.
func (s *shadows) begin(model, version, against string) Shadow {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &Shadow{Model: model, Version: version, Against: against, Begun: time.Now().UTC(), Running: true, Cases: []ShadowCase{}}
	var earlier Shadow
	if loadJSON(s.file(model, version), &earlier) == nil && earlier.Against == against {
		x.Cases, x.Dropped = earlier.Cases, earlier.Dropped
	}
	s.end(model, "another candidate took its place")
	s.now[model] = x
	s.save(x)
	s.log.Info("a candidate runs in the shadow", "model", model, "version", version, "against", against)
	return x.clone()
}

func (s *Shadow) clone() Shadow {
	c := *s
	c.Cases = slices.Clone(s.Cases)
	return c
}

// stop ends the shadow of a model; false when there is none.
func (s *shadows) stop(model, why string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end(model, why)
}

// end needs the lock.
func (s *shadows) end(model, why string) bool {
	x := s.now[model]
	if x == nil {
		return false
	}
	delete(s.now, model)
	x.Running, x.Why = false, why
	s.save(x)
	return true
}

// save needs the lock.
func (s *shadows) save(x *Shadow) {
	if err := writeJSON(s.file(x.Model, x.Version), x); err != nil {
		s.log.Warn("what a candidate does in the shadow cannot be kept", "model", x.Model, "err", err)
	}
}

func (s *shadows) file(model, version string) string {
	return filepath.Join(s.dir, model, version+".json")
}

// offer gives a live case to the candidate, if it has room.
func (s *shadows) offer(p proposed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.now[p.model.Name]
	if x == nil || x.Against != p.model.Version || slices.ContainsFunc(x.Cases, func(c ShadowCase) bool { return c.Image == p.image }) {
		return
	}
	select {
	case s.work <- p:
	default:
		x.Dropped++
	}
}

// wanted returns the version that runs beside the one that answered; "": none
// does any more.
func (s *shadows) wanted(p proposed) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.now[p.model.Name]; x != nil && x.Against == p.model.Version {
		return x.Version
	}
	return ""
}

// add records a case; enough of them end the shadow.
func (s *shadows) add(model, version string, c *ShadowCase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.now[model]
	if x == nil || x.Version != version {
		return
	}
	if c == nil {
		x.Dropped++
	} else {
		x.Cases = append(x.Cases, *c)
	}
	if len(x.Cases) >= s.o.Cases {
		s.end(model, "it has been seen on enough cases")
		return
	}
	s.save(x)
}

// Shadow returns what a version of a model did in the shadow; "" means the one
// that runs, or ran last. Errors: fault.NotFound.
func (a *App) Shadow(model, version string) (Shadow, error) {
	s := a.loop.shadows
	none := fault.New(fault.NotFound, "no version of model %s ran in the shadow", clip(model))
	if !slices.ContainsFunc(a.refs, func(m ModelRef) bool { return m.Name == model }) {
		return Shadow{}, none
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.now[model]; x != nil && (version == "" || x.Version == version) {
		return x.clone(), nil
	}
	if version == "" {
		version = s.last(model)
	}
	var x Shadow
	if version != filepath.Base(version) || loadJSON(s.file(model, version), &x) != nil {
		return Shadow{}, none
	}
	x.Running = false
	return x, nil
}

// last is the version that began last. It needs the lock.
func (s *shadows) last(model string) (version string) {
	files, err := filepath.Glob(filepath.Join(s.dir, model, "*.json"))
	if err != nil {
		return ""
	}
	var begun time.Time
	for _, f := range files {
		var x Shadow
		if loadJSON(f, &x) == nil && x.Begun.After(begun) {
			version, begun = x.Version, x.Begun
		}
	}
	return version
}

// BeginShadow lets a version run beside the one in service from now on. It must
// be stored and pass its self-test. Errors: fault.NotFound, fault.Conflict when
// it serves, and those of the test.
func (a *App) BeginShadow(ctx context.Context, model, version string) (Shadow, error) {
	e, err := a.versions()
	if err != nil {
		return Shadow{}, err
	}
	c, err := a.ModelCard(model, version)
	switch {
	case err != nil:
		return Shadow{}, err
	case c.InService:
		return Shadow{}, fault.New(fault.Conflict, "version %s is in service: it needs no shadow", c.Version)
	case c.App:
		version = infer.AppVersion
	default:
		version = c.Version
	}
	if err := e.Test(ctx, model, version); err != nil {
		return Shadow{}, err
	}
	return a.loop.shadows.begin(model, c.Version, a.serving(model)), nil
}

// serving is the version of a model in service; "" when there is none.
func (a *App) serving(model string) string {
	if m, ok := a.engine.Model(model); ok && m.State == infer.Ready {
		return m.Version
	}
	return ""
}

// EndShadow ends it. Errors: fault.NotFound when none runs.
func (a *App) EndShadow(model string) error {
	if !a.loop.shadows.stop(model, "somebody ended it") {
		return fault.New(fault.NotFound, "no version of model %s runs in the shadow", clip(model))
	}
	return nil
}
