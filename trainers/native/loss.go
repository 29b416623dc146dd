package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
)

// Loss is what training makes small. The types of this package are its
// implementations; their zero values are MONAI's defaults with softmax.
type Loss interface {
	// check refuses settings that do not fit the number of channels.
	check(channels int) error
	// value returns one number.
	value(t *target) string
	// separable tells whether the loss of a batch is the mean of those of its
	// samples.
	separable() bool
}

// Smoothing keeps quotients of sums finite: (numerator + Num) / (denominator +
// Den). The zero value means 1e-5 for both.
type Smoothing struct{ Num, Den float64 }

func (s Smoothing) orDefault() Smoothing {
	if s == (Smoothing{}) {
		return Smoothing{1e-5, 1e-5}
	}
	return s
}

// Weighted is one term of a Combined loss.
type Weighted struct {
	Weight float64
	Loss   Loss
}

// Combined is a weighted sum of losses.
type Combined []Weighted

// DiceCE is the sum of Dice and cross-entropy, what most segmentation networks
// are trained with.
func DiceCE() Loss { return Combined{{1, Dice{}}, {1, CrossEntropy{}}} }

func (l Combined) separable() bool {
	return !slices.ContainsFunc(l, func(w Weighted) bool { return !w.Loss.separable() })
}

func (l Combined) check(channels int) error {
	if len(l) == 0 {
		return fault.New(fault.Invalid, "the loss has no terms")
	}
	for _, w := range l {
		if err := w.Loss.check(channels); err != nil {
			return err
		}
	}
	return nil
}

func (l Combined) value(t *target) string {
	var sum string
	for i, w := range l {
		v := t.g.scale(w.Loss.value(t), w.Weight)
		v = t.g.reshape(v, 1)
		if i == 0 {
			sum = v
		} else {
			sum = t.g.add(sum, v)
		}
	}
	return sum
}

// Dice is 1 - (2·Σ p·t + Num) / (Σ p + Σ t + Den) per sample and class, sums
// over space, then the mean.
type Dice struct {
	Sigmoid      bool      // p is the sigmoid of each channel instead of the softmax
	NoBackground bool      // class 0 is left out
	Squared      bool      // Σ p² + Σ t² in the denominator
	Jaccard      bool      // 2·(Σ p + Σ t - Σ p·t) in the denominator
	Batch        bool      // sums over the samples, too
	Sum          bool      // sum instead of mean
	Weights      []float64 // per class (without class 0 where it is left out); nil: 1
	Smoothing    Smoothing
}

func (l Dice) separable() bool { return !l.Batch && !l.Sum }

func (l Dice) check(channels int) error {
	return checkClasses("Dice", channels, l.NoBackground, l.Weights)
}

func checkClasses(loss string, channels int, noBackground bool, weights []float64) error {
	if noBackground {
		channels--
	}
	if channels < 1 {
		return fault.New(fault.Invalid, "%s without background needs a network with several classes", loss)
	}
	if weights != nil && len(weights) != channels {
		return fault.New(fault.Invalid, "%s has %d class weights for %d classes", loss, len(weights), channels)
	}
	return nil
}

// prediction returns p and the one-hot label of the classes that count.
func (t *target) prediction(sigmoid, noBackground bool) (p, hot string) {
	p, hot = t.masked(t.p(sigmoid)), t.oneHot()
	if noBackground {
		p, hot = t.foreground(p), t.foreground(hot)
	}
	return p, hot
}

func (l Dice) value(t *target) string {
	g := t.g
	p, hot := t.prediction(l.Sigmoid, l.NoBackground)
	axes := t.spatial()
	if l.Batch {
		axes = t.samples()
	}
	both := g.dot(p, hot, axes...)
	var total string
	if l.Squared {
		total = g.add(g.dot(p, p, axes...), g.sum(hot, axes...))
	} else {
		total = g.add(g.sum(p, axes...), g.sum(hot, axes...))
	}
	if l.Jaccard {
		total = g.scale(g.sub(total, both), 2)
	}
	s := l.Smoothing.orDefault()
	score := g.div(g.add(g.scale(both, 2), g.scalar(s.Num)), g.add(total, g.scalar(s.Den)))
	return t.reduce(g.sub(g.scalar(1), score), l.Weights, l.Sum)
}

// reduce weighs a value per class and takes the mean or the sum.
func (t *target) reduce(v string, weights []float64, sum bool) string {
	if weights != nil {
		v = t.g.mul(v, t.perClass(weights))
	}
	if sum {
		return t.g.sum(v, t.allAxes()...)
	}
	return t.mean(v)
}
