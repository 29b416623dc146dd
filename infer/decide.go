package infer

import (
	"context"
	"math"

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
	for k := len(o.Priority) - 1; k >= 0; k-- {
		h.rules = append(h.rules, rule{o.Priority[k].Channel, uint16(*o.Priority[k].Value)}) //nolint:gosec // checked
	}
	return h
}

// activate turns blended scores into activated means, in place.
func (h *head) activate(ctx context.Context, s *scores) error {
	return transform.Parallel(ctx, s.n, func(_ context.Context, from, to int) error {
		s.normalise(from, to)
		switch h.activation {
		case activationSoftmax:
			transform.Softmax(s.sum, s.n, from, to, nil)
		case activationSigmoid:
			transform.Sigmoid(s.sum, s.n, from, to, nil)
		}
		return nil
	})
}

// decide writes the label value of every voxel on the network's grid. Where
// the decision is the same before the activation, that is left out: argmax
// does not change under softmax, sigmoid or a positive factor, and a sigmoid's
// threshold has an equivalent on its argument.
func (h *head) decide(ctx context.Context, s *scores, labels []uint16) error {
	if !h.argmax && h.activation == activationSoftmax {
		if err := h.activate(ctx, s); err != nil {
			return err
		}
		return transform.Parallel(ctx, s.n, func(_ context.Context, from, to int) error {
			h.threshold(labels[from:to], h.limit, nil, func(c int) []float32 { return s.sum[c*s.n+from : c*s.n+to] })
			return nil
		})
	}
	return transform.Parallel(ctx, s.n, func(_ context.Context, from, to int) error {
		if h.argmax {
			transform.Argmax(labels, s.sum, s.n, from, to)
			h.translate(labels[from:to])
			return nil
		}
		var w []float32
		if s.weight != nil {
			w = s.weight[from:to]
		}
		h.threshold(labels[from:to], h.raw, w, func(c int) []float32 { return s.sum[c*s.n+from : c*s.n+to] })
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
