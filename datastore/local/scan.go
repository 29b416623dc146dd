package local

import (
	"context"
	"slices"
)

// scanBatch bounds how long a scan keeps saves waiting.
const scanBatch = 256

// suspects returns the ids whose records may not agree with the listing,
// known ones in index order, then new ones by name.
func (s *Store) suspects(l *listing) []string {
	var ids []string
	for _, e := range s.entriesInOrder() {
		if !l.agrees(e) {
			ids = append(ids, e.id)
			ids = append(ids, s.relatives(e.id)...)
		}
	}
	for _, name := range l.names {
		id, _, ok := s.split(name)
		if !ok || s.owned(id, name) {
			continue
		}
		ids = append(ids, id)
		if _, ok := channelOf(id); ok {
			ids = append(ids, s.relatives(id)...)
		}
	}
	for _, tag := range l.tagNames {
		for name := range l.labels[tag] {
			id, _, ok := s.split(name)
			if !ok {
				continue
			}
			if e := s.get(id); e != nil {
				if _, known := e.label(tag); !known {
					ids = append(ids, id)
				}
			}
		}
	}
	return ids
}

// orphans counts the label files that belong to no image.
func (s *Store) orphans(l *listing) int {
	n := 0
	for _, files := range l.labels {
		for name := range files {
			if id, _, ok := s.split(name); ok && s.get(id) == nil {
				n++
			}
		}
	}
	return n
}

// agrees reports whether the listing shows an entry's files unchanged.
func (l *listing) agrees(e *entry) bool {
	if e.files == nil {
		if st, ok := l.images[e.id+e.ext]; !ok || st != e.file {
			return false
		}
	} else if at, ok := joinFiles(l, e.ext, e.files); !ok || at.state != e.file {
		return false
	}
	for _, lab := range e.labels {
		if st, ok := l.label(lab.tag, e.id+lab.ext); !ok || st != lab.file {
			return false
		}
	}
	return true
}

// owned reports whether a file belongs to a known entry, or has no part
// because the entry of its id has a file of another extension.
func (s *Store) owned(id, name string) bool {
	if s.get(id) != nil {
		return true
	}
	stem, ok := channelOf(id)
	if !ok {
		return false
	}
	e := s.get(stem)
	return e != nil && slices.Contains(e.files, name)
}

// relatives returns the ids that may gain or lose a file when the file of id
// comes or goes: the entry that it may be a channel of, and the channels that
// are entries so far.
func (s *Store) relatives(id string) []string {
	stems := []string{id}
	var out []string
	if stem, ok := channelOf(id); ok {
		stems = append(stems, stem)
		out = append(out, stem)
	}
	for _, stem := range stems {
		for c := range maxChannels {
			if other := channelID(stem, c); other != id && s.get(other) != nil {
				out = append(out, other)
			}
		}
	}
	return out
}

// rescan looks at all folders and takes in what changed.
func (s *Store) rescan(ctx context.Context) error {
	l := s.list()
	if l.readError != nil {
		return l.readError
	}
	return s.recheck(ctx, s.suspects(l))
}

// recheck looks at the files of some ids anew.
func (s *Store) recheck(ctx context.Context, ids []string) error {
	for part := range slices.Chunk(ids, scanBatch) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.reconcile(disk{s}, part, nil); err != nil {
			return err
		}
	}
	return nil
}
