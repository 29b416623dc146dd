package infer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"runtime/debug"

	"github.com/voxloop/voxloop/internal/fault"
)

// openShelf opens a model's versions and returns those to try before the app's
// own, the one in service first. What clients are told until it is loaded is
// that one's.
func (r *Registry) openShelf(e *entry) ([]string, error) {
	shelf, warning, err := OpenShelf(ShelfDir(r.o.Versions, e.name))
	if err != nil {
		return nil, err
	}
	if warning != "" {
		r.log.Error("what is in service was damaged", "model", e.name, "warning", warning)
	}
	if err := shelf.Tidy(); err != nil {
		r.log.Warn("a model's versions cannot be tidied", "model", e.name, "err", err)
	}
	e.shelf = shelf
	current, previous := shelf.pointers()
	var first []string
	for _, id := range append([]string{current}, previous...) {
		if id == AppVersion && e.bad == nil {
			break
		}
		if id != AppVersion {
			first = append(first, id)
		}
	}
	if len(first) > 0 && first[0] == current {
		if src, err := e.stored(current); err == nil {
			e.info = src.m.info(e.name)
		}
	}
	return first, nil
}

// stored reads a version's folder.
func (e *entry) stored(id string) (*source, error) {
	dir := e.shelf.folder(id)
	return readSource(os.DirFS(dir), dir, id)
}

// loadEntry loads the version in service or, when it is unusable, the last one
// that is not.
func (r *Registry) loadEntry(e *entry, first []string) {
	v, err := r.loadFirst(e, first)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if r.ctx.Err() == nil {
			r.log.Error("model is not in service", "model", e.name, "err", err)
		}
		e.fail(err)
		return
	}
	e.serve(v)
	r.log.Info("model is in service", "model", e.name, "version", v.id, "device", v.device)
	close(e.ready)
}

// loadFirst loads the first version that can be used, the app's own last. When
// that is not the one that the pointer names, the pointer and the history say
// so afterwards.
func (r *Registry) loadFirst(e *entry, first []string) (*version, error) {
	l, err := r.load()
	if err != nil {
		return nil, err
	}
	why := ""
	for _, id := range first {
		v, err := r.loadStored(r.ctx, l, e, id)
		if r.ctx.Err() != nil {
			return nil, r.ctx.Err()
		}
		if err == nil {
			r.fellBack(e, id, why)
			r.identifyOwn(e)
			return v, nil
		}
		r.log.Error("a version cannot be used; the one before it is tried", "model", e.name, "version", id, "err", err)
		if why == "" {
			why = reasonOf(err)
		}
		if err := e.shelf.refuse(id, reasonOf(err)); err != nil {
			r.log.Warn("a version's failure cannot be recorded", "model", e.name, "version", id, "err", err)
		}
	}
	if e.bad != nil {
		return nil, e.bad
	}
	v, err := r.loadOwn(r.ctx, l, e)
	if err == nil && len(first) > 0 {
		r.fellBack(e, AppVersion, why)
	}
	return v, err
}

// fellBack records that a version serves which is not the one in the pointer.
func (r *Registry) fellBack(e *entry, to, why string) {
	current, _ := e.shelf.pointers()
	var err error
	if to == current {
		err = e.shelf.refuse(to, "") // whatever was the matter with it, it has passed now
	} else {
		w := Swap{Time: now(), From: current, To: to, Cause: Cause{Origin: OriginStart, Reason: why}}
		if w, err = e.shelf.point(w, true); err == nil {
			err = e.shelf.note(w)
		}
	}
	if err != nil {
		r.log.Warn("what is in service cannot be recorded", "model", e.name, "version", to, "err", err)
	}
}

// identifyOwn finds out the hash of version 0, which is not loaded.
func (r *Registry) identifyOwn(e *entry) {
	if e.bad != nil {
		return
	}
	data, err := fs.ReadFile(e.own.fsys, NetworkFile)
	if err != nil {
		return // whoever asks for version 0 is told
	}
	sum := sha256.Sum256(data)
	r.mu.Lock()
	defer r.mu.Unlock()
	e.ownID, e.ownSum = contentID(data, e.own.manifest, e.own.m.attached), hex.EncodeToString(sum[:])
}

// loadStored loads a version of the shelf.
func (r *Registry) loadStored(ctx context.Context, l *loader, e *entry, id string) (*version, error) {
	src, err := e.stored(id)
	if err != nil {
		return nil, err
	}
	return r.loadSource(ctx, l, e, src)
}

// loadOwn loads version 0.
func (r *Registry) loadOwn(ctx context.Context, l *loader, e *entry) (*version, error) {
	v, err := r.loadSource(ctx, l, e, e.own)
	if err == nil {
		r.mu.Lock()
		e.ownID, e.ownSum = v.id, v.sum
		r.mu.Unlock()
	}
	return v, err
}

func (r *Registry) loadSource(ctx context.Context, l *loader, e *entry, src *source) (*version, error) {
	// Loading leaves several times the network's size behind. The system gets it
	// back now, not when the heap has doubled.
	defer debug.FreeOSMemory()
	v, err := l.load(ctx, e.name, src)
	if err != nil {
		return nil, err
	}
	v.owner = e
	r.mu.Lock()
	defer r.mu.Unlock()
	e.open = append(e.open, v)
	return v, nil
}

// serve puts a version into service: the one pointer that a request follows.
// It needs the lock.
func (e *entry) serve(v *version) { e.version, e.info, e.err = v, v.info, nil }

// fail records why a model cannot serve.
func (e *entry) fail(err error) {
	e.err, e.info.State, e.info.Reason = err, Unavailable, reasonOf(err)
	close(e.ready)
}

// reasonOf is what clients are told about a version that cannot be used.
func reasonOf(err error) string {
	if reason, ok := fault.Message(err); ok {
		return reason
	}
	return "the network could not be loaded"
}
