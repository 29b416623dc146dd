package trainers

import (
	"context"
	"sync"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// Cache is a Data that keeps prepared training cases in memory, outside the
// collected heap, up to a number of bytes. A case that was kept stays: every
// case is wanted once per pass, so throwing out an old one for a new one would
// gain nothing. Those beyond the budget go to the disk where Spill says so.
// Cases for validation, and those that have no place, are prepared anew each time.
type Cache struct {
	data   Data
	budget int64
	disk   *spill // nil: none

	mu      sync.Mutex
	used    int64
	entries map[string]*cached
	memory  [][]byte // mapped
	holders int
	closed  bool
}

// cached is the place of one case. Its lock is held while the case is prepared
// for the first time.
type cached struct {
	mu     sync.Mutex
	sample *Sample // nil: not kept
	beyond bool    // it does not fit
}

var _ Data = (*Cache)(nil)

// NewCache keeps the cases of data within a number of bytes; none when that is
// not positive. The Cache closes data.
func NewCache(data Data, bytes int64) *Cache {
	return &Cache{data: data, budget: bytes, entries: make(map[string]*cached)}
}

// Spec implements Data.
func (c *Cache) Spec() Spec { return c.data.Spec() }

// Score implements Data.
func (c *Cache) Score(ctx context.Context, network *onnx.Model, cases []Case, each func(Score)) error {
	return c.data.Score(ctx, network, cases, each)
}

// Load implements Data. A sample must not be changed, and not be used after
// Close.
func (c *Cache) Load(ctx context.Context, k Case) (*Sample, error) {
	if k.Role == Validate || c.budget <= 0 && c.disk == nil {
		return c.data.Load(ctx, k)
	}
	e, err := c.entry(k.ID)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	if e.sample != nil || e.beyond {
		s := e.sample
		e.mu.Unlock()
		if s != nil {
			return s, nil
		}
		return c.data.Load(ctx, k)
	}
	defer e.mu.Unlock()
	s, err := c.data.Load(ctx, k)
	if err != nil {
		return nil, err
	}
	kept, ok := c.keep(s)
	if !ok {
		e.beyond = true
		return s, nil
	}
	e.sample = kept
	return kept, nil
}

func (c *Cache) entry(id string) (*cached, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fault.New(fault.Unavailable, "the training data have been closed")
	}
	e := c.entries[id]
	if e == nil {
		e = new(cached)
		c.entries[id] = e
	}
	return e, nil
}

// keep moves a sample out of the heap; false when the budgets or the system
// have no room for it.
func (c *Cache) keep(s *Sample) (*Sample, bool) {
	n := 4*int64(len(s.Image)) + 2*int64(len(s.Labels))
	if kept, ok := c.toMemory(s, n); ok {
		return kept, true
	}
	return c.toDisk(s, n)
}

func (c *Cache) toMemory(s *Sample, n int64) (*Sample, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.used+n > c.budget {
		return nil, false
	}
	image, imageMemory, err := mapped[float32](len(s.Image))
	if err != nil {
		return nil, false
	}
	labels, labelMemory, err := mapped[uint16](len(s.Labels))
	if err != nil {
		unmap(imageMemory)
		return nil, false
	}
	copy(image, s.Image)
	copy(labels, s.Labels)
	c.used += n
	c.memory = append(c.memory, imageMemory, labelMemory)
	out := *s
	out.Image, out.Labels = image, labels
	return &out, true
}

// Used is the number of bytes of the cases that are kept.
func (c *Cache) Used() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// hold keeps the memory until drop, whatever Close says meanwhile.
func (c *Cache) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holders++
}

func (c *Cache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holders--
	c.free()
}

// free gives the memory back once nobody needs it. It needs the lock.
func (c *Cache) free() {
	if !c.closed || c.holders > 0 {
		return
	}
	for _, m := range c.memory {
		unmap(m)
	}
	c.memory, c.entries, c.used = nil, nil, 0
}

// Close implements Data. Loaders that are still open keep the cases in memory
// until they are closed. It is safe to call twice.
func (c *Cache) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.free()
	c.mu.Unlock()
	if again {
		return nil
	}
	return c.data.Close()
}
