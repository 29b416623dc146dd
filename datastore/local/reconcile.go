package local

import (
	"bytes"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/ordered"
)

// plan is one entry's change found on disk.
type plan struct {
	prev, next *entry
	events     []pending
}

// reconcile makes the records of the given ids agree with the files that v
// shows: files win over records. f, when not nil, is an index file written by
// somebody else; its infos are adopted.
func (s *Store) reconcile(v view, ids []string, f *foreign) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	tags := v.tags()
	var changes []change
	var plans []plan
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		p := s.examine(v, id, tags, f)
		if len(p.events) == 0 {
			continue
		}
		c, err := diff(p.prev, p.next)
		if err != nil {
			return err
		}
		changes = append(changes, c...)
		plans = append(plans, p)
	}
	if len(plans) == 0 {
		return nil
	}
	if err := s.db.write(changes); err != nil {
		return err
	}
	for _, p := range plans {
		s.install(p.prev, p.next, p.events)
	}
	s.touch()
	s.wantCheck()
	return nil
}

// examine compares one entry with its files. Without a difference the plan has
// no events.
func (s *Store) examine(v view, id string, tags []string, f *foreign) plan {
	p := plan{prev: s.get(id)}
	hint, hinted := f.object(id)
	known := p.prev
	if known == nil && hinted {
		known = &entry{id: id, ext: hint.ext, files: hint.files}
	}
	at, ok := s.locate(v, id, known)
	switch {
	case !ok && p.prev == nil:
		return p
	case !ok:
		p.events = []pending{{kind: datastore.ImageRemoved}}
		return p
	case p.prev == nil:
		p.next = s.discover(id, at, hint, hinted)
		p.events = []pending{{kind: datastore.ImageAdded}}
	default:
		c := *p.prev
		p.next = &c
		if at.state != c.file || at.ext != c.ext || len(at.files) != len(c.files) {
			c.ext, c.files, c.file, c.checked, c.quarantine = at.ext, at.files, at.state, fileState{}, ""
			p.events = append(p.events, pending{kind: datastore.ImageChanged})
		}
		if hinted && s.adoptImage(&c, hint) {
			p.events = append(p.events, pending{kind: datastore.InfoChanged})
		}
	}
	s.examineLabels(v, &p, tags, hint)
	return p
}

// discover makes the entry of files that no record knows.
func (s *Store) discover(id string, at located, hint foreignObject, hinted bool) *entry {
	e := &entry{id: id, ext: at.ext, files: at.files, file: at.state, seq: s.nextSeq()}
	if hinted {
		e.info, e.imageExtra, e.extra = hint.info, hint.imageExtra, hint.extra
		return e
	}
	e.found = true
	e.info = s.newInfo(e.names()[0])
	return e
}

func (s *Store) newInfo(name string) []byte {
	raw, err := ordered.Marshal(ordered.Of("ts", s.unix(), "name", name))
	if err != nil {
		return []byte("{}") // a number and a string always encode
	}
	return raw
}

// examineLabels brings the labels of p.next up to date.
func (s *Store) examineLabels(v view, p *plan, tags []string, hint foreignObject) {
	isNew := p.prev == nil
	tell := func(kind datastore.EventKind, tag string) {
		if !isNew {
			p.events = append(p.events, pending{kind, tag})
		}
	}
	for _, old := range p.next.labels {
		if _, _, ok := s.locateLabel(v, p.next.id, old.tag, old); !ok {
			p.next = p.next.without(old.tag)
			tell(datastore.LabelRemoved, old.tag)
		}
	}
	// Tags in the order of the index file first, then those only found on disk.
	var order []string
	for _, l := range hint.labels {
		order = append(order, l.tag)
	}
	order = append(order, tags...)
	done := make(map[string]bool, len(order))
	for _, tag := range order {
		if done[tag] {
			continue
		}
		done[tag] = true
		if next, kind, changed := s.examineLabel(v, p.next, tag, hint); changed {
			p.next = p.next.with(next)
			tell(kind, tag)
		}
	}
}

func (s *Store) examineLabel(v view, e *entry, tag string, hint foreignObject) (l label, kind datastore.EventKind, changed bool) {
	old, known := e.label(tag)
	theirs, hinted := hint.label(tag)
	want := old
	if !known && hinted {
		want = theirs
	}
	ext, st, ok := s.locateLabel(v, e.id, tag, want)
	if !ok {
		return label{}, 0, false
	}
	if !known {
		l = label{tag: tag, ext: ext, file: st, seq: s.nextSeq()}
		if hinted {
			l.info, l.extra, l.mismatch = theirs.info, theirs.extra, theirs.mismatch
		} else {
			l.info = s.newInfo(e.id + ext)
		}
		return l, datastore.LabelSaved, true
	}
	l = old
	if st != old.file || ext != old.ext {
		l.ext, l.file, l.version = ext, st, old.version+1
		kind, changed = datastore.LabelSaved, true
	}
	if hinted {
		info := s.adopt(e.id, old.info, theirs.info)
		if !bytes.Equal(info, old.info) || !bytes.Equal(theirs.extra, old.extra) {
			l.info, l.extra = info, theirs.extra
			if !changed {
				kind, changed = datastore.InfoChanged, true
			}
		}
	}
	return l, kind, changed
}

// adoptImage takes over what the index file says about an image.
func (s *Store) adoptImage(e *entry, hint foreignObject) bool {
	info := s.adopt(e.id, e.info, hint.info)
	if bytes.Equal(info, e.info) && bytes.Equal(hint.imageExtra, e.imageExtra) && bytes.Equal(hint.extra, e.extra) {
		return false
	}
	e.info, e.imageExtra, e.extra, e.found = info, hint.imageExtra, hint.extra, false
	return true
}

// adopt chooses between our info and the one of an edited index file. Theirs
// wins, unless ours changed since the file was last written: then it only
// gives us the keys that we do not have.
func (s *Store) adopt(id string, ours, theirs []byte) []byte {
	s.mu.Lock()
	dirty := s.unwritten[id]
	s.mu.Unlock()
	if !dirty || bytes.Equal(ours, theirs) {
		return theirs
	}
	merged := parseObject(ours)
	for k, v := range parseObject(theirs).All() {
		if _, ok := merged.Get(k); !ok {
			merged.Set(k, v)
		}
	}
	raw, err := ordered.Marshal(merged)
	if err != nil {
		return ours
	}
	return raw
}

func (f *foreign) object(id string) (foreignObject, bool) {
	if f == nil {
		return foreignObject{}, false
	}
	o, ok := f.objects[id]
	return o, ok
}

func (o foreignObject) label(tag string) (label, bool) {
	for _, l := range o.labels {
		if l.tag == tag {
			return l, true
		}
	}
	return label{}, false
}
