package infer

import (
	"context"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/transform"
	"github.com/voxloop/voxloop/internal/ort"
)

// whole runs a network of free size on the whole image (2-D: on whole slices,
// a batch at a time), padded up to the multiple that the network needs.
func (s *network) whole(ctx context.Context, c *task, p *prepared) (_ []*scores, err error) {
	size := s.wholeSize(p.layout.Size)
	w := newWindows(p.layout.Size, size, [3]float64{})
	var all []*scores
	for _, h := range s.heads {
		sc := newScores(w, h.channels, nil, s.pool)
		s.pool.put(sc.weight)
		sc.weight = nil // slices do not overlap
		all = append(all, sc)
	}
	voxels := size[0] * size[1] * size[2]
	in := s.pool.get(s.b.batch * len(s.m.Inputs) * voxels)
	defer s.pool.put(in)
	var out [][]float32
	for _, h := range s.heads {
		out = append(out, s.pool.get(s.b.batch*h.channels*voxels))
	}
	defer func() {
		for k := range out {
			s.pool.put(out[k])
			if err != nil {
				all[k].release(s.pool)
			}
		}
	}()
	for first := 0; first < w.count(); first += s.b.batch {
		last := min(first+s.b.batch, w.count())
		if err := c.timed("network", func() (int64, error) { return 0, s.runSlices(ctx, p, w, first, last, in, out) }); err != nil {
			return nil, err
		}
		if err := c.timed("blend", func() (int64, error) { return s.blend(ctx, all, first, last, out) }); err != nil {
			return nil, err
		}
	}
	c.windows += w.count()
	return all, nil
}

// runSlices runs the network once on windows first..last-1. A batch that is not
// full is filled up with zeros.
func (s *network) runSlices(ctx context.Context, p *prepared, w windows, first, last int, in []float32, out [][]float32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n := w.size[0] * w.size[1] * w.size[2]
	channels := len(s.m.Inputs)
	for i := range s.b.batch {
		for ch := range channels {
			dst := in[(i*channels+ch)*n:][:n]
			if first+i >= last {
				clear(dst)
				continue
			}
			transform.CopyPadded(dst, w.size, p.channel(ch), w.array, w.at(first+i), s.m.Window.Padding, float32(s.m.Window.PadValue))
		}
	}
	var tensors []ort.Tensor
	for k, h := range s.heads {
		tensors = append(tensors, ort.Tensor{Shape: tensorShape(s.m.Dimension, s.b.batch, h.channels, w.size), Data: out[k]})
	}
	err := s.session.Run(ctx, []ort.Tensor{{Shape: s.m.inputShape(s.b.batch, w.size), Data: in}}, tensors)
	if fault.KindOf(err) == fault.Invalid || fault.KindOf(err) == fault.Internal {
		return fault.Wrap(fault.KindOf(err), err, "the network does not run on %s voxels; its manifest may need window.multiple or window.size", s.m.sizeText(w.size))
	}
	return err
}

// wholeSize rounds an array's size up to the network's multiple; the axis
// across the slices of a 2-D model counts windows of one slice.
func (s *network) wholeSize(size [3]int) [3]int {
	k := s.m.Window.Multiple
	for d := range size {
		if d < 3-s.m.Dimension {
			size[d] = 1
			continue
		}
		size[d] = (size[d] + k - 1) / k * k
	}
	return size
}
