package infer

import (
	"context"
	"errors"
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

	open     func(context.Context, variant) (*network, error) // nil: there are no variants
	variants map[variant]*network                             // opened so far
	extra    extra                                            // of a variant
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
	n.in = make([]float32, n.inValues(b.window))
	for _, h := range n.heads {
		n.out = append(n.out, make([]float32, n.outValues(h, b.window)))
	}
	n.bound, err = s.Bind(n.inTensors(b.window, n.in, nil), n.outTensors(b.window, n.out))
	return n, err
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

// inValues is the number of values that a batch of windows has, outValues that
// of a head's scores over one.
func (s *network) inValues(window [3]int) int {
	return s.b.batch * len(s.m.Inputs) * window[0] * window[1] * window[2]
}

func (s *network) outValues(h head, window [3]int) int {
	return s.b.batch * h.channels * window[0] * window[1] * window[2]
}

// inTensors are the session's inputs: the windows, then the masks of a variant
// with dropout.
func (s *network) inTensors(window [3]int, in []float32, masks []ort.Tensor) []ort.Tensor {
	return append([]ort.Tensor{{Shape: s.m.inputShape(s.b.batch, window), Data: in}}, masks...)
}

// outTensors are the session's outputs: the heads' scores, then the features of
// a variant that gives some.
func (s *network) outTensors(window [3]int, out [][]float32) []ort.Tensor {
	var list []ort.Tensor
	for i, h := range s.heads {
		list = append(list, ort.Tensor{Shape: tensorShape(s.m.Dimension, s.b.batch, h.channels, window), Data: out[i]})
	}
	if f := s.extra.features; f != nil {
		one := [3]int{1, 1, 1}
		list = append(list, ort.Tensor{Shape: tensorShape(s.m.Dimension, s.b.batch, len(f)/s.b.batch, one), Data: f})
	}
	return list
}

func (s *network) close() error {
	errs := []error{s.session.Close()}
	for _, v := range s.variants {
		errs = append(errs, v.session.Close())
	}
	return errors.Join(errs...)
}

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
	defer s.giveBack(p) // when slide has not done it already
	k, err := newSink(s.m, s.heads, p)
	if err == nil && c.wrap != nil {
		k = c.wrap(k, p)
	}
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

// giveBack returns a prepared image's data to the pool. It may be called twice.
func (s *network) giveBack(p *prepared) {
	s.pool.put(p.data)
	p.data = nil
}

// slide runs the network over all windows of an image; the sink gets the
// blended scores. The image's data is given back afterwards.
func (s *network) slide(ctx context.Context, c *task, p *prepared, k sink) error {
	defer s.giveBack(p)
	ps, err := s.newPass(c, p, k)
	if err != nil {
		return err
	}
	defer ps.release()
	return ps.windows(ctx)
}
