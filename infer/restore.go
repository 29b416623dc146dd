package infer

import (
	"context"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// restore turns blended scores into a label map on the image's grid: linear
// interpolation of the activated scores and then the decision, or the decision
// on the network's grid and then the nearest label.
func (s *network) restore(ctx context.Context, p *prepared, all []*scores, o Options) (*imaging.LabelMap, error) {
	out := imaging.NewLabelMap(p.image)
	to := transform.Stored(p.image)
	linear, err := transform.NewPlan(p.layout, to, transform.Options{Frame: p.frame})
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the result cannot be brought onto the image's grid")
	}
	if s.m.Outputs[0].Restore == restoreScores && !linear.Exact() {
		for i := range s.heads {
			if err := s.heads[i].interpolate(ctx, linear, all[i], out, i > 0); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	nearest, err := transform.NewPlan(p.layout, to, transform.Options{Nearest: true, Frame: p.frame})
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the result cannot be brought onto the image's grid")
	}
	labels := make([]uint16, p.layout.Voxels())
	for i := range s.heads {
		dst := labels
		if i > 0 {
			dst = make([]uint16, len(labels))
		}
		if err := s.heads[i].decide(ctx, all[i], dst); err != nil {
			return nil, err
		}
		if i > 0 {
			overlay(labels, dst)
		}
	}
	if err := s.m.post(labels, p.layout.Size, keyOrder(s.m.order(), p.layout.Size), beforeRestore, o); err != nil {
		return nil, err
	}
	return out, nearest.Labels(ctx, labels, out.Data)
}

// interpolate decides on interpolated scores, plane by plane, so that the
// scores are never stored at the image's size.
func (h *head) interpolate(ctx context.Context, plan *transform.Plan, s *scores, out *imaging.LabelMap, over bool) error {
	if err := h.activate(ctx, s); err != nil {
		return err
	}
	n, _ := plan.Planes()
	return transform.Parallel(ctx, n, func(ctx context.Context, from, to int) error {
		w := newPlaneWork(plan, s)
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
			w.store(i, out.Data, over)
		}
		return nil
	})
}

// planeWork holds what one goroutine needs to decide planes of an image.
type planeWork struct {
	plan       *transform.Plan
	samplers   []*transform.Sampler
	rows, cols int
	value, top []float32
	labels     []uint16
}

func newPlaneWork(plan *transform.Plan, s *scores) *planeWork {
	w := &planeWork{plan: plan}
	for c := range s.channels {
		w.samplers = append(w.samplers, plan.Sampler(transform.FromTensor(s.sum[c*s.n:(c+1)*s.n])))
	}
	w.rows, w.cols = plan.PlaneSize()
	n := w.rows * w.cols
	w.value, w.top, w.labels = make([]float32, n), make([]float32, n), make([]uint16, n)
	return w
}

// sample returns the scores of channel c on plane i, valid until the next call.
func (w *planeWork) sample(c, i int) []float32 {
	w.samplers[c].Plane(i, w.value, w.cols)
	return w.value
}

// argmax writes the channel with the largest score of plane i into labels, the
// lowest on ties.
func (w *planeWork) argmax(i int) {
	w.samplers[0].Plane(i, w.top, w.cols)
	clear(w.labels)
	for c := 1; c < len(w.samplers); c++ {
		for k, v := range w.sample(c, i) {
			if v > w.top[k] {
				w.top[k], w.labels[k] = v, uint16(c) //nolint:gosec // channels are checked to fit
			}
		}
	}
}

// store writes the plane's labels into the label map; over leaves the voxels
// without a label as they are.
func (w *planeWork) store(i int, dst []uint16, over bool) {
	at, stride := w.plan.PlaneAt(i)
	for r := range w.rows {
		row := w.labels[r*w.cols : (r+1)*w.cols]
		if over {
			overlay(dst[at+r*stride:], row)
		} else {
			copy(dst[at+r*stride:], row)
		}
	}
}
