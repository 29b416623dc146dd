package infer

import (
	"context"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/transform"
	"github.com/voxloop/voxloop/internal/ort"
)

// pass is one image's way through the windows of a network.
type pass struct {
	s    *network
	c    *task
	p    *prepared
	w    windows
	all  []*scores // per head
	sink sink
	run  runner

	in   []float32   // [batch, channels, window]
	out  [][]float32 // per head: [batch, channels, window]
	lent bool        // in and out come from the pool
	tied []*freeRunner

	mirror [3]bool   // array axes along which the network sees its windows mirrored
	drop   *dropping // of a pass with dropout
	sums   []float64 // of the features over windows, when they are asked for
}

// newPass lays out the windows. Networks of fixed windows have their buffers;
// for a whole image in one window, for whole slices and for variants they are
// borrowed.
func (s *network) newPass(c *task, p *prepared, k sink) (*pass, error) {
	ps := &pass{s: s, c: c, p: p, sink: k, run: s.bound, in: s.in, out: s.out}
	size, overlap := s.b.window, [3]float64{}
	if size == ([3]int{}) {
		size = s.wholeSize(p.layout.Size)
	} else {
		overlap = perAxis(s.m, s.m.Window.Overlap.axis, 0)
		if o := c.options.Overlap; o != 0 {
			if !(o > 0 && o < 1) {
				return nil, fault.New(fault.Invalid, "the overlap %g is not between 0 and 1", o)
			}
			overlap = perAxis(s.m, func(int) float64 { return o }, 0)
		}
	}
	if s.bound == nil {
		ps.borrow(size)
	}
	ps.w = newWindows(p.layout.Size, size, overlap)
	depth := k.depth(p.layout.Size[0], size[0])
	weighted := s.b.window != ([3]int{}) && ps.w.count() > 1
	for _, h := range s.heads {
		ps.all = append(ps.all, newScores(ps.w, h.channels, depth, weighted, s.importance, s.pool))
	}
	return ps, nil
}

func (ps *pass) release() {
	for _, sc := range ps.all {
		sc.release(ps.s.pool)
	}
	for _, r := range ps.tied {
		r.close()
	}
	if !ps.lent {
		return
	}
	ps.s.pool.put(ps.in)
	for _, o := range ps.out {
		ps.s.pool.put(o)
	}
}

// windows runs the network on all windows.
func (ps *pass) windows(ctx context.Context) error {
	n := ps.w.count()
	for first := 0; first < n; first += ps.s.b.batch {
		if err := ps.batch(ctx, first, min(first+ps.s.b.batch, n)); err != nil {
			return err
		}
	}
	ps.c.windows += n
	return ps.flush(ctx, ps.p.layout.Size[0])
}

// batch runs the network on windows first..last-1 and blends what it says.
func (ps *pass) batch(ctx context.Context, first, last int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := ps.c.timed("blend", func() (int64, error) {
		for i := first; i < first+ps.s.b.batch; i++ {
			ps.gather(i, i-first)
		}
		return 4 * int64(len(ps.in)), nil
	})
	if err != nil {
		return err
	}
	if err := ps.runBatch(ctx, first); err != nil {
		return err
	}
	ps.addFeatures(last - first)
	for i := first; i < last; i++ {
		if limit := ps.w.at(i)[0]; i > 0 && limit > ps.w.at(i - 1)[0] {
			if err := ps.flush(ctx, limit); err != nil {
				return err
			}
		}
		if err := ps.c.timed("blend", func() (int64, error) { return ps.blend(ctx, i, i-first) }); err != nil {
			return err
		}
	}
	return nil
}

// runBatch runs the network on the batch that begins with window first.
func (ps *pass) runBatch(ctx context.Context, first int) error {
	if ps.drop != nil {
		next := first + ps.s.b.batch
		if next >= ps.w.count() {
			next = 0
		}
		return ps.drop.run(ctx, ps.c, first, next)
	}
	return ps.c.timed("network", func() (int64, error) { return 0, ps.run.Run(ctx) })
}

// addFeatures adds those of the first windows of a batch.
func (ps *pass) addFeatures(windows int) {
	n := len(ps.sums)
	for i := range windows * n {
		ps.sums[i%n] += float64(ps.s.extra.features[i])
	}
}

// gather copies all channels of window i into a place of the batch. A batch
// that is not full ends with zeros.
func (ps *pass) gather(i, place int) {
	n := ps.w.size[0] * ps.w.size[1] * ps.w.size[2]
	m := ps.s.m
	for ch := range m.Inputs {
		dst := ps.in[(place*len(m.Inputs)+ch)*n:][:n]
		if i >= ps.w.count() {
			clear(dst)
			continue
		}
		transform.CopyPadded(dst, ps.w.size, ps.p.channel(ch), ps.w.array, ps.w.at(i), m.Window.Padding, float32(m.Window.PadValue))
		mirror(dst, ps.w.size, ps.mirror)
	}
}

// blend adds the output of window i to the scores.
func (ps *pass) blend(ctx context.Context, i, place int) (bytes int64, err error) {
	for k, sc := range ps.all {
		n := len(ps.out[k]) / ps.s.b.batch
		if err := sc.blend(ctx, ps.w.at(i), ps.out[k][place*n:(place+1)*n], ps.mirror); err != nil {
			return bytes, err
		}
		bytes += 4 * int64(n)
	}
	return bytes, nil
}

// flush hands the planes below limit to the sink and makes room.
func (ps *pass) flush(ctx context.Context, limit int) error {
	return ps.c.timed("restore", func() (int64, error) {
		if err := ps.sink.flush(ctx, ps.all, limit); err != nil {
			return 0, err
		}
		for _, sc := range ps.all {
			if sc.depth < sc.w.array[0] && limit < sc.w.array[0] {
				sc.advance(limit - ps.sink.carry())
			}
		}
		return 0, nil
	})
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

// borrow takes buffers for windows of the given size and runs the session on
// them.
func (ps *pass) borrow(size [3]int) {
	s := ps.s
	ps.lent = true
	ps.in = s.pool.get(s.inValues(size))
	for _, h := range s.heads {
		ps.out = append(ps.out, s.pool.get(s.outValues(h, size)))
	}
	ps.run = ps.free(size, nil)
}

// free returns what runs the network on the pass's own buffers.
func (ps *pass) free(size [3]int, masks []ort.Tensor) runner {
	r := &freeRunner{s: ps.s, size: size, in: ps.s.inTensors(size, ps.in, masks), out: ps.s.outTensors(size, ps.out)}
	ps.tied = append(ps.tied, r)
	return r
}

// freeRunner runs a network of free size, or a variant, on buffers of a pass.
type freeRunner struct {
	s       *network
	size    [3]int
	in, out []ort.Tensor
	bound   *ort.Bound // from the first run on
}

// Run implements runner.
func (r *freeRunner) Run(ctx context.Context) (err error) {
	if r.bound == nil {
		r.bound, err = r.s.session.Bind(r.in, r.out)
	}
	if err == nil {
		err = r.bound.Run(ctx)
	}
	if k := fault.KindOf(err); err != nil && (k == fault.Invalid || k == fault.Internal) {
		return fault.Wrap(k, err, "the network does not run on %s voxels; its manifest may need window.multiple or window.size", r.s.m.sizeText(r.size))
	}
	return err
}

// close unties the buffers.
func (r *freeRunner) close() {
	if r.bound != nil {
		_ = r.bound.Close() // its session may be closed, which has done it
	}
}
