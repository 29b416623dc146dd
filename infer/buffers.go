package infer

import "sync"

// buffers lends large float32 arrays and takes them back. What nobody uses is
// freed by the garbage collector.
type buffers struct{ pool sync.Pool }

// get returns n values of any content.
func (b *buffers) get(n int) []float32 {
	if p, ok := b.pool.Get().(*[]float32); ok && cap(*p) >= n && cap(*p) <= 2*n+1024 {
		return (*p)[:n]
	}
	return make([]float32, n)
}

// zeroed returns n zeros.
func (b *buffers) zeroed(n int) []float32 {
	if p, ok := b.pool.Get().(*[]float32); ok && cap(*p) >= n && cap(*p) <= 2*n+1024 {
		s := (*p)[:n]
		clear(s)
		return s
	}
	return make([]float32, n)
}

// put takes a buffer back; the caller must not touch it again.
func (b *buffers) put(s []float32) {
	if cap(s) > 0 {
		b.pool.Put(&s)
	}
}
