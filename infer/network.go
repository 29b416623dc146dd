package infer

import (
	"context"
	"fmt"

	"github.com/voxloop/voxloop/internal/ort"
)

// network is a stage that runs one network over an image. It is used by one
// inference at a time: its window buffers are shared by all.
type network struct {
	m         *Manifest
	b         *binding
	session   *ort.Session
	heads     []head
	pool      *buffers
	maxVoxels int64

	// For windows of fixed size.
	importance []float32
	in         []float32
	out        [][]float32
	bound      runner // nil when the whole image is one window
}

// runner runs a network on buffers that it is tied to.
type runner interface {
	Run(ctx context.Context) error
}

// newNetwork takes over the session and closes it when it fails.
func newNetwork(m *Manifest, b *binding, s *ort.Session, maxVoxels int64, pool *buffers) (_ *network, err error) {
	defer func() {
		if err != nil {
			_ = s.Close() // the first error counts
		}
	}()
	n := &network{m: m, b: b, session: s, pool: pool, maxVoxels: maxVoxels}
	for i, o := range s.Outputs() {
		if len(o.Shape) != m.Dimension+2 || o.Shape[1] < 1 {
			return nil, refuse(keyErrorf(fmt.Sprintf("outputs[%d]", i), "%s has the shape %v; [N, C] and %d spatial axes with a fixed C are needed", o.Name, o.Shape, m.Dimension))
		}
		if err := m.checkChannels(i, int(o.Shape[1])); err != nil {
			return nil, refuse(err)
		}
		h := newHead(m, i, int(o.Shape[1]))
		n.heads = append(n.heads, h)
		if err := n.checkSize(i, o); err != nil {
			return nil, err
		}
	}
	if b.window == ([3]int{}) {
		return n, nil
	}
	sigma := perAxis(m, m.Window.SigmaScale.axis, 1)
	n.importance = importance(m.Window.Blend, b.window, sigma)
	return n, n.bind()
}

// checkSize makes sure that the network's output covers its window.
func (s *network) checkSize(i int, o ort.TensorInfo) error {
	for d, size := range o.Shape[2:] {
		if want := s.b.window[3-s.m.Dimension+d]; want != 0 && size >= 0 && size != int64(want) {
			return refuse(keyErrorf(fmt.Sprintf("outputs[%d]", i), "%s has the size %v for windows of %v; both must be equal", o.Name, o.Shape[2:], s.b.window[3-s.m.Dimension:]))
		}
	}
	return nil
}

// bind makes the window buffers and ties them to the session.
func (s *network) bind() error {
	voxels := s.b.window[0] * s.b.window[1] * s.b.window[2]
	s.in = make([]float32, s.b.batch*len(s.m.Inputs)*voxels)
	var out []ort.Tensor
	for _, h := range s.heads {
		buf := make([]float32, s.b.batch*h.channels*voxels)
		s.out = append(s.out, buf)
		out = append(out, ort.Tensor{Shape: tensorShape(s.m.Dimension, s.b.batch, h.channels, s.b.window), Data: buf})
	}
	in := ort.Tensor{Shape: s.m.inputShape(s.b.batch, s.b.window), Data: s.in}
	bound, err := s.session.Bind([]ort.Tensor{in}, out)
	if err != nil {
		return err
	}
	s.bound = bound
	return nil
}

func (s *network) close() error { return s.session.Close() }

// run implements stage.
func (s *network) run(ctx context.Context, c *task) error {
	var p *prepared
	err := c.timed("prepare", func() (n int64, err error) {
		if p, err = s.m.prepare(ctx, c.in, s.maxVoxels, s.pool); err != nil {
			return 0, err
		}
		return 4 * int64(len(p.data)), nil
	})
	if err != nil {
		return err
	}
	defer func() { s.pool.put(p.data) }() // when slide has not done it already
	k, err := newSink(s.m, s.heads, p)
	if err == nil {
		err = s.slide(ctx, c, p, k)
	}
	if err != nil {
		return err
	}
	err = c.timed("restore", func() (n int64, err error) {
		if c.labels, err = k.finish(ctx, c.options); err != nil {
			return 0, err
		}
		return 2 * int64(len(c.labels.Data)), nil
	})
	if err != nil {
		return err
	}
	return c.timed("post", func() (int64, error) { return 0, s.m.postImage(c.labels, c.options) })
}

// slide runs the network over all windows of an image; the sink gets the
// blended scores. The image's data is given back afterwards.
func (s *network) slide(ctx context.Context, c *task, p *prepared, k sink) error {
	ps, err := s.newPass(c, p, k)
	if err != nil {
		return err
	}
	defer ps.release()
	n := ps.w.count()
	for first := 0; first < n; first += s.b.batch {
		if err := ps.batch(ctx, first, min(first+s.b.batch, n)); err != nil {
			return err
		}
	}
	c.windows += n
	return ps.flush(ctx, p.layout.Size[0])
}
