package apps

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/datastore/local"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/strategies"
)

// Engine runs models by name; infer.Registry is one. It is safe for many
// goroutines.
type Engine interface {
	Models() []infer.Info
	Model(name string) (infer.Info, bool)
	// Wait returns when the named model is ready or has failed; "" waits for all.
	Wait(ctx context.Context, name string) error
	Infer(ctx context.Context, name string, in infer.Input, o infer.Options) (*infer.Output, error)
	Close() error
}

// App is a running app. It is safe for many goroutines.
type App struct {
	opts Options
	log  *slog.Logger
	file File
	fsys fs.FS
	refs []ModelRef

	store      datastore.Store
	engine     Engine
	strategies []strategies.Strategy
	scoring    []scoringMethod
	background *background
	events     *events
	webhook    *webhook
	selection  *selection
	sessions   *Sessions
	training   *training
	tasks      Tasks
	loop       *loop
	metrics    *metrics
	gate       gate
	tmp        string // folder of temp files
	cancelSub  func()
	cancelSwap func()
	close      func() error
}

// Open starts an app: it opens the data store, which takes the lock of the
// state folder, and loads the models in the background. Close ends it.
func Open(ctx context.Context, o Options) (*App, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &App{opts: o, log: o.Logger, fsys: o.FS}
	if o.Dir != "" {
		a.fsys = os.DirFS(o.Dir)
	}
	if a.file, err = ReadFile(a.fsys); err != nil {
		return nil, err
	}
	a.override()
	if a.refs, err = o.choose(a.file); err != nil {
		return nil, err
	}
	if err := a.openSelection(); err != nil {
		return nil, err
	}
	if a.scoring, err = chooseScoring(a.file, a.builtinScoring()); err != nil {
		return nil, err
	}
	if err := a.openStore(ctx); err != nil {
		return nil, err
	}
	if a.engine = o.Engine; a.engine == nil {
		a.engine = a.openEngine()
	}
	if err := a.start(); err != nil {
		return nil, errors.Join(err, a.engine.Close(), a.store.Close())
	}
	return a, nil
}

// override puts the options' texts in place of app.yaml's.
func (a *App) override() {
	for _, t := range []struct {
		dst *string
		src string
	}{{&a.file.Name, a.opts.Name}, {&a.file.Description, a.opts.Description}, {&a.file.Version, a.opts.Version}} {
		if t.src != "" {
			*t.dst = t.src
		}
	}
}

func (a *App) openStore(ctx context.Context) error {
	exts := a.opts.Extensions
	if len(exts) == 0 {
		exts = []string{".nii.gz", ".nii", ".nrrd"}
	}
	s, err := local.Open(ctx, local.Options{
		Studies: a.opts.Studies, State: a.opts.State, ReadOnly: a.opts.ReadOnly,
		Extensions: exts, Validate: a.validate, Rescan: a.opts.Rescan, Logger: a.log,
	})
	if err != nil {
		return err
	}
	a.store = s
	return nil
}

// start brings up what stands on the data store and the engine.
func (a *App) start() (err error) {
	if a.tmp, err = prepareTemp(filepath.Join(a.opts.State, "cache")); err != nil {
		return err
	}
	a.events = newEvents(time.Now())
	hook, err := a.opts.Webhook.check()
	if err != nil {
		return err
	}
	a.webhook = newWebhook(hook, a.file.Name, filepath.Join(a.opts.State, webhookFile), a.events, a.log)
	a.metrics = newMetrics(func(name string) bool { _, ok := a.engine.Model(name); return ok })
	swaps := newSwapMetrics()
	a.cancelSwap = func() {}
	if v, ok := a.engine.(versioner); ok {
		a.cancelSwap = v.Subscribe(func(model string, s infer.Swap) {
			swaps.swapped(model, s)
			a.events.swapped(model, s)
			a.selection.swapped(model, s)
		})
	}
	a.gate.limit = int64(a.opts.Limits.QueueLength)
	a.background = newBackground(&a.gate)
	if err := register(a.opts.Metrics, a.metrics.total, a.metrics.stage, swaps.swaps, swaps.seconds, newCollector(a), newVersionCollector(a.engine), a.webhook.sent); err != nil {
		return err
	}
	if err := register(a.opts.Metrics, append(a.events.collectors(), a.selection.count.collectors()...)...); err != nil {
		return err
	}
	a.sessions, err = openSessions(filepath.Join(a.opts.State, "sessions"), a.opts.Sessions, a.opts.Limits.MaxUpload, a.log)
	if err != nil {
		return err
	}
	if a.training, err = openTraining(a); err != nil {
		return err
	}
	if a.loop, err = openLoop(a); err != nil {
		a.training.close()
		return err
	}
	if a.tasks, err = a.openTasks(); err != nil {
		a.training.close()
		a.loop.close()
		return err
	}
	if err := a.webhook.start(); err != nil {
		return err
	}
	a.loop.start()
	a.cancelSub = a.store.Subscribe(func(e datastore.Event) {
		a.selection.index.Handle(indexEvent(e))
		a.selection.event(e)
		a.loop.event(e)
		a.events.stored(e)
	})
	a.selection.start()
	a.close = sync.OnceValue(a.shutdown)
	return nil
}

// indexEvent tells the selection index what an event means to it.
func indexEvent(e datastore.Event) strategies.Event {
	_, labelled := e.Image.Label(datastore.TagFinal)
	return strategies.Event{
		ID: e.Image.ID, Gone: e.Kind == datastore.ImageRemoved, Labelled: labelled,
		Quarantined: e.Image.Quarantined != "", Served: strategies.ServedTimes(e.Image.Info),
	}
}

// Close stops everything and makes the data store durable. It is safe to call
// twice.
func (a *App) Close() error { return a.close() }

func (a *App) shutdown() error {
	a.cancelSub()
	a.cancelSwap()
	a.sessions.close()
	a.selection.close()
	a.loop.close()
	a.tasks.close()
	a.training.close()
	a.events.close()
	a.webhook.close()
	err := errors.Join(a.engine.Close(), a.store.Close())
	_ = os.RemoveAll(a.tmp)
	return err
}

// Store returns the data store.
func (a *App) Store() datastore.Store { return a.store }

// Sessions returns the temporary images.
func (a *App) Sessions() *Sessions { return a.sessions }

// Tasks returns the queues of long work.
func (a *App) Tasks() Tasks { return a.tasks }

// Logs returns the kept lines of the log.
func (a *App) Logs() *LogRing { return a.opts.Logs }

// Limits returns what one request may cost.
func (a *App) Limits() Limits { return a.opts.Limits }

// Wait returns when every model is ready or has failed, and it is known which
// of them can learn.
func (a *App) Wait(ctx context.Context) error {
	err := a.engine.Wait(ctx, "")
	if _, terr := a.Trainers(ctx); err == nil {
		err = terr
	}
	return err
}

// StateDir returns the folder of the app's own state.
func (a *App) StateDir() string { return a.opts.State }

// StudiesDir returns the folder of the images.
func (a *App) StudiesDir() string { return a.opts.Studies }
