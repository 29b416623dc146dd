package local

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/voxloop/voxloop/internal/ordered"
)

// indexPatience is how long a rewrite waits for MONAI Label's lock before it
// is put off.
const indexPatience = 2 * time.Second

// touch asks for a rewrite of the index file.
func (s *Store) touch() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// flushLoop writes the index file at most once per Debounce. After a failure
// the next change or rescan tries again.
func (s *Store) flushLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.opts.Debounce):
		}
		if err := s.flush(ctx, false); err != nil && ctx.Err() == nil {
			s.log.Warn("the index file could not be written; it is tried again", "file", indexName, "err", err)
		}
	}
}

// flush makes what MarkServed and the validation noted durable and brings the
// index file up to date. last says that there will be no other chance.
func (s *Store) flush(ctx context.Context, last bool) error {
	if err := s.flushLazy(); err != nil {
		return err
	}
	s.indexMu.Lock()
	defer s.indexMu.Unlock()
	if !s.opts.ReadOnly {
		unlock, ok := s.lockIndex(ctx, indexPatience)
		defer unlock()
		if !ok && !last {
			s.touch()
			return nil
		}
		if !ok {
			s.log.Warn("another program keeps the lock of the index file; it is written all the same", "file", indexName)
		}
	}
	if err := s.adoptForeign(last); err != nil || s.opts.ReadOnly {
		return err
	}
	return s.writeIndex()
}

// flushLazy stores image records that are newer in memory.
func (s *Store) flushLazy() error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.mu.Lock()
	lazy := s.lazy
	s.lazy = make(map[string]bool)
	s.mu.Unlock()
	changes := make([]change, 0, len(lazy))
	for id := range lazy {
		e := s.get(id)
		if e == nil {
			continue
		}
		c, err := e.record()
		if err != nil {
			return err
		}
		changes = append(changes, c)
	}
	if err := s.db.write(changes); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		for id := range lazy {
			s.lazy[id] = true
		}
		return err
	}
	return nil
}

// adoptForeign takes over an index file that somebody else wrote. The caller
// holds indexMu.
func (s *Store) adoptForeign(last bool) error {
	path := filepath.Join(s.studies, indexName)
	p := printOf(path)
	if p == (filePrint{}) || s.index.ours(p) {
		return nil
	}
	f, err := readForeign(path)
	if err != nil {
		if age := time.Since(time.Unix(0, p.MTime)); age < indexPatience && !last {
			s.touch()
			return fmt.Errorf("it may still be being written: %w", err)
		}
		return s.keepDamaged(path, err)
	}
	s.log.Info("the index file was edited; its infos are taken over", "file", indexName, "objects", len(f.order))
	l := s.list()
	if l.readError != nil {
		return l.readError
	}
	if err := s.reconcile(disk{s}, append(f.order, s.suspects(l)...), f); err != nil {
		return err
	}
	s.adoptTop(f.top)
	s.index = indexRecord{Current: p}
	return s.storeIndexRecord()
}

// adoptTop takes over the top level. Folders that were edited in count from
// the next start on.
func (s *Store) adoptTop(top *ordered.Map) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, dir := range []string{"images_dir", "labels_dir"} {
		if top.String(dir) != s.top.String(dir) {
			s.log.Warn("the index file names another folder; it counts from the next start on", "key", dir, "folder", top.String(dir))
		}
	}
	if top.Sub("objects") == nil {
		top.Set("objects", &ordered.Map{})
	}
	s.top, s.topDirty = top, true
}

// keepDamaged saves an index file that cannot be read before it is replaced.
func (s *Store) keepDamaged(path string, cause error) error {
	kept := filepath.Join(s.state, "datastore_v2.damaged.json")
	s.log.Warn("the index file cannot be read; it is rebuilt", "file", indexName, "kept", kept, "cause", cause)
	s.mu.Lock()
	s.topDirty = true
	s.mu.Unlock()
	in, err := os.Open(path) //nolint:gosec // a fixed name in the studies folder
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(kept) //nolint:gosec // a fixed name in the state folder
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return diskFault(err, "a copy of the damaged index file")
	}
	return out.Close()
}

// writeIndex rewrites datastore_v2.json when something changed since the last
// time. The caller holds indexMu.
func (s *Store) writeIndex() error {
	path := filepath.Join(s.studies, indexName)
	gone := printOf(path) == filePrint{}
	s.mu.Lock()
	ids, top := s.unwritten, s.topDirty
	if len(ids) == 0 && !top && !gone {
		s.mu.Unlock()
		return nil
	}
	s.unwritten, s.topDirty = make(map[string]bool), false
	s.mu.Unlock()
	err := s.replaceIndex(path)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		for id := range ids {
			s.unwritten[id] = true
		}
		s.topDirty = s.topDirty || top
	}
	return err
}

func (s *Store) replaceIndex(path string) error {
	temp, _, err := s.writeTemp(context.Background(), s.studies, func(w io.Writer) error { return s.renderIndex(w, fileForm) })
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp) }() // gone after the rename
	s.index.Next = printOf(temp)
	if err := s.storeIndexRecord(); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return diskFault(err, indexName)
	}
	s.index = indexRecord{Current: s.index.Next}
	return diskFault(s.syncDir(s.studies), indexName)
}

// storeIndexRecord stores which index file is ours, and the top level.
func (s *Store) storeIndexRecord() error {
	raw, err := json.Marshal(s.index)
	if err != nil {
		return err
	}
	s.mu.Lock()
	top, err := ordered.Marshal(s.top)
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("encode the top level of %s: %w", indexName, err)
	}
	changes := []change{{indexKey, raw}}
	if old, err := s.db.value(topKey); err != nil || !bytes.Equal(old, top) {
		changes = append(changes, change{topKey, top})
	}
	return s.db.write(changes)
}
