package infer

import (
	"context"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
	"github.com/voxloop/voxloop/internal/uncertainty"
)

// Measure segments one case several times and says how sure the model is. The
// case is prepared once; every pass is the network over all windows, and all
// passes see the same version. Waiting, turns and errors are those of Infer.
//
// Refused (fault.Invalid) are networks whose output is no probability of
// exclusive classes: several outputs, channels that may overlap, and scores
// without an activation; passes that the network cannot make (dropout of a
// network that has none, members of one that is no ensemble); more than
// uncertainty.MaxPasses of them.
func (r *Registry) Measure(ctx context.Context, name string, in Input, o Options, s Sampling) (*Measured, error) {
	m := &Measured{}
	out, err := r.inService(ctx, name, &task{in: in, options: o}, func(ctx context.Context, v *version, c *task) error {
		n, ok := v.stages[0].(*network)
		if !ok || len(v.stages) > 1 {
			return fault.New(fault.Invalid, "the uncertainty of a model of several stages cannot be measured")
		}
		return n.measure(ctx, c, s, m)
	})
	if err != nil {
		return nil, err
	}
	m.Output = *out
	return m, nil
}

// Mirrorings returns the mirrorings that make sense for the model in service,
// the plain pass first: what Sampling.Flips may hold.
func (r *Registry) Mirrorings(name string) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.find(name)
	switch {
	case e == nil:
		return nil, unknown(name)
	case e.version != nil:
		return e.version.src.m.mirrorings(), nil
	case e.own != nil:
		return e.own.m.mirrorings(), nil
	}
	return nil, fault.New(fault.Unavailable, "model %s is not in service", name)
}

// classes returns how many exclusive classes the output's channels stand for,
// and the activation that turns scores into their probabilities.
func (s *network) classes() (n int, activation string, err error) {
	h := s.heads[0]
	activation = h.activation
	refused := func(what string) (int, string, error) {
		return 0, "", fault.New(fault.Invalid, "the uncertainty of this model cannot be measured: %s; it needs exclusive classes: one output with softmax over its channels, or a sigmoid of a single one", what)
	}
	if len(s.heads) > 1 {
		return refused("it has several outputs")
	}
	if activation == activationNone {
		switch s.b.ends {
		case "Softmax":
			activation = activationSoftmax
		case "Sigmoid", "HardSigmoid":
			activation = activationSigmoid
		default:
			return refused("outputs[0].activation in its manifest is none and the network ends without one")
		}
	}
	switch {
	case activation == activationSoftmax && h.channels > 256:
		return refused("it has more than 256 channels")
	case activation == activationSoftmax && h.channels > 1:
		n = h.channels
	case activation == activationSigmoid && h.channels == 1:
		n = 2
	default:
		return refused("its channels are no exclusive classes")
	}
	return n, h.activation, nil
}

// measure makes the passes.
func (s *network) measure(ctx context.Context, c *task, sm Sampling, m *Measured) error {
	steps, passes, err := sm.steps(s.m)
	if err != nil {
		return err
	}
	classes, activation, err := s.classes()
	if err != nil {
		return err
	}
	variants := make([]*network, len(steps))
	for i, st := range steps { // before the image is prepared: they may be refused
		err := c.timed("open", func() (_ int64, err error) { variants[i], err = s.variant(ctx, st.variant); return 0, err })
		if err != nil {
			return err
		}
	}
	var p *prepared
	err = c.timed("prepare", func() (n int64, err error) {
		if p, err = s.m.prepare(ctx, c.in, s.maxVoxels, s.pool); err != nil {
			return 0, err
		}
		return 4 * int64(len(p.data)), nil
	})
	if err != nil {
		return err
	}
	defer s.giveBack(p)
	if n := int64(classes) * int64(p.layout.Voxels()); n > s.maxVoxels {
		return fault.New(fault.TooLarge, "the probabilities of %d classes need %d values at this model's spacing; at most %d are allowed", classes, n, s.maxVoxels)
	}
	acc, err := uncertainty.New(classes, p.layout.Voxels())
	if err != nil {
		return err
	}
	ms := &measurement{c: c, p: p, sampling: sm, acc: acc, head: s.heads[0], passes: passes, out: m}
	ms.head.activation = activation
	defer ms.release()
	for i, st := range steps {
		if err := ms.run(ctx, variants[i], st); err != nil {
			return err
		}
	}
	ms.release()
	s.giveBack(p)
	return s.conclude(ctx, ms)
}

// conclude turns the sums of the passes into what was asked for.
func (s *network) conclude(ctx context.Context, ms *measurement) error {
	p, m := ms.p, ms.out
	err := ms.c.timed("uncertainty", func() (_ int64, err error) {
		m.Maps, err = ms.acc.Finish(ctx)
		return 0, err
	})
	if err != nil {
		return err
	}
	m.Size, m.Voxel = p.layout.Size, p.layout.Affine.Spacing()
	inv, ok := p.image.Affine.Inverse()
	if !ok {
		return fault.New(fault.Invalid, "the image's affine cannot be inverted")
	}
	m.ToImage = inv.Mul(p.layout.Affine)
	err = ms.c.timed("restore", func() (_ int64, err error) {
		if ms.c.labels, err = s.decided(ctx, ms); err != nil {
			return 0, err
		}
		return 2 * int64(len(ms.c.labels.Data)), nil
	})
	if err == nil {
		err = ms.c.timed("post", func() (int64, error) { return 0, s.m.postImage(ms.c.labels, ms.c.options) })
	}
	if err == nil && ms.sampling.Map != "" {
		err = ms.c.timed("restore", func() (int64, error) {
			m.Map, err = onImage(ctx, p, chosenMap(m.Maps, ms.sampling.Map))
			return 4 * int64(p.image.Voxels()), err
		})
	}
	return err
}

// decided returns the labels of the mean probabilities on the image's grid.
func (s *network) decided(ctx context.Context, ms *measurement) (*imaging.LabelMap, error) {
	h, mean := ms.head, ms.out.Maps.Mean
	h.activation, h.raw = activationNone, h.limit // they are activated
	n := ms.p.layout.Voxels()
	sum := mean[0][: h.channels*n : h.channels*n] // classes follow each other
	if h.channels == 1 {
		sum = mean[1]
	}
	k, err := newSink(s.m, []head{h}, ms.p)
	if err != nil {
		return nil, err
	}
	sc := &scores{w: windows{array: ms.p.layout.Size}, channels: h.channels, depth: ms.p.layout.Size[0], n: n, sum: sum}
	if err := k.flush(ctx, []*scores{sc}, sc.depth); err != nil {
		return nil, err
	}
	return k.finish(ctx, ms.c.options)
}

// onImage interpolates a map of the array onto the image's grid. What the
// prepared image was cut out of counts as 0.
func onImage(ctx context.Context, p *prepared, m []float32) (*imaging.Volume, error) {
	plan, err := transform.NewPlan(p.layout, transform.Stored(p.image), transform.Options{Frame: p.frame})
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the map cannot be brought onto the image's grid")
	}
	out := make(imaging.Samples[float32], p.image.Voxels())
	if err := plan.Run(ctx, transform.FromTensor(m), out); err != nil {
		return nil, err
	}
	return &imaging.Volume{Grid: p.image, Channels: 1, Slope: 1, Data: out}, nil
}
