package local

import (
	"context"
	"path/filepath"
	"time"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
)

// maxBreak is the longest pause between two validations.
const maxBreak = 100 * time.Millisecond

// wantCheck tells the validation that images may wait for it.
func (s *Store) wantCheck() {
	select {
	case s.check <- struct{}{}:
	default:
	}
}

// checkLoop validates new and changed images, one at a time.
func (s *Store) checkLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.check:
		}
		for _, e := range s.entriesInOrder() {
			if ctx.Err() != nil {
				return
			}
			if e.checked == e.file {
				continue
			}
			begin := time.Now()
			s.checkEntry(ctx, e)
			// Half of one core at the most: requests come first.
			select {
			case <-ctx.Done():
			case <-time.After(min(time.Since(begin), maxBreak)):
			}
		}
	}
}

func (s *Store) checkEntry(ctx context.Context, e *entry) {
	if cur := s.get(e.id); cur == nil || cur.file != e.file || cur.checked == cur.file {
		return // gone, changed again, or checked meanwhile
	}
	reason := ""
	for _, n := range e.names() {
		if err := s.opts.Validate(ctx, filepath.Join(s.images, n)); err != nil {
			if ctx.Err() != nil {
				return
			}
			reason = reasonOf(err)
			s.log.Warn("image quarantined: it is not handed out until its file changes", "image", e.id, "reason", reason, "err", err)
			break
		}
	}
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	prev := s.get(e.id)
	if prev == nil || prev.file != e.file {
		return
	}
	next := *prev
	next.checked = e.file
	var events []pending
	if reason != "" && prev.quarantine == "" {
		next.quarantine = reason
		events = []pending{{kind: datastore.InfoChanged}}
	}
	s.verdict(prev, &next, events)
}

// verdict installs the outcome of a validation, to be stored with the next
// flush: should it get lost, the file is looked at again. The caller holds
// writeMu.
func (s *Store) verdict(prev, next *entry, events []pending) {
	s.install(prev, next, events)
	s.mu.Lock()
	s.lazy[next.id] = true
	s.mu.Unlock()
	s.touch()
}

// reasonOf returns what clients may see of a validation's error.
func reasonOf(err error) string {
	if msg, ok := fault.Message(err); ok {
		return msg
	}
	return "the image file cannot be read"
}
