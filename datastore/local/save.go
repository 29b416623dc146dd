package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// begin admits a write that touches the studies folder. The caller calls
// closing.RUnlock when it is done.
func (s *Store) begin(ctx context.Context) error {
	if s.opts.ReadOnly {
		return fault.New(fault.Unavailable, "the studies folder is read-only: images, labels and their infos cannot be changed")
	}
	return s.beginState(ctx)
}

// beginState admits a write that touches the state folder only.
func (s *Store) beginState(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.Canceled, err, "the request was given up")
	}
	s.closing.RLock()
	if s.closed.Load() {
		s.closing.RUnlock()
		return errClosed()
	}
	return nil
}

// stamped returns info with "ts" and "name", as compact JSON.
func (s *Store) stamped(info *ordered.Map, name string, mismatch bool) ([]byte, error) {
	m := info.Clone()
	if m == nil {
		m = &ordered.Map{}
	}
	m.Delete(mismatchKey)
	if mismatch {
		m.Set(mismatchKey, true)
	}
	raw, err := ordered.Marshal(m.Set("ts", s.unix()).Set("name", name))
	return raw, fault.Wrap(fault.Invalid, err, "the info cannot be written as JSON")
}

// SaveLabel stores a new version of a label.
//
// The file is written beside its place and synced; the earlier version is
// linked into the state folder; the new one is renamed over it; the folder is
// synced; the record is written with a synced write. So at every moment a
// complete label lies in its place, and after a return without error it
// survives a kill or power loss.
func (s *Store) SaveLabel(ctx context.Context, id, tag string, l datastore.LabelFile) (datastore.Label, error) {
	if err := s.checkLabel(id, tag); err != nil {
		return datastore.Label{}, err
	}
	if err := s.checkExt(id, l.Ext); err != nil {
		return datastore.Label{}, err
	}
	if err := s.begin(ctx); err != nil {
		return datastore.Label{}, err
	}
	defer s.closing.RUnlock()
	if s.get(id) == nil {
		return datastore.Label{}, unknownImage(id)
	}
	if err := s.db.room(); err != nil {
		return datastore.Label{}, err
	}
	next := label{tag: tag, ext: l.Ext, mismatch: l.GridMismatch}
	var err error
	if next.info, err = s.stamped(l.Info, id+l.Ext, l.GridMismatch); err != nil {
		return datastore.Label{}, err
	}
	dir, err := s.tagDir(tag)
	if err != nil {
		return datastore.Label{}, err
	}
	temp, st, err := s.writeTemp(ctx, dir, l.Write)
	if err != nil {
		return datastore.Label{}, err
	}
	defer func() { _ = os.Remove(temp) }() // gone after the rename
	next.file = st
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	return s.commitLabel(ctx, id, temp, next)
}

func (s *Store) checkLabel(id, tag string) error {
	if err := datastore.CheckID(id); err != nil {
		return err
	}
	return datastore.CheckTag(tag)
}

// tagDir returns the folder of a tag, which it creates when needed. A link
// that leads out of the studies folder is refused.
func (s *Store) tagDir(tag string) (string, error) {
	dir := filepath.Join(s.labels, tag)
	if err := s.makeDir(s.studies, dir); err != nil {
		return "", err
	}
	if !s.tagFolder(tag) {
		return "", fault.New(fault.Conflict, "the label folder %q is no folder, or leads out of the studies folder", tag)
	}
	return dir, nil
}

// commitLabel puts the temporary file in its place and records it. The caller
// holds writeMu.
func (s *Store) commitLabel(ctx context.Context, id, temp string, next label) (datastore.Label, error) {
	none := datastore.Label{}
	prev := s.get(id)
	if prev == nil {
		return none, unknownImage(id)
	}
	err := s.checkClash(id, id+next.ext, func(e *entry) (string, bool) { l, ok := e.label(next.tag); return l.ext, ok })
	if err != nil {
		return none, err
	}
	kept, err := s.keepCurrent(ctx, prev, next.tag)
	if err != nil {
		return none, diskFault(err, "an older version of the label")
	}
	if next.version, err = s.nextVersion(id, next.tag, prev); err != nil {
		return none, err
	}
	next.seq = s.labelSeq(prev, next.tag)
	target := filepath.Join(s.labels, next.tag, id+next.ext)
	e := prev.with(next)
	renamed, err := s.publish(temp, target)
	if err == nil {
		err = s.store(prev, e, kept)
	}
	if err != nil {
		s.restore(kept, target, renamed)
		return none, err
	}
	s.install(prev, e, []pending{{datastore.LabelSaved, next.tag}})
	s.touch()
	s.dropKept(kept, target)
	return s.snapshotLabel(id, next), nil
}

// labelSeq keeps a label's place among its entry's labels.
func (s *Store) labelSeq(e *entry, tag string) uint64 {
	if old, ok := e.label(tag); ok {
		return old.seq
	}
	return s.nextSeq()
}

// publish renames temp to target, durably. It tells whether target was
// replaced, which it may be in spite of an error.
func (s *Store) publish(temp, target string) (renamed bool, err error) {
	if err := s.opts.step("rename"); err != nil {
		return false, diskFault(err, "the file")
	}
	if err := os.Rename(temp, target); err != nil {
		return false, diskFault(err, "the file")
	}
	return true, diskFault(s.syncDir(filepath.Dir(target)), "the file")
}

// store writes the records of a change and of the versions that it pushed
// aside.
func (s *Store) store(prev, next *entry, kept []keptFile) error {
	if err := s.opts.step("record"); err != nil {
		return diskFault(err, "the index")
	}
	changes, err := diff(prev, next)
	if err != nil {
		return err
	}
	for _, k := range kept {
		c, err := k.label.record(versionKey(prev.id, k.label.tag, k.label.version))
		if err != nil {
			return err
		}
		changes = append(changes, c)
	}
	return s.db.write(changes)
}

// keptFile is a label file that a change pushes aside. It lies among the older
// versions already.
type keptFile struct {
	path, copy string
	label      label // with its number among the older versions
}

// keepCurrent keeps the label file of a tag, and files of other extensions
// beside it, among the older versions. They stay in place until dropKept.
func (s *Store) keepCurrent(ctx context.Context, e *entry, tag string) ([]keptFile, error) {
	var kept []keptFile
	cur, known := e.label(tag)
	exts := s.opts.Extensions
	if known {
		exts = append([]string{cur.ext}, exts...)
	}
	done := make(map[string]bool)
	for _, ext := range exts {
		path := filepath.Join(s.labels, tag, e.id+ext)
		st, ok := s.stat(path)
		if !ok || done[ext] || ext != cur.ext && !s.readsAs(e.id, ext) {
			continue
		}
		done[ext] = true
		l := label{tag: tag, ext: ext, file: st, info: s.newInfo(e.id + ext)}
		if known && ext == cur.ext {
			l = cur
		}
		n, err := s.keep(ctx, path, e.id, tag, l.version, ext)
		if err != nil {
			return nil, err
		}
		l.version = n
		kept = append(kept, keptFile{path, filepath.Join(s.versionDir(e.id, tag), fmt.Sprintf("%d%s", n, ext)), l})
	}
	return kept, nil
}

// nextVersion numbers a new label above everything that was there before.
func (s *Store) nextVersion(id, tag string, prev *entry) (int, error) {
	files, err := s.versionFiles(id, tag)
	if err != nil {
		return 0, err
	}
	old, _ := prev.label(tag)
	return max(latest(files)+1, old.version+1, 1), nil
}

// restore brings the earlier label file back after a failure. renamed tells
// whether target had been replaced already. A file of another extension never
// left its place.
func (s *Store) restore(kept []keptFile, target string, renamed bool) {
	replaced := false
	for _, k := range kept {
		if k.path == target {
			replaced = true
			s.putBack(k)
		}
		if sameFile(k.copy, k.path) {
			_ = os.Remove(k.copy) // it is the current version again
		}
	}
	if replaced || !renamed {
		return
	}
	if err := os.Remove(target); err != nil && !os.IsNotExist(err) {
		s.log.Error("a label that was not recorded could not be removed", "err", err)
	}
}

// putBack makes the kept copy the current file again.
func (s *Store) putBack(k keptFile) {
	if sameFile(k.copy, k.path) {
		return
	}
	dir := filepath.Dir(k.path)
	temp := tempName(dir)
	err := link(k.copy, temp)
	if err != nil {
		err = s.copyTo(context.Background(), k.copy, dir, temp)
	}
	if err == nil {
		err = os.Rename(temp, k.path)
	}
	if err != nil {
		s.log.Error("the earlier label could not be put back; it lies among the older versions",
			"tag", k.label.tag, "version", k.label.version, "err", err)
	}
}

// dropKept removes the label files that were kept, but for the one in target.
func (s *Store) dropKept(kept []keptFile, target string) {
	for _, k := range kept {
		if k.path == target {
			continue
		}
		if err := os.Remove(k.path); err != nil {
			s.log.Warn("an old label file could not be removed; a copy is kept", "tag", k.label.tag, "err", err)
		}
	}
}
