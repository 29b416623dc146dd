package infer

import (
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
)

// Retire deletes one version. What is in service, pinned, or what a rollback
// would bring back stays: fault.Conflict.
func (s *Shelf) Retire(text string) (string, error) {
	id, err := s.Find(text)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	why := ""
	switch {
	case id == AppVersion:
		why = "is the app's own"
	case id == s.p.Version:
		why = "is in service"
	case slices.Contains(s.p.Pinned, id):
		why = "is pinned"
	case len(s.p.Previous) > 0 && s.p.Previous[0] == id:
		why = "is what a rollback would bring back"
	}
	s.mu.Unlock()
	if why != "" {
		return "", fault.New(fault.Conflict, "version %s %s and is kept", id, why)
	}
	return id, s.drop([]string{id})
}

// RetireOld deletes the versions beyond the newest keep that are neither in
// service, nor pinned, nor what a rollback would bring back, and returns them.
func (s *Shelf) RetireOld(keep int) ([]string, error) {
	s.mu.Lock()
	records, err := s.records()
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	var old []string
	for i, r := range records {
		back := len(s.p.Previous) > 0 && s.p.Previous[0] == r.ID
		if i >= keep && r.ID != s.p.Version && !back && !slices.Contains(s.p.Pinned, r.ID) {
			old = append(old, r.ID)
		}
	}
	s.mu.Unlock()
	if len(old) == 0 {
		return nil, nil
	}
	return old, s.drop(old)
}

// drop forgets versions, then deletes them.
func (s *Shelf) drop(ids []string) error {
	err := s.change(func(p *pointer) {
		p.Previous = slices.DeleteFunc(p.Previous, func(id string) bool { return slices.Contains(ids, id) })
		for _, id := range ids {
			delete(p.Refused, id)
		}
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if err := s.discard(id); err != nil {
			return shelfFault(err, "deleting a version")
		}
	}
	return nil
}
