package strategies

import (
	"maps"
	"sync"
	"time"
)

// Event is the state of one image after a change. The sender describes the
// image as it stands, not what happened to it: repeating an event is harmless.
type Event struct {
	ID          string
	Gone        bool             // the image left the datastore; the other fields are ignored
	Labelled    bool             // it has a final label
	Quarantined bool             // it must not be handed out
	Served      map[string]int64 // strategy → when it last handed the image out; see ServedTimes
}

// candidate is an image known to the index.
type candidate struct {
	id       string
	hash     uint64
	labelled bool
	open     bool // unlabelled and not quarantined: may be handed out
	slot     int  // place in the weights
	served   map[string]int64

	lease *lease // nil: nobody holds it
	place place  // where it may be picked from
	pool  int    // place in Index.pool while in inPool

	looks   []*look   // the newest of each model
	print   []float32 // fingerprint
	far     float64   // robust distance of the fingerprint; 0: unknown
	corrupt string
	centre  int // place in Index.labels plus 1; 0: not labelled
}

// place says which of the index's lists a candidate may be picked from.
type place uint8

const (
	nowhere   place = iota // closed, or held by a client
	inPool                 // free
	inFlagged              // free, but to be asked for last
)

// Index holds the images, what models have shown of them, and who has been
// given which. Handing out, events and new observations take O(log n) time.
// It may be used from many goroutines at once. The zero value is not ready; use
// NewIndex or Open.
type Index struct {
	opts Options

	mu     sync.Mutex
	images map[string]*candidate
	open   int
	slots  []*candidate // slot → candidate, nil when free
	spare  []int        // free slots

	weights map[string]*weights // of the images in pool
	byID    tree                // images in pool and flagged, by id
	pool    []*candidate        // free and sound, in no order
	flagged tree                // free and flagged, corrupt ones last
	labels  []*candidate        // labelled
	saved   int                 // labels saved since the start

	models  map[string]*modelState
	main    string // model of strategies that name none
	prints  fingerprints
	efforts efforts
	leases  leases
	orders  []order // rankings that every model keeps

	plans uint64 // plans made: a new one draws new noise
}

// NewIndex returns an empty index with the zero Options.
func NewIndex() *Index { return Open(Options{}) }

// Open returns an empty index.
func Open(o Options) *Index {
	o = o.withDefaults()
	return &Index{
		opts:    o,
		images:  make(map[string]*candidate),
		weights: make(map[string]*weights),
		models:  make(map[string]*modelState),
		leases:  leases{clients: make(map[string][]*lease)},
	}
}

// Len returns how many images may be handed out, held ones included.
func (x *Index) Len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.open
}

// Labelled returns how many images are labelled.
func (x *Index) Labelled() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.labels)
}

// Handle takes in the state of one image.
func (x *Index) Handle(ev Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.images[ev.ID]
	if ev.Gone {
		if c != nil {
			x.setLabelled(c, false)
			x.setOpen(c, false)
			x.release(c)
		}
		return
	}
	if c == nil {
		c = x.add(ev.ID)
	}
	x.setLabelled(c, ev.Labelled)
	x.setOpen(c, !ev.Labelled && !ev.Quarantined)
	x.setServed(c, ev.Served)
}

func (x *Index) add(id string) *candidate {
	c := &candidate{id: id, hash: mix(hashOf(id) ^ x.opts.Seed)}
	if n := len(x.spare); n > 0 {
		c.slot, x.spare = x.spare[n-1], x.spare[:n-1]
		x.slots[c.slot] = c
	} else {
		c.slot = len(x.slots)
		x.slots = append(x.slots, c)
	}
	x.images[id] = c
	return c
}

func (x *Index) release(c *candidate) {
	x.prints.forget(c)
	delete(x.images, c.id)
	x.slots[c.slot] = nil
	x.spare = append(x.spare, c.slot)
}

func (x *Index) setOpen(c *candidate, open bool) {
	if c.open == open {
		return
	}
	c.open = open
	if open {
		x.open++
	} else {
		x.open--
		x.leases.drop(c)
	}
	for _, m := range x.models {
		m.setOpen(c, open)
	}
	x.settle(c)
}

// maxTime bounds times (the year 36,812), so that no sum of them overflows.
const maxTime = 1 << 40

func (x *Index) setServed(c *candidate, served map[string]int64) {
	if len(served) == 0 && len(c.served) == 0 {
		return
	}
	served = maps.Clone(served)
	for name, ts := range served {
		served[name] = min(max(ts, 0), maxTime)
	}
	for name, w := range x.weights {
		w.see(served[name])
		if c.place == inPool {
			w.add(c.slot, 0, served[name]-c.served[name])
		}
	}
	c.served = served
}

// track makes the index keep the weights of one strategy.
func (x *Index) track(name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.weights[name] != nil {
		return
	}
	w := &weights{}
	for _, c := range x.slots {
		if c == nil {
			continue
		}
		w.see(c.served[name])
		if c.place == inPool {
			w.add(c.slot, 1, c.served[name])
		}
	}
	x.weights[name] = w
}

// clock returns the moment of a request.
func (r Request) clock() time.Time {
	if r.Now.IsZero() {
		return time.Now()
	}
	return r.Now
}
