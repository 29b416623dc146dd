package infer

import (
	"context"
	"fmt"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/transform"
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
	all, err := s.windows(ctx, c, p)
	s.pool.put(p.data)
	p.data = nil
	if err != nil {
		return err
	}
	defer func() {
		for _, sc := range all {
			sc.release(s.pool)
		}
	}()
	err = c.timed("restore", func() (int64, error) {
		var err error
		if c.labels, err = s.restore(ctx, p, all, c.options); err != nil {
			return 0, err
		}
		return 2 * int64(len(c.labels.Data)), nil
	})
	if err != nil {
		return err
	}
	return c.timed("post", func() (int64, error) { return 0, s.m.postImage(c.labels, c.options) })
}

// windows runs the network over all windows and blends its outputs.
func (s *network) windows(ctx context.Context, c *task, p *prepared) (_ []*scores, err error) {
	if s.bound == nil {
		return s.whole(ctx, c, p)
	}
	overlap := perAxis(s.m, s.m.Window.Overlap.axis, 0)
	if o := c.options.Overlap; o != 0 {
		if !(o > 0 && o < 1) {
			return nil, fault.New(fault.Invalid, "the overlap %g is not between 0 and 1", o)
		}
		overlap = perAxis(s.m, func(int) float64 { return o }, 0)
	}
	w := newWindows(p.layout.Size, s.b.window, overlap)
	all := s.newScores(w)
	defer func() {
		if err != nil {
			for _, sc := range all {
				sc.release(s.pool)
			}
		}
	}()
	for first := 0; first < w.count(); first += s.b.batch {
		last := min(first+s.b.batch, w.count())
		if err := s.batch(ctx, c, p, all, first, last); err != nil {
			return nil, err
		}
	}
	c.windows += w.count()
	return all, nil
}

// batch runs the network on windows first..last-1 and blends what it says.
func (s *network) batch(ctx context.Context, c *task, p *prepared, all []*scores, first, last int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := all[0].w
	err := c.timed("blend", func() (int64, error) {
		for i := first; i < last; i++ {
			s.gather(p, w, w.at(i), i-first)
		}
		return 0, nil
	})
	if err != nil {
		return err
	}
	if err := c.timed("network", func() (int64, error) { return 0, s.bound.Run(ctx) }); err != nil {
		return err
	}
	return c.timed("blend", func() (n int64, err error) { return s.blend(ctx, all, first, last, s.out) })
}

// blend adds the outputs of windows first..last-1, [batch, channels, window]
// per head, to the scores. It returns the bytes it has added.
func (s *network) blend(ctx context.Context, all []*scores, first, last int, out [][]float32) (bytes int64, err error) {
	for i := first; i < last; i++ {
		for k, sc := range all {
			n := len(out[k]) / s.b.batch
			if err := sc.blend(ctx, sc.w.at(i), out[k][(i-first)*n:(i-first+1)*n]); err != nil {
				return bytes, err
			}
			bytes += 4 * int64(n)
		}
	}
	return bytes, nil
}

func (s *network) newScores(w windows) []*scores {
	var all []*scores
	for _, h := range s.heads {
		all = append(all, newScores(w, h.channels, s.importance, s.pool))
	}
	return all
}

// gather copies all channels of one window into place of the batch.
func (s *network) gather(p *prepared, w windows, start [3]int, place int) {
	n := w.size[0] * w.size[1] * w.size[2]
	for ch := range s.m.Inputs {
		dst := s.in[(place*len(s.m.Inputs)+ch)*n:][:n]
		transform.CopyPadded(dst, w.size, p.channel(ch), w.array, start, s.m.Window.Padding, float32(s.m.Window.PadValue))
	}
}
