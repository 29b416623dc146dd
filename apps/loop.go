package apps

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/trainers/schedule"
)

// Files below the state folder.
const (
	loopDir      = "loop"
	scheduleFile = "schedule.json"
	holdOutFile  = "holdout.json"
	verdictsDir  = "verdicts" // <model>/<version>.json
)

// loop trains on schedule, keeps subjects for judging and judges candidates. It
// is safe for many goroutines.
type loop struct {
	app   *App
	rules *loopRules
	dir   string
	log   *slog.Logger

	clock     *schedule.Clock
	held      *holdOut
	judge     sync.Mutex // one candidate is judged at a time
	watch     *watch
	proposals *proposals
	shadows   *shadows
	unhear    func() // of swaps

	labels   atomic.Int64  // new ones that the clock does not know yet
	labelled chan struct{} // told of them
	counting sync.WaitGroup

	ctx    context.Context //nolint:containedctx // ends the watch over a scheduled training; close cancels it
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// openLoop reads what earlier servers left. The schedule begins with start.
func openLoop(a *App) (*loop, error) {
	rules, err := a.opts.Loop.check()
	if err != nil {
		return nil, err
	}
	l := &loop{labelled: make(chan struct{}, 1), app: a, rules: rules, dir: filepath.Join(a.opts.State, loopDir), log: a.log}
	if l.held, err = openHoldOut(filepath.Join(l.dir, holdOutFile), rules, a.log); err != nil {
		return nil, err
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.watch, l.shadows, l.unhear = openWatch(a, l.dir, rules.o.Rollback), newShadows(a, l.dir, rules.o.Shadow), func() {}
	l.proposals = newProposals(a, l.shadows.offer, l.accepted)
	return l, nil
}

// start begins the schedule. Trainings that an earlier server began and that go
// on hold it back.
func (l *loop) start() {
	l.proposals.start(l.ctx)
	l.shadows.start(l.ctx)
	if e, err := l.app.versions(); err == nil {
		l.unhear = e.Subscribe(l.swapped)
	}
	var s schedule.State
	if err := loadJSON(filepath.Join(l.dir, scheduleFile), &s); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.log.Warn("the state of the schedule cannot be read; it begins anew", "err", err)
	}
	var resumed []string
	for _, t := range l.app.tasks.Train.All() {
		if !t.Finished() {
			resumed = append(resumed, t.ID)
		}
	}
	l.clock = schedule.NewClock(l.rules.rules, s, schedule.Hooks{
		Start: l.train, Resumed: len(resumed) > 0, Logger: l.log,
		Save: func(s schedule.State) error { return writeJSON(filepath.Join(l.dir, scheduleFile), s) },
	})
	l.counting.Go(l.countLabels)
	if len(resumed) == 0 {
		return
	}
	l.wg.Go(func() {
		defer l.clock.Ended()
		for _, id := range resumed {
			l.wait(id)
		}
	})
}

func (l *loop) close() {
	l.cancel()
	l.counting.Wait()
	if l.clock != nil {
		l.clock.Close()
	}
	l.unhear()
	l.proposals.wg.Wait()
	l.shadows.wg.Wait()
	l.watch.close()
	l.wg.Wait()
}

// swapped hears of versions that went into service, or could not.
func (l *loop) swapped(model string, s infer.Swap) {
	l.watch.swapped(model, s)
	if s.Refused == "" {
		l.shadows.stop(model, "version "+s.To+" went into service")
	}
	l.writeCard(model, s)
}

// inferred hears of an inference that came to its end, or failed. answered is
// empty where nothing is to be remembered of it.
func (l *loop) inferred(model infer.Info, err error, answered *answer) {
	l.watch.inferred(model.Name, model.Version, err)
	if err == nil && answered != nil {
		l.proposals.offer(*answered)
	}
}

// event counts new labels.
func (l *loop) event(e datastore.Event) {
	if l.clock != nil && e.Kind == datastore.LabelSaved && e.Tag == datastore.TagFinal {
		l.labels.Add(1)
		nudge(l.labelled)
		l.proposals.label(e.Image.ID)
	}
}

// countLabels tells the clock of new labels: it writes to the disk, for which
// the data store must not wait.
func (l *loop) countLabels() {
	for {
		for range l.labels.Swap(0) {
			l.clock.Labelled()
		}
		select {
		case <-l.labelled:
		case <-l.ctx.Done():
			for range l.labels.Swap(0) {
				l.clock.Labelled()
			}
			return
		}
	}
}

// train starts a training of every model of the loop, one after the other, and
// tells the clock when the last one has ended.
func (l *loop) train(cause string) error {
	names, err := l.models(l.ctx)
	if err != nil {
		return err
	}
	l.wg.Go(func() {
		defer l.clock.Ended()
		for _, name := range names {
			if l.ctx.Err() != nil {
				return
			}
			if err := l.trainOne(name, cause); err != nil {
				l.log.Warn("a scheduled training did not take place", "model", name, "cause", cause, "err", err)
			}
		}
	})
	return nil
}

func (l *loop) models(ctx context.Context) ([]string, error) {
	if len(l.rules.o.Models) > 0 {
		return l.rules.o.Models, nil
	}
	return l.app.Trainers(ctx)
}

// trainOne submits a training and waits for its end. The training outlives the
// loop: a server that is shut down takes it up again.
func (l *loop) trainOne(name, cause string) error {
	config, err := asMap(l.rules.o.Config)
	if err != nil {
		return err
	}
	request := ordered.Of("model", name, "name", cause, "minutes", l.rules.o.Minutes, "config", config)
	if err := l.app.CheckTraining(l.ctx, request); err != nil {
		return err
	}
	t, err := l.app.tasks.Train.Start(request, true)
	if err != nil {
		return err
	}
	l.wait(t.ID)
	return nil
}

// wait returns at the end of a training, or of the loop.
func (l *loop) wait(id string) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-tick.C:
		}
		if now, ok := task(l.app.tasks.Train, id); !ok || now.Finished() {
			return
		}
	}
}

// asMap returns a value as the object that it is in JSON.
func asMap(v any) (*ordered.Map, error) {
	data, err := json.Marshal(v)
	m := &ordered.Map{}
	if err == nil {
		err = json.Unmarshal(data, m)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the configuration of the training cannot be passed on")
	}
	return m, nil
}

func task(q *jobs.Queue, id string) (jobs.Task, bool) {
	for _, t := range q.All() {
		if t.ID == id {
			return t, true
		}
	}
	return jobs.Task{}, false
}

// TrainNow asks for a training of the loop's models as soon as nothing holds it
// back.
func (a *App) TrainNow(reason string) { a.loop.clock.Want(reason) }

func loadJSON(path string, v any) error {
	data, err := os.ReadFile(path) //nolint:gosec // below the state folder
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// writeJSON replaces a file in one step.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fault.Wrap(fault.Internal, err, "the loop's state cannot be written")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return diskFault(err, "keeping the loop's state")
	}
	err = atomicfile.Write(path, 0o640, func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
	return diskFault(err, "keeping the loop's state")
}
