package local

import (
	"slices"

	"github.com/voxloop/voxloop/datastore"
)

type subscription struct{ fn func(datastore.Event) }

// told is an event and the entry as it was after the change; nil: it is gone.
type told struct {
	id string
	e  *entry
	ev datastore.Event // without Image
}

// Subscribe calls fn with ImageAdded for every present entry and from then on
// after every change. The calls come one after the other, in the order of the
// changes; fn must be quick and must not call the store.
//
// A change's own call returns after fn has seen it, but for MarkServed: when
// fn is busy with another event, fn sees that one right afterwards.
func (s *Store) Subscribe(fn func(datastore.Event)) (cancel func()) {
	sub := &subscription{fn}
	s.whileTelling(func() {
		for _, e := range s.upToDate() {
			fn(datastore.Event{Kind: datastore.ImageAdded, Image: s.snapshot(e)})
		}
		s.subs = append(s.subs, sub)
	})
	return func() {
		s.whileTelling(func() {
			s.subs = slices.DeleteFunc(s.subs, func(o *subscription) bool { return o == sub })
		})
	}
}

// whileTelling calls fn while nobody else tells anything, and then tells what
// came meanwhile from those who do not wait.
func (s *Store) whileTelling(fn func()) {
	func() {
		s.telling.Lock()
		defer s.telling.Unlock()
		fn()
	}()
	s.tellSoon()
}

// upToDate tells what is untold and returns the entries as they are after it.
// The caller holds telling.
func (s *Store) upToDate() []*entry {
	for {
		s.tellAll()
		s.mu.Lock()
		if len(s.untold) == 0 {
			entries := slices.Clone(s.order)
			s.mu.Unlock()
			return entries
		}
		s.mu.Unlock()
	}
}

// tell tells the subscribers everything that happened until now.
func (s *Store) tell() { s.whileTelling(s.tellAll) }

// tellSoon does the same without waiting: where another goroutine is at it,
// that one goes on with what is new.
func (s *Store) tellSoon() {
	for s.hasUntold() && s.telling.TryLock() {
		func() {
			defer s.telling.Unlock()
			s.tellAll()
		}()
	}
}

func (s *Store) hasUntold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.untold) > 0
}

// tellAll empties the list of untold events. Every subscriber gets maps of its
// own. The caller holds telling.
func (s *Store) tellAll() {
	s.mu.Lock()
	events := s.untold
	s.untold = nil
	s.mu.Unlock()
	for _, t := range events {
		for _, sub := range s.subs {
			ev := t.ev
			ev.Image = datastore.Image{ID: t.id}
			if t.e != nil {
				ev.Image = s.snapshot(t.e)
			}
			sub.fn(ev)
		}
	}
}
