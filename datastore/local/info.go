package local

import (
	"context"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

func unknownLabel(id, tag string) error {
	return fault.New(fault.NotFound, "the image %q has no label with the tag %q", id, tag)
}

// merged returns info with the keys of patch, as compact JSON.
func merged(info []byte, patch *ordered.Map) ([]byte, error) {
	raw, err := ordered.Marshal(parseObject(info).Merge(patch.Clone()))
	return raw, fault.Wrap(fault.Invalid, err, "the info cannot be written as JSON")
}

// update changes one entry without touching its files. change returns the
// entry that takes prev's place.
func (s *Store) update(ctx context.Context, id string, begin func(context.Context) error, ev pending, change func(prev *entry) (*entry, error)) error {
	if err := datastore.CheckID(id); err != nil {
		return err
	}
	if err := begin(ctx); err != nil {
		return err
	}
	defer s.closing.RUnlock()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	prev := s.get(id)
	if prev == nil {
		return unknownImage(id)
	}
	next, err := change(prev)
	if err != nil {
		return err
	}
	if err := s.store(prev, next, nil); err != nil {
		return err
	}
	s.install(prev, next, []pending{ev})
	s.touch()
	return nil
}

// UpdateImageInfo merges patch into the info of an image.
func (s *Store) UpdateImageInfo(ctx context.Context, id string, patch *ordered.Map) error {
	return s.update(ctx, id, s.begin, pending{kind: datastore.InfoChanged}, func(prev *entry) (*entry, error) {
		e := *prev
		var err error
		e.info, err = merged(prev.info, patch)
		e.found = false
		return &e, err
	})
}

// UpdateLabelInfo merges patch into the info of a label.
func (s *Store) UpdateLabelInfo(ctx context.Context, id, tag string, patch *ordered.Map) error {
	if err := datastore.CheckTag(tag); err != nil {
		return err
	}
	return s.update(ctx, id, s.begin, pending{datastore.InfoChanged, tag}, func(prev *entry) (*entry, error) {
		l, ok := prev.label(tag)
		if !ok {
			return nil, unknownLabel(id, tag)
		}
		var err error
		l.info, err = merged(l.info, patch)
		return prev.with(l), err
	})
}

// Quarantine keeps an image from being handed out until its file changes. It
// needs the state folder only, so it works on a read-only studies folder.
func (s *Store) Quarantine(ctx context.Context, id, reason string) error {
	if reason == "" {
		return fault.New(fault.Invalid, "a quarantine needs a reason")
	}
	return s.update(ctx, id, s.beginState, pending{kind: datastore.InfoChanged}, func(prev *entry) (*entry, error) {
		e := *prev
		e.quarantine = reason
		s.log.Warn("image quarantined", "image", id, "reason", reason)
		return &e, nil
	})
}

// MarkServed notes in the image's info that a strategy handed it out. It waits
// for no disk: the note becomes durable with the next flush. It needs the
// state folder only.
func (s *Store) MarkServed(id, strategy, client string, unix int64) error {
	if err := datastore.CheckID(id); err != nil {
		return err
	}
	if s.closed.Load() {
		return errClosed()
	}
	for done := false; !done; {
		cur := s.get(id)
		if cur == nil {
			return unknownImage(id)
		}
		info, err := servedInfo(cur.info, strategy, client, unix)
		if err != nil {
			return err
		}
		next := *cur
		next.info, next.found = info, false
		s.mu.Lock()
		if done = s.get(id) == cur; done { // else it changed meanwhile: once more
			s.replace(id, &next)
			s.lazy[id], s.unwritten[id] = true, true
			s.untold = append(s.untold, told{id, &next, datastore.Event{Kind: datastore.Served, Strategy: strategy, Time: unix}})
		}
		s.mu.Unlock()
	}
	s.tellSoon()
	s.touch()
	return nil
}

// servedInfo returns info with strategy.<name> set, as compact JSON.
func servedInfo(info []byte, strategy, client string, unix int64) ([]byte, error) {
	m := parseObject(info)
	served := m.Sub("strategy")
	if served == nil {
		served = &ordered.Map{}
	}
	served.Set(strategy, ordered.Of("ts", unix, "client_id", client))
	raw, err := ordered.Marshal(m.Set("strategy", served))
	return raw, fault.Wrap(fault.Invalid, err, "the info cannot be written as JSON")
}
