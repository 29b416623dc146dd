package infer

import (
	"context"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// sink turns finished scores into a label map on the image's grid, slab by
// slab, so that scores are held for the windows in work only.
type sink interface {
	// carry is how many planes before the first unfinished one must stay.
	carry() int
	// depth is how many planes of an array of n must be held for windows of
	// the given size along the first axis.
	depth(n, window int) int
	// flush takes the planes below limit, which are final.
	flush(ctx context.Context, all []*scores, limit int) error
	// finish returns the label map after the last flush.
	finish(ctx context.Context, o Options) (*imaging.LabelMap, error)
}

// newSink chooses how results return to the image's grid: linear interpolation
// of the activated scores and then the decision, or the decision on the
// network's grid and then the nearest label. When nothing is interpolated the
// two are the same and the second is cheaper.
func newSink(m *Manifest, heads []head, p *prepared) (sink, error) {
	to := transform.Stored(p.image)
	plan, err := transform.NewPlan(p.layout, to, transform.Options{Frame: p.frame})
	if err == nil && (m.Outputs[0].Restore != restoreScores || plan.Exact()) {
		plan, err = transform.NewPlan(p.layout, to, transform.Options{Nearest: true, Frame: p.frame})
		if err == nil {
			return &labelSink{m: m, heads: heads, p: p, plan: plan, labels: make([]uint16, p.layout.Voxels())}, nil
		}
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the result cannot be brought onto the image's grid")
	}
	return &scoreSink{heads: heads, p: p, plan: plan, out: imaging.NewLabelMap(p.image)}, nil
}

// labelSink decides on the network's grid.
type labelSink struct {
	m      *Manifest
	heads  []head
	p      *prepared
	plan   *transform.Plan // nearest
	labels []uint16
}

func (k *labelSink) carry() int              { return 0 }
func (k *labelSink) depth(n, window int) int { return min(n, window) }

func (k *labelSink) flush(ctx context.Context, all []*scores, limit int) error {
	for i := range k.heads {
		s := all[i]
		from, to := s.open(limit)
		labels := k.labels[s.base*s.plane():]
		if i > 0 {
			labels = make([]uint16, to)
		}
		if err := k.heads[i].decide(ctx, s, from, to, labels); err != nil {
			return err
		}
		if i > 0 {
			overlay(k.labels[s.base*s.plane()+from:], labels[from:to])
		}
		s.done = limit
	}
	return nil
}

func (k *labelSink) finish(ctx context.Context, o Options) (*imaging.LabelMap, error) {
	size := k.p.layout.Size
	if err := k.m.post(k.labels, size, keyOrder(k.m.order(), size), beforeRestore, o); err != nil {
		return nil, err
	}
	out := imaging.NewLabelMap(k.p.image)
	return out, k.plan.Labels(ctx, k.labels, out.Data)
}

// scoreSink interpolates the activated scores onto the image's grid, plane by
// plane, and decides there; the scores are never stored at the image's size.
type scoreSink struct {
	heads    []head
	p        *prepared
	plan     *transform.Plan // of the whole array
	out      *imaging.LabelMap
	from, to int // range of the image's array axis that is written
}

// carry is 1: the interpolation between two slabs needs the last plane of the
// earlier one.
func (k *scoreSink) carry() int { return 1 }

func (k *scoreSink) depth(n, window int) int {
	if _, _, _, ok := k.plan.Ready(0); !ok {
		return n // rotated lattices: every image plane cuts through all of the array
	}
	return min(n, window+k.carry())
}

func (k *scoreSink) flush(ctx context.Context, all []*scores, limit int) error {
	for i := range k.heads {
		from, to := all[i].open(limit)
		if err := k.heads[i].activate(ctx, all[i], from, to); err != nil {
			return err
		}
		all[i].done = limit
	}
	size := transform.Stored(k.p.image).Size
	axis, from, to, ok := k.plan.Ready(limit)
	if !ok {
		if limit < k.p.layout.Size[0] {
			return nil
		}
		from, to = 0, size[axis]
	}
	switch { // what is new lies on one side of what is written already
	case k.from == k.to:
		k.from, k.to = from, to
	case from < k.from:
		to, k.from = k.from, from
	default:
		from, k.to = k.to, to
	}
	if from >= to {
		return nil
	}
	var start [3]int
	start[axis], size[axis] = from, to-from
	for i := range k.heads {
		if err := k.interpolate(ctx, &k.heads[i], all[i], start, size, i > 0); err != nil {
			return err
		}
	}
	return nil
}

func (k *scoreSink) finish(context.Context, Options) (*imaging.LabelMap, error) { return k.out, nil }

// interpolate decides a box of the image's array [z, y, x] from the planes that
// are held.
func (k *scoreSink) interpolate(ctx context.Context, h *head, s *scores, start, size [3]int, over bool) error {
	full := k.p.layout.Size
	held := [3]int{s.base, 0, 0}
	frame := transform.Frame{Size: full, Start: held}
	if k.p.frame != nil {
		frame = *k.p.frame
		frame.Start[0] += s.base
	}
	src := k.p.layout.Box(held, [3]int{min(s.depth, full[0]-s.base), full[1], full[2]})
	plan, err := transform.NewPlan(src, transform.Stored(k.p.image).Box(start, size), transform.Options{Frame: &frame})
	if err != nil {
		return err
	}
	n, _ := plan.Planes()
	return transform.Parallel(ctx, n, func(ctx context.Context, from, to int) error {
		w := newPlaneWork(plan, s, src.Voxels())
		for i := from; i < to; i++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			if h.argmax {
				w.argmax(i)
				h.translate(w.labels)
			} else {
				h.threshold(w.labels, h.limit, nil, func(c int) []float32 { return w.sample(c, i) })
			}
			w.store(i, start, k.out, over)
		}
		return nil
	})
}
