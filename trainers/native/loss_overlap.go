package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
)

// Tversky is 1 - (TP + Num) / (TP + Alpha·FP + Beta·FN + Den) per sample and
// class, then the mean (Salehi et al., 2017).
type Tversky struct {
	Sigmoid, NoBackground, Batch bool      // as in Dice
	Alpha, Beta                  float64   // both 0 means 0.5 each, which is Dice
	Weights                      []float64 // as in Dice
	Smoothing                    Smoothing
}

func (l Tversky) separable() bool { return !l.Batch }

func (l Tversky) check(channels int) error {
	if l.Alpha < 0 || l.Beta < 0 {
		return fault.New(fault.Invalid, "the Tversky loss needs alpha and beta >= 0, not %g and %g", l.Alpha, l.Beta)
	}
	return checkClasses("the Tversky loss", channels, l.NoBackground, l.Weights)
}

func (l Tversky) value(t *target) string {
	g := t.g
	if l.Alpha == 0 && l.Beta == 0 {
		l.Alpha, l.Beta = 0.5, 0.5
	}
	p, hot := t.prediction(l.Sigmoid, l.NoBackground)
	axes := t.spatial()
	if l.Batch {
		axes = t.samples()
	}
	hit := g.dot(p, hot, axes...)
	wrong := g.scale(g.sub(g.sum(p, axes...), hit), l.Alpha)
	missed := g.scale(g.sub(g.sum(hot, axes...), hit), l.Beta)
	s := l.Smoothing.orDefault()
	score := g.div(g.add(hit, g.scalar(s.Num)), g.add(g.add(hit, g.add(wrong, missed)), g.scalar(s.Den)))
	return t.reduce(g.sub(g.scalar(1), score), l.Weights, false)
}

// Weighting says how GeneralizedDice weighs a class by its volume V.
type Weighting int

// The weightings.
const (
	ByVolumeSquared Weighting = iota // 1/V²
	ByVolume                         // 1/V
	Uniform                          // 1
)

// GeneralizedDice is 1 - (2·Σ w·Σ p·t + Num) / (Σ w·(Σ p + Σ t) + Den) with the
// inner sums over space and the outer over classes (Sudre et al., 2017). A class
// that a sample does not have weighs as much as the heaviest that it has.
type GeneralizedDice struct {
	Sigmoid, NoBackground, Batch bool // as in Dice
	Weighting                    Weighting
	Weights                      []float64 // per class, times that of its volume; nil: 1
	Smoothing                    Smoothing
}

func (l GeneralizedDice) separable() bool { return !l.Batch }

func (l GeneralizedDice) check(channels int) error {
	if l.Weighting < ByVolumeSquared || l.Weighting > Uniform {
		return fault.New(fault.Invalid, "the generalised Dice loss has no weighting %d", l.Weighting)
	}
	return checkClasses("the generalised Dice loss", channels, l.NoBackground, l.Weights)
}

func (l GeneralizedDice) value(t *target) string {
	g := t.g
	p, hot := t.prediction(l.Sigmoid, l.NoBackground)
	axes, classes := t.spatial(), []int64{1}
	if l.Batch {
		axes = t.samples()
	}
	volume := g.sum(hot, axes...)
	weight := l.byVolume(t, volume)
	if l.Weights != nil {
		weight = g.mul(weight, t.perClass(l.Weights))
	}
	over := func(v string) string { return g.sum(g.mul(v, weight), classes...) }
	s := l.Smoothing.orDefault()
	both := g.add(g.scale(over(g.dot(p, hot, axes...)), 2), g.scalar(s.Num))
	total := g.add(over(g.add(g.sum(p, axes...), volume)), g.scalar(s.Den))
	return t.mean(g.sub(g.scalar(1), g.div(both, total)))
}

// byVolume follows from the labels alone: nothing flows back through it.
func (l GeneralizedDice) byVolume(t *target, volume string) string {
	g := t.g
	if l.Weighting == Uniform {
		return g.expand(g.reshape(g.scalar(1), slices.Repeat([]int64{1}, len(t.shape()))...), g.shape(volume)...)
	}
	base := volume
	if l.Weighting == ByVolumeSquared {
		base = g.mul(volume, volume)
	}
	there := g.op("Greater", []string{base, g.scalar(0)})
	weight := g.where(there, g.unary("Reciprocal", base), g.scalar(0))
	return g.where(there, weight, g.reduce("ReduceMax", weight, 1))
}

// MaskedDice is Dice in which the voxels of Options.IgnoreLabel count as
// background that is predicted with equal scores, as MONAI's loss of this name
// has it: logits and labels are multiplied by the mask. Without such a label it
// is Dice. (Dice itself leaves these voxels out.)
type MaskedDice Dice

func (l MaskedDice) separable() bool { return Dice(l).separable() }

func (l MaskedDice) check(channels int) error { return Dice(l).check(channels) }

func (l MaskedDice) value(t *target) string {
	if t.ignore == 0 {
		return Dice(l).value(t)
	}
	return Dice(l).value(&target{g: t.g, logits: t.masked(t.logits), labels: t.masked(t.labels)})
}
