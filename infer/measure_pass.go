package infer

import (
	"context"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
	"github.com/voxloop/voxloop/internal/uncertainty"
)

// measurement is one image on its way through the passes.
type measurement struct {
	c        *task
	p        *prepared
	sampling Sampling
	acc      *uncertainty.Accumulator
	head     head // how scores become probabilities
	passes   int
	drop     *dropping
	out      *Measured
}

func (ms *measurement) release() {
	if ms.drop != nil {
		ms.drop.release()
		ms.drop = nil
	}
}

// run makes one step.
func (ms *measurement) run(ctx context.Context, n *network, st passStep) error {
	k := &passSink{head: ms.head, acc: ms.acc}
	for range st.passes {
		pass, err := ms.acc.Begin()
		if err != nil {
			return err
		}
		k.passes = append(k.passes, pass)
	}
	ps, err := n.newPass(ms.c, ms.p, k)
	if err != nil {
		return err
	}
	defer ps.release()
	ps.mirror = st.mirror
	if st.features {
		ps.sums = make([]float64, len(n.extra.features)/n.b.batch)
	}
	if st.variant.dropout {
		if err := ms.begin(ps, st.sample); err != nil {
			return err
		}
	}
	if err := ps.windows(ctx); err != nil {
		return err
	}
	if st.features {
		ms.out.Features = make([]float32, len(ps.sums))
		for i, v := range ps.sums {
			ms.out.Features[i] = float32(v / float64(ps.w.count()))
		}
	}
	return nil
}

// begin prepares a pass with dropout.
func (ms *measurement) begin(ps *pass, sample int) error {
	if ms.drop == nil {
		layers, err := ps.s.extra.layersOf(ps.w.size)
		if err != nil {
			return err
		}
		ms.drop = newDropping(layers, ms.sampling.Seed, ps.s)
	}
	ms.drop.begin(ps, sample, sample+1 < ms.sampling.Dropout)
	return nil
}

// passSink turns finished scores into probabilities and adds them up. Score i
// belongs to pass number passes[i]; without passes, scores are let go.
type passSink struct {
	head   head
	acc    *uncertainty.Accumulator
	passes []int
}

func (k *passSink) carry() int              { return 0 }
func (k *passSink) depth(n, window int) int { return min(n, window) }

func (k *passSink) flush(ctx context.Context, all []*scores, limit int) error {
	for i, s := range all {
		from, to := s.open(limit)
		s.done = limit
		if i >= len(k.passes) {
			continue
		}
		err := transform.Parallel(ctx, to-from, func(_ context.Context, a, b int) error {
			k.add(s, k.passes[i], a+from, b+from)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// passTile is the number of voxels that go from scores to sums while they stay
// in the processor's cache.
const passTile = 2048

// add takes in the held voxels [from, to).
func (k *passSink) add(s *scores, pass, from, to int) {
	p := make([][]float32, max(2, s.channels))
	var rest, entropy [passTile]float32
	for a := from; a < to; a += passTile {
		b := min(a+passTile, to)
		s.normalise(a, b)
		for c := range s.channels {
			p[len(p)-s.channels+c] = s.sum[c*s.n+a : c*s.n+b]
		}
		if s.channels == 1 { // a sigmoid is a softmax beside scores of 0
			p[0] = rest[:b-a]
			clear(p[0])
		}
		at := s.base*s.plane() + a
		if k.head.activation != activationNone {
			transform.SoftmaxEntropy(p, entropy[:b-a])
			k.acc.AddKnown(pass, at, p, entropy[:b-a])
			continue
		}
		if s.channels == 1 { // of a network that ends with its sigmoid
			for i, v := range p[1] {
				p[0][i] = 1 - v
			}
		}
		k.acc.Add(pass, at, p)
	}
}

// finish implements sink: the labels come from all passes together.
func (k *passSink) finish(context.Context, Options) (*imaging.LabelMap, error) { return nil, nil }
