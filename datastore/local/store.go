package local

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// Store is a datastore in a folder.
//
// Locks, in the order in which they are taken: indexMu, writeMu, telling, mu.
// Whatever waits for the disk or calls a subscriber happens outside mu, so nobody
// waits long for it; who looks at one entry needs no lock at all.
type Store struct {
	opts    Options
	log     *slog.Logger
	studies string // absolute, links resolved
	state   string // absolute, links resolved
	images  string
	labels  string
	lock    *os.File
	db      *db
	now     func() time.Time

	closing sync.RWMutex // read-held by every write, so that Close waits for them
	closed  atomic.Bool

	indexMu  sync.Mutex  // one rewrite of datastore_v2.json at a time
	index    indexRecord // guarded by indexMu
	rendered renderCache // guarded by indexMu

	writeMu sync.Mutex // one durable change at a time

	telling sync.Mutex      // one event at a time
	subs    []*subscription // guarded by telling

	entries entries // read without a lock, changed under mu

	mu        sync.Mutex
	order     []*entry // by seq
	seq       uint64
	top       *ordered.Map // top level of datastore_v2.json; "objects" marks its place
	completed int
	sick      int // quarantined entries
	tags      []datastore.TagCount
	unwritten map[string]bool // ids changed since the index was written
	lazy      map[string]bool // ids whose image record is older than memory
	topDirty  bool
	untold    []told // events that the subscribers have yet to see, in order

	cancel context.CancelFunc
	wg     sync.WaitGroup
	wake   chan struct{} // capacity 1: the index has to be written
	check  chan struct{} // capacity 1: images wait for Validate
}

var _ datastore.Store = (*Store)(nil)

// entries are the present entries by id. Looking one up takes no lock.
type entries struct{ m sync.Map }

func (m *entries) get(id string) *entry {
	v, ok := m.m.Load(id)
	if !ok {
		return nil
	}
	return v.(*entry) //nolint:forcetypeassert // put stores nothing else
}

func (m *entries) put(e *entry) { m.m.Store(e.id, e) }

func (m *entries) remove(id string) { m.m.Delete(id) }

// pending is an event that waits for its change to be installed.
type pending struct {
	kind datastore.EventKind
	tag  string
}

func (s *Store) get(id string) *entry { return s.entries.get(id) }

// Name returns the name in datastore_v2.json.
func (s *Store) Name() string { return s.topString("name") }

// Description returns the description in datastore_v2.json.
func (s *Store) Description() string { return s.topString("description") }

func (s *Store) topString(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.top.String(key)
}

// Stats returns the counts, which are kept current with every change.
func (s *Store) Stats() datastore.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return datastore.Stats{Total: len(s.order), Completed: s.completed, Tags: slices.Clone(s.tags), Quarantined: s.sick}
}

// Image returns a snapshot of one entry.
func (s *Store) Image(id string) (datastore.Image, error) {
	if err := datastore.CheckID(id); err != nil {
		return datastore.Image{}, err
	}
	if s.closed.Load() {
		return datastore.Image{}, errClosed()
	}
	e := s.get(id)
	if e == nil {
		return datastore.Image{}, unknownImage(id)
	}
	return s.snapshot(e), nil
}

// All yields a snapshot of every entry as the index stands at the call.
func (s *Store) All() func(yield func(datastore.Image) bool) {
	return func(yield func(datastore.Image) bool) {
		for _, e := range s.entriesInOrder() {
			if !yield(s.snapshot(e)) {
				return
			}
		}
	}
}

// entriesInOrder returns the present entries. The lock is held for the copy
// only, not while memory for it is found.
func (s *Store) entriesInOrder() []*entry {
	var out []*entry
	for {
		s.mu.Lock()
		n := len(s.order)
		if n <= cap(out) {
			out = append(out, s.order...)
			s.mu.Unlock()
			return out
		}
		s.mu.Unlock()
		out = make([]*entry, 0, n+n/64)
	}
}

// Index writes datastore_v2.json's content as compact JSON.
func (s *Store) Index(w io.Writer) error {
	return s.renderIndex(w, compactForm)
}

func unknownImage(id string) error {
	return fault.New(fault.NotFound, "there is no image %q in the datastore", id)
}

func errClosed() error {
	return fault.New(fault.Unavailable, "the datastore is closed: the server is shutting down")
}

// install replaces prev by next in memory, keeps the counters and tells the
// subscribers. next == nil removes the entry. The caller holds writeMu.
//
// MarkServed changes memory without writeMu. What it wrote since prev was read
// is carried over into next and stored with the next flush.
//
// The subscribers have seen the events when it returns.
func (s *Store) install(prev, next *entry, events []pending) {
	id := cmp.Or(next, prev).id
	s.mu.Lock()
	if cur := s.get(id); cur != prev && cur != nil && next != nil {
		next.info = carryServed(next.info, cur.info)
		next.found = next.found && cur.found
		s.lazy[id] = true
	}
	s.replace(id, next)
	s.unwritten[id] = true
	for _, ev := range events {
		s.untold = append(s.untold, told{id, next, datastore.Event{Kind: ev.kind, Tag: ev.tag}})
	}
	s.mu.Unlock()
	s.tell()
}

func carryServed(info, from []byte) []byte {
	served, ok := parseObject(from).Get("strategy")
	if !ok {
		return info
	}
	raw, err := ordered.Marshal(parseObject(info).Set("strategy", served))
	if err != nil {
		return info
	}
	return raw
}

// replace puts next in the place of the entry of this id. The caller holds mu.
func (s *Store) replace(id string, next *entry) {
	cur := s.get(id)
	s.count(cur, -1)
	s.count(next, 1)
	s.dropEmptyTags()
	at := func(e *entry) int {
		i, _ := slices.BinarySearchFunc(s.order, e.seq, func(o *entry, seq uint64) int { return cmp.Compare(o.seq, seq) })
		return i
	}
	switch {
	case cur != nil && next != nil && cur.seq == next.seq:
		s.order[at(next)] = next
	default:
		if cur != nil {
			i := at(cur)
			s.order = slices.Delete(s.order, i, i+1)
		}
		if next != nil {
			s.order = slices.Insert(s.order, at(next), next)
		}
	}
	if next == nil {
		s.entries.remove(id)
		return
	}
	s.entries.put(next)
}

// count adds n times what e counts for.
func (s *Store) count(e *entry, n int) {
	if e == nil {
		return
	}
	if e.quarantine != "" {
		s.sick += n
	}
	for _, l := range e.labels {
		if l.tag == datastore.TagFinal {
			s.completed += n
		}
		i := slices.IndexFunc(s.tags, func(t datastore.TagCount) bool { return t.Tag == l.tag })
		if i < 0 {
			i = len(s.tags)
			s.tags = append(s.tags, datastore.TagCount{Tag: l.tag})
		}
		s.tags[i].Count += n
	}
}

// dropEmptyTags forgets tags that no image has any more. The caller holds mu.
func (s *Store) dropEmptyTags() {
	s.tags = slices.DeleteFunc(s.tags, func(t datastore.TagCount) bool { return t.Count == 0 })
}

// nextSeq returns a number larger than all before.
func (s *Store) nextSeq() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	return s.seq
}

func (s *Store) unix() int64 { return s.now().Unix() }

func (s *Store) imagePath(name string) string { return filepath.Join(s.images, name) }
