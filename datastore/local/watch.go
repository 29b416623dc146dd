package local

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/voxloop/voxloop/datastore"
)

const (
	quiet    = 200 * time.Millisecond // without an event before a burst is looked at
	maxQuiet = time.Second            // a burst is looked at after this long at the latest
	maxBurst = 2000                   // ids of one burst; more are found by a full look
)

// watchLoop takes in what other programs change: by the system's notices, and
// by a full look every Rescan, which alone remains where notices are not to
// be had.
func (s *Store) watchLoop(ctx context.Context, w *watcher) {
	defer w.close()
	tick := time.NewTicker(s.opts.Rescan)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.follow()
			s.look(ctx, burst{all: true, index: true})
		case ev, ok := <-w.events():
			if !ok {
				return
			}
			b := newBurst()
			b.add(s, ev)
			w.collect(ctx, s, &b)
			w.follow()
			s.look(ctx, b)
		case err := <-w.errors():
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				s.look(ctx, burst{all: true, index: true})
				continue
			}
			s.log.Warn("watching the studies folder failed; changes are found by the periodic scan", "err", err)
		}
	}
}

// look takes in one burst of changes.
func (s *Store) look(ctx context.Context, b burst) {
	var err error
	switch {
	case b.all || len(b.ids) > maxBurst:
		err = s.rescan(ctx)
	case len(b.ids) > 0:
		err = s.recheck(ctx, slices.Sorted(maps.Keys(b.ids)))
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("changes in the studies folder could not be taken in; it is tried again", "err", err)
	}
	if b.index {
		s.touch()
	}
}

// burst gathers what has to be looked at anew.
type burst struct {
	ids   map[string]bool
	all   bool
	index bool // the index file
}

func newBurst() burst { return burst{ids: make(map[string]bool)} }

// add notes one notice of the system.
func (b *burst) add(s *Store, ev fsnotify.Event) {
	if ev.Op == fsnotify.Chmod {
		return
	}
	dir, name := filepath.Split(ev.Name)
	dir = filepath.Clean(dir)
	if isTemp(name) {
		return
	}
	if dir == s.studies && name == indexName {
		b.index = true
		return
	}
	if dir == s.labels {
		b.all = b.all || datastore.CheckTag(name) == nil // a folder of labels came or went
		return
	}
	id, _, ok := s.split(name)
	switch {
	case ok && dir == s.images:
		b.ids[id] = true
		for _, r := range s.relatives(id) {
			b.ids[r] = true
		}
	case ok:
		b.ids[id] = true
	case dir == s.images:
		b.unlisted(s, name)
	}
}

// unlisted notes a file without a listed extension when an entry has it.
func (b *burst) unlisted(s *Store, name string) {
	for i := 1; i <= len(name); i++ {
		if i < len(name) && name[i] != '.' {
			continue
		}
		if e := s.get(name[:i]); e != nil && e.ext == name[i:] {
			b.ids[e.id] = true
		}
	}
}

// watcher follows the folders with the system's notices. A nil watcher
// follows nothing.
type watcher struct {
	s    *Store
	fs   *fsnotify.Watcher
	seen map[string]bool
	warn bool // told that a folder cannot be watched
}

// newWatcher starts following the folders before they are listed, so that no
// change falls between.
func (s *Store) newWatcher() *watcher {
	w := &watcher{s: s, seen: make(map[string]bool)}
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		s.log.Warn("the system gives no notice of changed files; they are found by the periodic scan", "rescan", s.opts.Rescan, "err", err)
		return w
	}
	w.fs = fs
	w.follow()
	return w
}

// follow watches folders that are not watched yet and forgets those that went.
func (w *watcher) follow() {
	if w.fs == nil {
		return
	}
	dirs := []string{w.s.studies, w.s.images, w.s.labels}
	for _, tag := range w.s.tagFolders() {
		dirs = append(dirs, filepath.Join(w.s.labels, tag))
	}
	present := make(map[string]bool, len(dirs))
	for _, dir := range dirs {
		present[dir] = true
		if w.seen[dir] {
			continue
		}
		if err := w.fs.Add(dir); err != nil {
			if !w.warn {
				w.s.log.Warn("a folder cannot be watched; its changes are found by the periodic scan", "rescan", w.s.opts.Rescan, "err", err)
				w.warn = true
			}
			continue
		}
		w.seen[dir] = true
	}
	maps.DeleteFunc(w.seen, func(dir string, _ bool) bool { return !present[dir] })
}

func (w *watcher) events() <-chan fsnotify.Event {
	if w.fs == nil {
		return nil
	}
	return w.fs.Events
}

func (w *watcher) errors() <-chan error {
	if w.fs == nil {
		return nil
	}
	return w.fs.Errors
}

// collect adds further notices until none comes for a while.
func (w *watcher) collect(ctx context.Context, s *Store, b *burst) {
	end := time.After(maxQuiet)
	for {
		select {
		case <-ctx.Done():
			return
		case ev, ok := <-w.events():
			if !ok {
				return
			}
			b.add(s, ev)
		case <-time.After(quiet):
			return
		case <-end:
			return
		}
	}
}

func (w *watcher) close() {
	if w.fs != nil {
		_ = w.fs.Close()
	}
}
