package infer

import (
	"context"
	"io/fs"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
)

// Record puts a copy of a model folder on the model's shelf, as a candidate:
// what is in service stays. See Shelf.Record.
func (r *Registry) Record(name string, fsys fs.FS, c Cause) (Version, error) {
	e, err := r.begin(name)
	if err != nil {
		return Version{}, err
	}
	defer r.wg.Done()
	if e.shelf == nil {
		return Version{}, fault.New(fault.Unavailable, "no versions of models are kept here: there is no state folder for them")
	}
	parent := ""
	r.mu.Lock()
	if e.version != nil {
		parent = e.version.id
	}
	r.mu.Unlock()
	v, err := e.shelf.Record(fsys, parent, c)
	if err != nil {
		return Version{}, err
	}
	return r.find1(e, v.ID)
}

// Versions returns all versions of a model: those on the shelf, newest first,
// then the app's own.
func (r *Registry) Versions(name string) ([]Version, error) {
	r.mu.Lock()
	e := r.find(name)
	r.mu.Unlock()
	if e == nil {
		return nil, unknown(name)
	}
	return r.versions(e)
}

func (r *Registry) versions(e *entry) ([]Version, error) {
	out := []Version{{ID: AppVersion, Cause: Cause{Origin: OriginApp}, State: Unavailable, Why: "not loaded", App: true}}
	if e.shelf != nil {
		all, err := e.shelf.All()
		if err != nil {
			return nil, err
		}
		out = all
	}
	if e.bad != nil {
		out[len(out)-1].Why = reasonOf(e.bad)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range out {
		e.describe(&out[i])
	}
	return out, nil
}

// describe adds to a version what only the running registry knows. It needs
// the lock.
func (e *entry) describe(v *Version) {
	same := func(o *version) bool {
		return o != nil && (v.App && o.src == e.own || !v.App && o.src != e.own && o.id == v.ID)
	}
	v.InService = same(e.version)
	switch i := slices.IndexFunc(e.open, same); {
	case same(e.version), same(e.spare):
		v.State, v.Why = Ready, ""
	case i >= 0 && e.open[i].retired:
		v.State, v.Why = Unloading, ""
	case e.loading == v.ID, i >= 0, v.App && e.info.State == Loading && len(e.open) == 0:
		v.State, v.Why = Loading, ""
	}
	if v.App && e.ownID != "" {
		v.ID, v.Checksum = e.ownID, e.ownSum
	}
}

// find1 returns one version.
func (r *Registry) find1(e *entry, id string) (Version, error) {
	all, err := r.versions(e)
	if err != nil {
		return Version{}, err
	}
	for _, v := range all {
		if v.ID == id && !v.App || v.App && id == AppVersion {
			return v, nil
		}
	}
	return Version{}, fault.New(fault.NotFound, "the model has no version %q", id)
}

// resolve is Shelf.Find, which also knows the hash of the app's own version.
func (r *Registry) resolve(e *entry, text string) (string, error) {
	id, err := e.shelf.Find(text)
	r.mu.Lock()
	defer r.mu.Unlock()
	if fault.KindOf(err) == fault.NotFound && len(text) >= 4 && strings.HasPrefix(e.ownID, text) {
		return AppVersion, nil
	}
	return id, err
}

// History returns the swaps of a model, oldest first.
func (r *Registry) History(name string) ([]Swap, error) {
	e, err := r.shelved(name)
	if err != nil {
		return nil, err
	}
	return e.shelf.History()
}

// Pin keeps a version for ever, and in service against trainings; or no longer.
func (r *Registry) Pin(name, text string, on bool) (Version, error) {
	e, err := r.shelved(name)
	if err != nil {
		return Version{}, err
	}
	id, err := r.resolve(e, text)
	if err == nil {
		err = e.shelf.Pin(id, on)
	}
	if err != nil {
		return Version{}, err
	}
	return r.find1(e, id)
}

// Retire deletes a version from disk; with an empty text, those that the policy
// (RegistryOptions.Keep) no longer keeps. It returns what was deleted. Errors:
// fault.NotFound, fault.Conflict for a version that is kept.
func (r *Registry) Retire(ctx context.Context, name, text string) ([]string, error) {
	e, leave, err := r.takeTurn(ctx, name) // nobody is about to load it
	if err != nil {
		return nil, err
	}
	defer leave()
	if text == "" {
		return e.shelf.RetireOld(r.o.Keep)
	}
	id, err := r.resolve(e, text)
	if err == nil {
		id, err = e.shelf.Retire(id)
	}
	if err != nil {
		return nil, err
	}
	return []string{id}, nil
}

func (r *Registry) shelved(name string) (*entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.find(name)
	switch {
	case e == nil:
		return nil, unknown(name)
	case e.shelf == nil:
		return nil, fault.New(fault.Unavailable, "no versions of models are kept here: there is no state folder for them")
	}
	return e, nil
}

// Subscribe calls fn after every swap of a model, refused ones included, until
// cancel is called. fn is called by the goroutine that swaps and must be quick;
// it may be called from several goroutines at once.
func (r *Registry) Subscribe(fn func(model string, s Swap)) (cancel func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.subscribers == nil {
		r.subscribers = make(map[int]func(string, Swap))
	}
	r.subscribed++
	id := r.subscribed
	r.subscribers[id] = fn
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.subscribers, id)
	}
}

func (r *Registry) tell(model string, w Swap) {
	r.mu.Lock()
	var all []func(string, Swap)
	for _, fn := range r.subscribers {
		all = append(all, fn)
	}
	r.mu.Unlock()
	for _, fn := range all {
		fn(model, w)
	}
}

// Loaded returns how many versions of a model hold memory: at most two.
func (r *Registry) Loaded(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.find(name); e != nil {
		return len(e.open)
	}
	return 0
}
