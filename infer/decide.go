package infer

import (
	"context"
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// head is one output of a network, ready for use: how its scores become the
// values of a label map.
type head struct {
	channels   int
	activation string
	argmax     bool
	values     []uint16 // argmax: value by channel
	limit      float32  // threshold on activated scores
	raw        float32  // the same on scores before the activation
	rules      []rule   // threshold: the strongest last
	other      uint16
}

type rule struct {
	channel int
	value   uint16
}

// newHead prepares output i of a manifest for a network with that many
// channels.
func newHead(m *Manifest, i, channels int) head {
	o := m.Outputs[i]
	h := head{
		channels: channels, activation: o.Activation, argmax: o.Decision == decideArgmax,
		limit: float32(o.Threshold), raw: float32(o.Threshold), other: uint16(o.ElseValue), //nolint:gosec // checked
	}
	if o.Activation == activationSigmoid {
		h.raw = float32(math.Log(o.Threshold / (1 - o.Threshold)))
	}
	h.values = make([]uint16, channels)
	for c, l := range m.labelsOf(i) {
		h.values[c] = uint16(l.Value) //nolint:gosec // checked
	}
	for _, p := range slices.Backward(o.Priority) {
		h.rules = append(h.rules, rule{p.Channel, uint16(*p.Value)}) //nolint:gosec // checked
	}
	return h
}

// activate turns the blended scores of held voxels [from, to) into activated
// means, in place.
func (h *head) activate(ctx context.Context, s *scores, from, to int) error {
	return transform.Parallel(ctx, to-from, func(_ context.Context, a, b int) error {
		a, b = a+from, b+from
		s.normalise(a, b)
		switch h.activation {
		case activationSoftmax:
			transform.Softmax(s.sum, s.n, a, b)
		case activationSigmoid:
			transform.Sigmoid(s.sum, s.n, a, b)
		}
		return nil
	})
}

// decide writes the label values of held voxels [from, to) into labels, which
// starts at the first held voxel. Where the decision is the same before the
// activation, that is left out: argmax does not change under softmax, sigmoid
// or a positive factor, and a sigmoid's threshold has an equivalent on its
// argument.
func (h *head) decide(ctx context.Context, s *scores, from, to int, labels []uint16) error {
	limit, weight := h.raw, s.weight
	if !h.argmax && h.activation == activationSoftmax {
		if err := h.activate(ctx, s, from, to); err != nil {
			return err
		}
		limit, weight = h.limit, nil
	}
	return transform.Parallel(ctx, to-from, func(_ context.Context, a, b int) error {
		a, b = a+from, b+from
		if h.argmax {
			transform.Argmax(labels, s.sum, s.n, a, b)
			h.translate(labels[a:b])
			return nil
		}
		var w []float32
		if weight != nil {
			w = weight[a:b]
		}
		h.threshold(labels[a:b], limit, w, func(c int) []float32 { return s.sum[c*s.n+a : c*s.n+b] })
		return nil
	})
}

// translate replaces channels by label values.
func (h *head) translate(labels []uint16) {
	for i, c := range labels {
		labels[i] = h.values[c]
	}
}

// threshold applies the rules, the strongest last, to scores that are sums of
// the given weights (nil: means).
func (h *head) threshold(labels []uint16, limit float32, weight []float32, channel func(int) []float32) {
	for i := range labels {
		labels[i] = h.other
	}
	for _, r := range h.rules {
		v := channel(r.channel)
		for i, x := range v {
			t := limit
			if weight != nil {
				t *= weight[i]
			}
			if x >= t {
				labels[i] = r.value
			}
		}
	}
}

// overlay writes the labels of a later head over those of earlier ones.
func overlay(dst, later []uint16) {
	for i, l := range later {
		if l != 0 {
			dst[i] = l
		}
	}
}
