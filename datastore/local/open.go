// Package local keeps a datastore in a folder: images at its top level, labels
// below labels/<tag>/, MONAI Label's datastore_v2.json beside them, and a
// Badger index with everything else in a state folder.
//
// The files decide. At the start, and whenever they change, records are made
// to agree with them; the index may be deleted while no server runs.
package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// Open opens the datastore of a studies folder and takes its state folder's
// lock. A damaged or missing index is rebuilt. The caller closes the store.
//
// Errors: Conflict when another process serves the folder, Invalid for options
// or an index file that cannot be used, NoSpace, Unavailable.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	s := &Store{
		opts: o.withDefaults(), now: time.Now, top: emptyTop(),
		unwritten: make(map[string]bool), lazy: make(map[string]bool),
		wake: make(chan struct{}, 1), check: make(chan struct{}, 1),
	}
	s.log = s.opts.Logger
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	if err := s.openFolders(); err != nil {
		return nil, err
	}
	if s.lock, err = lockState(s.state, s.studies); err != nil {
		return nil, err
	}
	if err := s.openIndex(); err != nil {
		return nil, err
	}
	f, err := s.openForeign()
	if err != nil {
		return nil, err
	}
	if err := s.openVisible(); err != nil {
		return nil, err
	}
	w := s.newWatcher()
	if err := s.firstScan(f); err != nil {
		w.close()
		return nil, err
	}
	s.start(ctx, w)
	return s, nil
}

// start runs the store's goroutines, which Close ends. They do not end with
// ctx: the store lives longer than the call that opens it.
func (s *Store) start(ctx context.Context, w *watcher) {
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.wg.Go(func() { s.flushLoop(ctx) })
	s.wg.Go(func() { s.watchLoop(ctx, w) })
	if s.opts.Validate != nil {
		s.wg.Go(func() { s.checkLoop(ctx) })
		s.wantCheck()
	}
	s.touch()
}

// openFolders finds the studies and the state folder.
func (s *Store) openFolders() error {
	if s.opts.Studies == "" {
		return fault.New(fault.Invalid, "no studies folder is named")
	}
	studies, err := filepath.Abs(s.opts.Studies)
	if err != nil {
		return err
	}
	if !s.opts.ReadOnly {
		if err := os.MkdirAll(studies, 0o755); err != nil { //nolint:gosec // readable like the lab's own folders
			return diskFault(err, "the studies folder")
		}
	}
	if s.studies, err = filepath.EvalSymlinks(studies); err != nil {
		return fault.Wrap(fault.NotFound, err, "the studies folder %q does not exist", filepath.Base(studies))
	}
	if unix.Access(s.studies, unix.W_OK) != nil {
		s.opts.ReadOnly = true
	}
	state := s.opts.State
	if state == "" {
		if s.opts.ReadOnly {
			return fault.New(fault.Invalid, "the studies folder %q is read-only: name a folder for the server's own state (--state)", filepath.Base(studies))
		}
		state = filepath.Join(s.studies, StateDir)
	}
	if err := os.MkdirAll(state, 0o750); err != nil {
		return diskFault(err, "the state folder")
	}
	if state, err = filepath.Abs(state); err != nil {
		return err
	}
	s.state, err = filepath.EvalSymlinks(state)
	return err
}

// openIndex opens the database and loads its records.
func (s *Store) openIndex() error {
	var err error
	if s.db, err = openDB(s.state, s.opts.SyncDisabled, s.log); err != nil {
		return err
	}
	loadErr := s.loadRecords()
	if loadErr == nil {
		return nil
	}
	// Records that cannot be read: start over, the files know.
	if err := s.db.close(); err != nil {
		s.log.Debug("closing the damaged index", "err", err)
	}
	if err := s.db.putAside(loadErr); err != nil {
		return err
	}
	s.index, s.top = indexRecord{}, emptyTop()
	s.db, err = openDB(s.state, s.opts.SyncDisabled, s.log)
	return err
}

func (s *Store) loadRecords() error {
	if err := s.loadIndexRecord(); err != nil {
		return err
	}
	top, err := s.db.value(topKey)
	if err != nil {
		return err
	}
	if top != nil {
		s.top = s.loadTop(top)
	}
	entries, err := s.db.load()
	if err != nil {
		return err
	}
	s.order = entries
	for _, e := range entries {
		s.entries.put(e)
		s.count(e, 1)
		s.seq = max(s.seq, e.seq)
		for _, l := range e.labels {
			s.seq = max(s.seq, l.seq)
		}
	}
	return nil
}

// openForeign reads an index file that is not our own work.
func (s *Store) openForeign() (*foreign, error) {
	path := filepath.Join(s.studies, indexName)
	p := printOf(path)
	if p == (filePrint{}) || s.index.ours(p) {
		return nil, nil
	}
	f, err := readForeign(path)
	if err != nil {
		return nil, s.keepDamaged(path, err)
	}
	if f.top.Sub("objects") == nil {
		f.top.Set("objects", &ordered.Map{})
	}
	s.top = f.top
	s.index = indexRecord{Current: p}
	return f, nil
}

// openVisible finds the folders that the index file names, makes those that
// are missing and removes what a kill left there.
func (s *Store) openVisible() error {
	var err error
	if s.images, err = s.visible("images_dir", "."); err != nil {
		return err
	}
	if s.labels, err = s.visible("labels_dir", "labels"); err != nil {
		return err
	}
	if err := clean(s.state); err != nil {
		return err
	}
	if s.opts.ReadOnly {
		return nil
	}
	for _, tag := range []string{datastore.TagFinal, datastore.TagOriginal} {
		if err := s.makeDir(s.studies, filepath.Join(s.labels, tag)); err != nil {
			return err
		}
	}
	dirs := []string{s.studies}
	if s.images != s.studies {
		dirs = append(dirs, s.images)
	}
	for _, tag := range s.tagFolders() {
		dirs = append(dirs, filepath.Join(s.labels, tag))
	}
	for _, dir := range dirs {
		if err := clean(dir); err != nil {
			return err
		}
	}
	return nil
}

// visible returns a folder that the index file names, relative to the studies
// folder. One that leads out of it is refused.
func (s *Store) visible(key, standard string) (string, error) {
	dir := s.top.String(key)
	if dir == "" {
		dir = standard
	}
	if filepath.IsAbs(dir) {
		rel, err := filepath.Rel(s.studies, dir)
		if err != nil {
			return "", err
		}
		dir = rel
	}
	path := filepath.Join(s.studies, dir)
	refused := fault.New(fault.Invalid, "%s names %q as %s, which leads out of the studies folder; correct it there", indexName, s.top.String(key), key)
	if !filepath.IsLocal(dir) || within(filepath.Join(s.studies, StateDir), path) {
		return "", refused
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && !s.opts.ReadOnly {
		return path, s.makeDir(s.studies, path)
	}
	if target, err := filepath.EvalSymlinks(path); err == nil && !within(s.studies, target) {
		return "", refused
	}
	return path, nil
}

// firstScan makes the records agree with the files.
func (s *Store) firstScan(f *foreign) error {
	l := s.list()
	if l.readError != nil && !errors.Is(l.readError, fs.ErrNotExist) {
		return diskFault(l.readError, "the studies folder")
	}
	ids := s.suspects(l)
	if f != nil {
		ids = append(f.order, ids...)
	}
	if err := s.reconcile(l, ids, f); err != nil {
		return err
	}
	if n := s.orphans(l); n > 0 {
		s.log.Warn("labels without an image are left alone", "files", n)
	}
	// Nothing of ours is newer than somebody else's file. Our own file may be
	// older than the records, after a kill: it is written again in any case.
	s.unwritten, s.topDirty = make(map[string]bool), true
	if f == nil {
		return nil
	}
	return s.storeIndexRecord()
}

// Close makes everything durable, writes the index file and gives up the
// lock. It waits for the writes that are under way. A second call does
// nothing.
func (s *Store) Close() error {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed.Swap(true) {
		return nil
	}
	s.cancel()
	s.wg.Wait()
	err := s.flush(context.Background(), true)
	return errors.Join(err, s.release())
}

// release closes what Open opened.
func (s *Store) release() error {
	var err error
	if s.db != nil {
		err = s.db.close()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}
