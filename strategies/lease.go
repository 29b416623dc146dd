package strategies

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// Lease says that an image is held by a client: nobody else gets it.
type Lease struct {
	Image, Client string
	Until         time.Time
}

// lease is a Lease in the index.
type lease struct {
	c      *candidate
	client string
	until  time.Time
	place  int // in the heap
}

// leases holds the hand-outs that have not ended.
type leases struct {
	byEnd   leaseHeap
	clients map[string][]*lease // in the order of the hand-outs
	last    time.Time           // latest moment that was told
}

// drop ends c's lease, if it has one.
func (l *leases) drop(c *candidate) {
	if c.lease == nil {
		return
	}
	held := c.lease
	heap.Remove(&l.byEnd, held.place)
	list := l.clients[held.client]
	list = slices.DeleteFunc(list, func(o *lease) bool { return o == held })
	if len(list) == 0 {
		delete(l.clients, held.client)
	} else {
		l.clients[held.client] = list
	}
	c.lease = nil
}

func (l *leases) add(c *candidate, client string, until time.Time) {
	c.lease = &lease{c: c, client: client, until: until}
	heap.Push(&l.byEnd, c.lease)
	l.clients[client] = append(l.clients[client], c.lease)
}

// expire returns the images whose lease has ended by now. When the clock was
// set back, leases move with it: none ends early or lasts longer.
func (x *Index) expire(now time.Time) {
	l := &x.leases
	if back := l.last.Sub(now); back > time.Second {
		for _, held := range l.byEnd {
			held.until = held.until.Add(-back)
		}
		l.last = now
	}
	if now.After(l.last) {
		l.last = now
	}
	for len(l.byEnd) > 0 && !l.byEnd[0].until.After(now) {
		c := l.byEnd[0].c
		l.drop(c)
		x.settle(c)
	}
}

// lend gives c to a client. A client that already holds it keeps it longer;
// one that holds too many returns the one it has held longest.
func (x *Index) lend(c *candidate, client string, now time.Time) {
	if x.opts.Lease <= 0 {
		return
	}
	l := &x.leases
	l.drop(c)
	if list := l.clients[client]; len(list) >= x.opts.PerClient {
		oldest := list[0].c
		l.drop(oldest)
		x.settle(oldest)
	}
	l.add(c, client, now.Add(x.opts.Lease))
	x.settle(c)
}

// Release returns an image that a client holds and does not want. It reports
// whether the client held it.
func (x *Index) Release(client, id string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.images[id]
	if c == nil || c.lease == nil || c.lease.client != client {
		return false
	}
	x.leases.drop(c)
	x.settle(c)
	return true
}

// Renew makes a client's lease of an image last its full time from now on:
// the client is at work on it. It reports whether the client holds it.
func (x *Index) Renew(client, id string, now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
	c := x.images[id]
	if c == nil || c.lease == nil || c.lease.client != client {
		return false
	}
	c.lease.until = now.Add(x.opts.Lease)
	heap.Fix(&x.leases.byEnd, c.lease.place)
	return true
}

// Leases returns what is held, the lease that ends first in front. With Restore
// it carries leases over a restart.
func (x *Index) Leases(now time.Time) []Lease {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
	out := make([]Lease, 0, len(x.leases.byEnd))
	for _, l := range x.leases.byEnd {
		out = append(out, Lease{Image: l.c.id, Client: l.client, Until: l.until})
	}
	slices.SortFunc(out, func(a, b Lease) int {
		if d := a.Until.Compare(b.Until); d != 0 {
			return d
		}
		return cmp.Compare(a.Image, b.Image)
	})
	return out
}

// Restore gives leases back after a restart. Those that have ended, would last
// longer than a new one, or are of images that cannot be handed out are left
// out.
func (x *Index) Restore(held []Lease, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(now)
	for _, l := range held {
		c := x.images[l.Image]
		if c == nil || !c.open || c.lease != nil || !l.Until.After(now) || l.Until.After(now.Add(x.opts.Lease)) {
			continue
		}
		x.leases.add(c, l.Client, l.Until)
		x.settle(c)
	}
}

// own returns the image that a client has held longest, or nil.
func (x *Index) own(client string) *candidate {
	if list := x.leases.clients[client]; len(list) > 0 {
		return list[0].c
	}
	return nil
}

// leaseHeap is a container/heap by end.
type leaseHeap []*lease

func (h leaseHeap) Len() int { return len(h) }

func (h leaseHeap) Less(i, j int) bool {
	if d := h[i].until.Compare(h[j].until); d != 0 {
		return d < 0
	}
	return h[i].c.id < h[j].c.id
}

func (h leaseHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *leaseHeap) Push(v any) {
	l := v.(*lease)
	l.place = len(*h)
	*h = append(*h, l)
}

func (h *leaseHeap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return l
}
