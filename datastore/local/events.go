package local

import (
	"slices"

	"github.com/voxloop/voxloop/datastore"
)

// Subscribe calls fn with ImageAdded for every present entry and from then on
// after every change. fn runs under the store's lock, which is what keeps the
// order: it must be quick and must not call the store.
func (s *Store) Subscribe(fn func(datastore.Event)) (cancel func()) {
	sub := &subscription{fn}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.order {
		fn(datastore.Event{Kind: datastore.ImageAdded, Image: s.snapshot(e)})
	}
	s.subs = append(s.subs, sub)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.subs = slices.DeleteFunc(s.subs, func(o *subscription) bool { return o == sub })
	}
}

// emit tells the subscribers. Every one gets maps of its own. The caller holds
// mu.
func (s *Store) emit(id string, p pending, ev datastore.Event) {
	ev.Kind, ev.Tag = p.kind, p.tag
	for _, sub := range s.subs {
		ev.Image = datastore.Image{ID: id}
		if e := s.entries[id]; e != nil && p.kind != datastore.ImageRemoved {
			ev.Image = s.snapshot(e)
		}
		sub.fn(ev)
	}
}
