package local

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/ordered"
)

// AddImage stores an image file. An entry of the same id is replaced and keeps
// its labels and its place in the index.
func (s *Store) AddImage(ctx context.Context, id, ext string, info *ordered.Map, write func(io.Writer) error) (datastore.Image, error) {
	none := datastore.Image{}
	if err := datastore.CheckID(id); err != nil {
		return none, err
	}
	if err := s.checkExt(id, ext); err != nil {
		return none, err
	}
	if err := s.begin(ctx); err != nil {
		return none, err
	}
	defer s.closing.RUnlock()
	if err := s.db.room(); err != nil {
		return none, err
	}
	raw, err := s.stamped(info, id+ext, false)
	if err != nil {
		return none, err
	}
	temp, st, err := s.writeTemp(ctx, s.images, write)
	if err != nil {
		return none, err
	}
	defer func() { _ = os.Remove(temp) }() // gone after the rename
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	return s.commitImage(temp, &entry{id: id, ext: ext, file: st, info: raw})
}

// commitImage puts the temporary file in its place and records it. The caller
// holds writeMu.
func (s *Store) commitImage(temp string, next *entry) (datastore.Image, error) {
	none := datastore.Image{}
	name := next.id + next.ext
	if err := s.checkClash(next.id, name, func(e *entry) (string, bool) { return e.ext, e.files == nil }); err != nil {
		return none, err
	}
	prev := s.get(next.id)
	events := []pending{{kind: datastore.ImageAdded}}
	if prev != nil {
		next.seq, next.labels, next.extra = prev.seq, prev.labels, prev.extra
		events[0].kind = datastore.ImageChanged
	} else {
		next.seq = s.nextSeq()
		p := plan{next: next}
		d := disk{s}
		s.examineLabels(d, &p, d.tags(), foreignObject{})
		next = p.next
	}
	target := s.imagePath(name)
	earlier := setAside(target)
	defer func() { _ = os.Remove(earlier) }()
	renamed, err := s.publish(temp, target)
	if err == nil {
		err = s.store(prev, next, nil)
	}
	if err != nil {
		if renamed {
			s.takeBack(earlier, target)
		}
		return none, err
	}
	s.install(prev, next, events)
	s.touch()
	s.wantCheck()
	s.dropFiles(prev, name)
	return s.snapshot(next), nil
}

// setAside gives the file that is about to be replaced a second, temporary
// name, and returns it. Where there is no such file, or the file system has no
// hard links, that name leads nowhere.
func setAside(path string) string {
	temp := tempName(filepath.Dir(path))
	_ = link(path, temp) // takeBack sees whether it is there
	return temp
}

// takeBack undoes a replacement that could not be recorded.
func (s *Store) takeBack(earlier, target string) {
	err := os.Rename(earlier, target)
	if os.IsNotExist(err) { // there was none
		err = os.Remove(target)
	}
	if err != nil && !os.IsNotExist(err) {
		s.log.Error("an image that was not recorded could not be taken back", "err", err)
	}
}

// dropFiles removes the files of a replaced entry, but for the one named keep.
func (s *Store) dropFiles(prev *entry, keep string) {
	if prev == nil {
		return
	}
	for _, n := range prev.names() {
		if n == keep {
			continue
		}
		if err := os.Remove(s.imagePath(n)); err != nil && !os.IsNotExist(err) {
			s.log.Warn("the file of a replaced image could not be removed", "image", prev.id, "err", err)
		}
	}
}

// RemoveImage deletes an entry. Its labels move among the older versions.
func (s *Store) RemoveImage(ctx context.Context, id string) error {
	if err := datastore.CheckID(id); err != nil {
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.closing.RUnlock()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	e := s.get(id)
	if e == nil {
		return unknownImage(id)
	}
	for _, l := range e.labels {
		if err := s.removeLabel(ctx, id, l.tag); err != nil {
			return err
		}
	}
	e = s.get(id)
	for _, n := range e.names() {
		if err := os.Remove(s.imagePath(n)); err != nil && !os.IsNotExist(err) {
			return diskFault(err, "the removal of the image")
		}
	}
	if err := s.syncDir(s.images); err != nil {
		return diskFault(err, "the removal of the image")
	}
	// The file is gone: from here on the entry is, whatever the record says.
	err := s.store(e, nil, nil)
	s.install(e, nil, []pending{{kind: datastore.ImageRemoved}})
	s.touch()
	return err
}

// RemoveLabel takes a label away: its file, and files of the same id with
// other extensions that would take its place, move among the older versions.
func (s *Store) RemoveLabel(ctx context.Context, id, tag string) error {
	if err := s.checkLabel(id, tag); err != nil {
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.closing.RUnlock()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	return s.removeLabel(ctx, id, tag)
}

// removeLabel is RemoveLabel for a caller that holds writeMu.
func (s *Store) removeLabel(ctx context.Context, id, tag string) error {
	prev := s.get(id)
	if prev == nil {
		return unknownImage(id)
	}
	if _, ok := prev.label(tag); !ok {
		return unknownLabel(id, tag)
	}
	kept, err := s.keepCurrent(ctx, prev, tag)
	if err != nil {
		return diskFault(err, "an older version of the label")
	}
	for _, k := range kept {
		if err := os.Remove(k.path); err != nil && !os.IsNotExist(err) {
			return diskFault(err, "the removal of the label")
		}
	}
	if err := s.syncDir(filepath.Join(s.labels, tag)); err != nil && !os.IsNotExist(err) {
		return diskFault(err, "the removal of the label")
	}
	next := prev.without(tag)
	err = s.store(prev, next, kept)
	s.install(prev, next, []pending{{datastore.LabelRemoved, tag}})
	s.touch()
	return err
}
