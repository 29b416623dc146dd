package infer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
)

// Unloading is the state of a version that has been replaced while inferences
// still hold it. Its network is freed with the last of them.
const Unloading State = "unloading"

const (
	maxSwapsWaiting = 4                // per model
	drainPatience   = 60 * time.Second // how long a swap waits for the version before the last
)

// Publish puts a version of a model into service: it is loaded, tested and
// warmed up, becomes what new inferences use, and the version before drains.
// text is an id, the start of one, or AppVersion. When a step fails, the version
// in service stays and the failure is recorded.
//
// At most two versions of a model are loaded at a time. Errors: fault.NotFound;
// fault.Conflict when a training would replace a pinned version; fault.Busy when
// several swaps wait already or an old version does not drain; whatever is wrong
// with the version; fault.Canceled.
func (r *Registry) Publish(ctx context.Context, name, text string, c Cause) (Version, error) {
	return r.swap(ctx, name, c, func(e *entry) (string, bool, error) {
		id, err := r.resolve(e, text)
		return id, false, err
	})
}

// Rollback puts the version that was in service before into service again, in
// one step when its network is still loaded. Errors: fault.Conflict when there
// is none, and Publish's.
func (r *Registry) Rollback(ctx context.Context, name string, c Cause) (Version, error) {
	c.Origin = OriginRollback
	return r.swap(ctx, name, c, func(e *entry) (string, bool, error) {
		_, previous := e.shelf.pointers()
		if len(previous) == 0 {
			return "", false, fault.New(fault.Conflict, "model %s has no version to go back to", name)
		}
		return previous[0], true, nil
	})
}

// Test loads a version, tests it and frees it again; what is in service stays.
// A failure is recorded with the version.
func (r *Registry) Test(ctx context.Context, name, text string) error {
	e, leave, err := r.takeTurn(ctx, name)
	if err != nil {
		return err
	}
	defer leave()
	id, err := r.resolve(e, text)
	if err != nil || e.holds(r, id) != nil {
		return err // what is loaded has passed
	}
	v, err := r.obtain(ctx, e, id)
	if err == nil {
		r.retire(v)
	}
	return r.judged(ctx, e, id, err)
}

// takeTurn finds a model whose versions can be swapped and waits for its turn to.
func (r *Registry) takeTurn(ctx context.Context, name string) (*entry, func(), error) {
	e, err := r.begin(name)
	if err != nil {
		return nil, nil, err
	}
	if e.shelf == nil {
		r.wg.Done()
		return nil, nil, fault.New(fault.Unavailable, "no versions of models are kept here: there is no state folder for them")
	}
	leave, _, err := e.turn.enter(ctx)
	if err != nil {
		r.wg.Done()
		if fault.KindOf(err) == fault.Busy {
			return nil, nil, fault.New(fault.Busy, "several versions of model %s are about to be loaded already; try again later", name)
		}
		return nil, nil, fault.Wrap(fault.Canceled, err, "the caller went away")
	}
	both := func() { leave(); r.wg.Done() }
	select {
	case <-e.ready: // the version to be replaced is there, or has failed
		return e, both, nil
	case <-ctx.Done():
		both()
		return nil, nil, fault.Wrap(fault.Canceled, ctx.Err(), "model %s is still being loaded", name)
	}
}

// swap puts the version that choose names into service.
func (r *Registry) swap(ctx context.Context, name string, c Cause, choose func(*entry) (id string, back bool, err error)) (Version, error) {
	start := time.Now()
	e, leave, err := r.takeTurn(ctx, name)
	if err != nil {
		return Version{}, err
	}
	defer leave()
	id, back, err := choose(e)
	if err != nil {
		return Version{}, err
	}
	current, _ := e.shelf.pointers()
	if id == current && e.serves(r) {
		return r.find1(e, id)
	}
	w := Swap{Time: now(), From: current, To: id, Cause: c}
	if err := r.exchange(ctx, e, &w, back, start); err != nil {
		return Version{}, err
	}
	r.announce(e, w)
	if old, err := e.shelf.RetireOld(r.o.Keep); err != nil {
		r.log.Warn("old versions cannot be deleted", "model", name, "err", err)
	} else if len(old) > 0 {
		r.log.Info("old versions deleted", "model", name, "versions", old)
	}
	return r.find1(e, id)
}

// exchange loads the version, makes the choice durable and turns the pointer.
func (r *Registry) exchange(ctx context.Context, e *entry, w *Swap, back bool, start time.Time) error {
	if w.Origin == OriginTraining && e.shelf.pinned(w.From) {
		return fault.New(fault.Conflict, "version %s of model %s is pinned: a training does not replace it", w.From, e.name)
	}
	v, err := r.obtain(ctx, e, w.To)
	if err = r.judged(ctx, e, w.To, err); err != nil {
		w.Took, w.Refused = time.Since(start), reasonOf(err)
		if fault.KindOf(err) != fault.Canceled && fault.KindOf(err) != fault.Busy {
			r.announce(e, *w)
		}
		return err
	}
	if *w, err = e.shelf.point(*w, back); err != nil {
		r.putBack(e, v)
		return err
	}
	r.mu.Lock()
	old := e.version
	e.serve(v)
	if e.spare == v {
		e.spare = nil
	}
	if old != nil && r.mayKeep(e, old) {
		e.spare, old = old, nil
	}
	r.mu.Unlock()
	w.Took = time.Since(start)
	if old != nil {
		r.retire(old)
	}
	return nil
}

// obtain returns a loaded version that is not in service: the one kept for a
// rollback, or one that is loaded now. Room is made for it first.
func (r *Registry) obtain(ctx context.Context, e *entry, id string) (*version, error) {
	if v := e.holds(r, id); v != nil {
		return v, nil
	}
	if err := r.makeRoom(ctx, e); err != nil {
		return nil, err
	}
	l, err := r.load()
	if err != nil {
		return nil, err
	}
	if id == AppVersion && e.bad != nil {
		return nil, e.bad
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	r.setLoading(e, id)
	defer r.setLoading(e, "")
	if id == AppVersion {
		return r.loadOwn(ctx, l, e)
	}
	return r.loadStored(ctx, l, e, id)
}

func (r *Registry) setLoading(e *entry, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.loading = id
}

// holds returns the loaded version with an id, nil when there is none.
func (e *entry) holds(r *Registry, id string) *version {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range []*version{e.version, e.spare} {
		if v != nil && (v.src == e.own && id == AppVersion || v.src != e.own && v.id == id) {
			return v
		}
	}
	return nil
}

func (e *entry) serves(r *Registry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return e.version != nil
}

// makeRoom lets go of the version kept for a rollback and waits until at most
// one version of the model is loaded.
func (r *Registry) makeRoom(ctx context.Context, e *entry) error {
	r.mu.Lock()
	spare := e.spare
	e.spare = nil
	r.mu.Unlock()
	if spare != nil {
		r.retire(spare)
	}
	late := time.NewTimer(drainPatience)
	defer late.Stop()
	for {
		r.mu.Lock()
		var draining *version
		if i := slices.IndexFunc(e.open, func(v *version) bool { return v != e.version }); i >= 0 {
			draining = e.open[i]
		}
		r.mu.Unlock()
		if draining == nil {
			return nil
		}
		select {
		case <-draining.gone:
		case <-late.C:
			return fault.New(fault.Busy, "inferences still use version %s of model %s; try again later", draining.id, e.name)
		case <-ctx.Done():
			return fault.Wrap(fault.Canceled, ctx.Err(), "the caller went away")
		case <-r.ctx.Done():
			return errClosed()
		}
	}
}

// mayKeep reports whether a replaced version may stay loaded. It needs the lock.
func (r *Registry) mayKeep(e *entry, v *version) bool {
	sum := v.size
	for _, o := range r.entries {
		if o != e && o.spare != nil {
			sum += o.spare.size
		}
	}
	return !r.closed && sum <= r.o.KeepPrevious
}

// putBack lets go of a version that was obtained in vain, unless it was there
// before.
func (r *Registry) putBack(e *entry, v *version) {
	r.mu.Lock()
	kept := e.spare == v
	r.mu.Unlock()
	if !kept {
		r.retire(v)
	}
}

// judged records whether a version could be loaded, and returns err. A failure
// that is not the version's own is not held against it.
func (r *Registry) judged(ctx context.Context, e *entry, id string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && fault.KindOf(err) != fault.Canceled {
		err = fault.Wrap(fault.Canceled, errors.Join(ctx.Err(), err), "the swap was stopped")
	}
	if k := fault.KindOf(err); k == fault.Canceled || k == fault.Busy || k == fault.NoSpace {
		return err
	}
	if r.ctx.Err() != nil {
		return errClosed()
	}
	if rerr := e.shelf.refuse(id, reasonOf(err)); rerr != nil {
		r.log.Warn("a version's failure cannot be recorded", "model", e.name, "version", id, "err", rerr)
	}
	return err
}

// announce writes a swap to the history and tells who listens.
func (r *Registry) announce(e *entry, w Swap) {
	if err := e.shelf.note(w); err != nil {
		r.log.Warn("a swap cannot be written to the history", "model", e.name, "err", err)
	}
	if w.Refused == "" {
		r.log.Info("model swapped", "model", e.name, "from", w.From, "to", w.To, "origin", w.Origin, "took", w.Took)
	} else {
		r.log.Warn("version refused", "model", e.name, "version", w.To, "origin", w.Origin, "why", w.Refused)
	}
	r.tell(e.name, w)
}
