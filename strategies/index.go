package strategies

import (
	"container/heap"
	"maps"
	"strconv"
	"sync"

	"github.com/voxloop/voxloop/internal/ordered"
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

// ServedTimes reads when each strategy last handed an image out from the
// image's info: strategy.<name>.ts, as MONAI Label stores it. Entries of
// another form are left out.
func ServedTimes(info *ordered.Map) map[string]int64 {
	var times map[string]int64
	for name := range info.Sub("strategy").All() {
		v, _ := info.Sub("strategy").Sub(name).Get("ts")
		ts, ok := asInt(v)
		if !ok {
			continue
		}
		if times == nil {
			times = make(map[string]int64)
		}
		times[name] = ts
	}
	return times
}

// asInt reads the forms that a number has in an ordered.Map.
func asInt(v any) (int64, bool) {
	switch t := v.(type) {
	case interface{ String() string }: // json.Number
		if n, err := strconv.ParseInt(t.String(), 10, 64); err == nil {
			return n, true
		}
		f, err := strconv.ParseFloat(t.String(), 64)
		return int64(f), err == nil
	case int64:
		return t, true
	case int:
		return int64(t), true
	case float64:
		return int64(t), true
	}
	return 0, false
}

// candidate is an image known to the index.
type candidate struct {
	id     string
	open   bool // unlabelled and not quarantined: may be handed out
	slot   int  // place in the weights
	inMin  bool // lies in the heap of smallest ids (perhaps no longer open)
	inMax  bool
	served map[string]int64
}

// Index holds the images that may be handed out. Every operation takes
// O(log n) time. The zero value is not ready; use NewIndex.
type Index struct {
	mu       sync.Mutex
	images   map[string]*candidate
	min, max idHeap
	open     int
	slots    []*candidate // slot → candidate, nil when free
	free     []int        // free slots
	weights  map[string]*weights
}

// NewIndex returns an empty index.
func NewIndex() *Index {
	return &Index{
		images:  make(map[string]*candidate),
		max:     idHeap{largest: true},
		weights: make(map[string]*weights),
	}
}

// Len returns how many images may be handed out.
func (x *Index) Len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.open
}

// Handle takes in the state of one image.
func (x *Index) Handle(ev Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.images[ev.ID]
	if ev.Gone {
		if c != nil {
			x.setOpen(c, false)
			x.release(c)
		}
		return
	}
	if c == nil {
		c = x.add(ev.ID)
	}
	x.setOpen(c, !ev.Labelled && !ev.Quarantined)
	x.setServed(c, ev.Served)
}

func (x *Index) add(id string) *candidate {
	c := &candidate{id: id}
	if n := len(x.free); n > 0 {
		c.slot, x.free = x.free[n-1], x.free[:n-1]
		x.slots[c.slot] = c
	} else {
		c.slot = len(x.slots)
		x.slots = append(x.slots, c)
	}
	x.images[id] = c
	return c
}

func (x *Index) release(c *candidate) {
	delete(x.images, c.id)
	x.slots[c.slot] = nil
	x.free = append(x.free, c.slot)
}

func (x *Index) setOpen(c *candidate, open bool) {
	if c.open == open {
		return
	}
	c.open = open
	if open {
		x.open++
		for name, w := range x.weights {
			w.add(c.slot, 1, c.served[name])
		}
		x.enqueue(c)
		return
	}
	x.open--
	for name, w := range x.weights {
		w.add(c.slot, -1, -c.served[name])
	}
}

// enqueue puts c into the heaps it has left. A closed candidate stays in a
// heap until it comes to the top.
func (x *Index) enqueue(c *candidate) {
	if !c.inMin {
		c.inMin = true
		heap.Push(&x.min, c)
	}
	if !c.inMax {
		c.inMax = true
		heap.Push(&x.max, c)
	}
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
		if c.open {
			w.add(c.slot, 0, served[name]-c.served[name])
		}
	}
	c.served = served
}

// smallest returns the lexicographically first open image.
func (x *Index) smallest() (string, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.min.Len() > 0 {
		if c := x.min.items[0]; c.open {
			return c.id, true
		}
		heap.Pop(&x.min).(*candidate).inMin = false
	}
	return "", false
}

// largest returns the lexicographically last open image.
func (x *Index) largest() (string, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.max.Len() > 0 {
		if c := x.max.items[0]; c.open {
			return c.id, true
		}
		heap.Pop(&x.max).(*candidate).inMax = false
	}
	return "", false
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
		if c.open {
			w.add(c.slot, 1, c.served[name])
		}
	}
	x.weights[name] = w
}
