package infer

import (
	"sync"
	"unsafe"
)

// ownMapping is the size in values from which a buffer gets memory of its own
// from the system. Such memory goes back the moment the buffer does, however
// large the case was: a garbage-collected slice would stay until the heap has
// doubled, and set the pace of the collector meanwhile.
const ownMapping = 1 << 18

// buffers lends large float32 arrays and takes them back. The zero value is
// ready for use.
type buffers struct {
	small sync.Pool

	mu     sync.Mutex
	mapped map[*float32][]byte // by the first value of what is lent
}

// get returns n values of any content.
func (b *buffers) get(n int) []float32 {
	if n >= ownMapping {
		if s, ok := b.mapping(n); ok {
			return s
		}
	}
	if p, ok := b.small.Get().(*[]float32); ok && cap(*p) >= n && cap(*p) <= 2*n+1024 {
		return (*p)[:n]
	}
	return make([]float32, n)
}

// zeroed returns n zeros.
func (b *buffers) zeroed(n int) []float32 {
	if n >= ownMapping {
		if s, ok := b.mapping(n); ok {
			return s
		}
	}
	s := b.get(n)
	clear(s)
	return s
}

// mapping returns zeroed memory of the system's; false when there is none.
func (b *buffers) mapping(n int) ([]float32, bool) {
	m, err := mapMemory(n * int(unsafe.Sizeof(float32(0))))
	if err != nil {
		return nil, false
	}
	s := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(m))), n) //nolint:gosec // page-aligned, n values long
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mapped == nil {
		b.mapped = make(map[*float32][]byte)
	}
	b.mapped[unsafe.SliceData(s)] = m //nolint:gosec // the address is only a key
	return s, true
}

// put takes a buffer back; the caller must not touch it again.
func (b *buffers) put(s []float32) {
	if cap(s) == 0 {
		return
	}
	first := unsafe.SliceData(s) //nolint:gosec // the address is only a key
	b.mu.Lock()
	m, mapped := b.mapped[first]
	delete(b.mapped, first)
	b.mu.Unlock()
	if mapped {
		unmapMemory(m)
		return
	}
	b.small.Put(&s)
}
