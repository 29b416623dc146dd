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

// CrossEntropy is -ln p of the label's class, averaged over voxels; with one
// channel the binary form, -ln of the sigmoid.
type CrossEntropy struct {
	Weights []float64 // per class; the mean is then weighted by the labels' weights
	Smooth  float64   // share of every label that is spread over all classes
}

func (l CrossEntropy) check(channels int) error {
	if l.Smooth < 0 || l.Smooth >= 1 {
		return fault.New(fault.Invalid, "label smoothing must lie in [0, 1), not %g", l.Smooth)
	}
	return checkClasses("cross-entropy", channels, false, l.Weights)
}

func (l CrossEntropy) value(t *target) string {
	g := t.g
	if t.channels() == 1 {
		return t.average(t.masked(t.binary(t.logits, t.oneHot())))
	}
	hot := t.oneHot()
	spread := hot
	if l.Smooth > 0 {
		spread = t.masked(g.add(g.scale(hot, 1-l.Smooth), g.scalar(l.Smooth/float64(t.channels()))))
	}
	if l.Weights != nil {
		w := t.perClass(l.Weights)
		spread, hot = g.mul(spread, w), g.mul(hot, w)
	}
	loss := g.unary("Neg", g.dot(spread, t.logP(), t.allAxes()...))
	if l.Weights == nil && t.ignore == 0 {
		return g.scale(loss, float64(t.channels())/float64(size(t.shape())))
	}
	return g.div(loss, t.atLeastOne(g.sum(hot, t.allAxes()...), l.Weights != nil))
}

// atLeastOne keeps a divisor from being 0 when every voxel is ignored.
func (t *target) atLeastOne(n string, weighted bool) string {
	floor := 1.0
	if weighted {
		floor = 1e-12
	}
	return t.g.op("Max", []string{n, t.g.scalar(floor)})
}

// average is the mean over voxels and channels that count.
func (t *target) average(v string) string {
	if t.ignore == 0 {
		return t.mean(v)
	}
	n := t.g.scale(t.g.sum(t.valid(), t.allAxes()...), float64(t.g.shape(v)[1]))
	return t.g.div(t.g.sum(v, t.allAxes()...), t.atLeastOne(n, false))
}

// binary is the cross-entropy of sigmoid(x) with y: ln(1 + eˣ) - x·y.
func (t *target) binary(x, y string) string {
	return t.g.sub(t.g.unary("Softplus", x), t.g.mul(x, y))
}

// TopK is the cross-entropy averaged over the hardest voxels of the batch.
type TopK struct {
	Percent float64 // share of the voxels; 0 means 10
}

func (l TopK) percent() float64 {
	if l.Percent == 0 {
		return 10
	}
	return l.Percent
}

func (l TopK) check(channels int) error {
	if p := l.percent(); !(p > 0 && p <= 100) {
		return fault.New(fault.Invalid, "top-k cross-entropy keeps a share in (0, 100] percent, not %g", p)
	}
	if channels < 2 {
		return fault.New(fault.Invalid, "top-k cross-entropy needs a network with several classes")
	}
	return nil
}

func (l TopK) value(t *target) string {
	g := t.g
	loss := g.unary("Neg", g.dot(t.oneHot(), t.logP(), 1))
	n := size(g.shape(loss))
	k := max(int64(float64(n)*l.percent()/100), 1)
	top := g.ops("TopK", 2, []string{g.reshape(loss, n), g.ints(k)})
	return t.g.scale(g.sum(top[0], 0), 1/float64(k))
}

// Focal is -(1-p)^Gamma·ln p of the label's class, averaged over voxels and
// classes (Lin et al., 2017).
type Focal struct {
	Sigmoid      bool
	NoBackground bool      // class 0 is left out, with softmax its logit, too
	Gamma        float64   // 0 is plain cross-entropy
	Alpha        float64   // weight of foreground (1-Alpha: of background); 0: none
	Weights      []float64 // per class (without class 0 where it is left out); nil: 1
}

func (l Focal) check(channels int) error {
	if l.Gamma < 0 || l.Alpha < 0 || l.Alpha > 1 {
		return fault.New(fault.Invalid, "the focal loss needs gamma >= 0 and alpha in [0, 1], not %g and %g", l.Gamma, l.Alpha)
	}
	if channels == 1 && !l.Sigmoid {
		return fault.New(fault.Invalid, "the focal loss of one channel needs the sigmoid")
	}
	return checkClasses("the focal loss", channels, l.NoBackground, l.Weights)
}

func (l Focal) value(t *target) string {
	g := t.g
	logits, hot := t.logits, t.oneHot()
	if l.NoBackground {
		logits, hot = t.foreground(logits), t.foreground(hot)
	}
	var loss string
	if l.Sigmoid {
		loss = l.sigmoid(t, logits, hot)
	} else {
		part := target{g: g, logits: logits}
		loss = g.unary("Neg", g.mul(part.logP(), hot))
		if l.Gamma > 0 {
			miss := g.sub(g.scalar(1), part.p(false))
			loss = g.mul(loss, g.op("Pow", []string{miss, g.scalar(l.Gamma)}))
		}
		if l.Alpha > 0 {
			alpha := slices.Repeat([]float64{l.Alpha}, int(g.shape(logits)[1]))
			if !l.NoBackground {
				alpha[0] = 1 - l.Alpha
			}
			loss = g.mul(loss, t.perClass(alpha))
		}
	}
	if l.Weights != nil {
		loss = g.mul(loss, t.perClass(l.Weights))
	}
	return t.average(t.masked(loss))
}

// sigmoid is the binary form per channel: p of the truth is
// sigmoid(±x), so (1-p)^Gamma = exp(-Gamma·softplus(x·(2y-1))).
func (l Focal) sigmoid(t *target, x, y string) string {
	g := t.g
	sides := g.mul(x, g.sub(g.scale(y, 2), g.scalar(1)))
	loss := g.mul(t.binary(x, y), g.unary("Exp", g.scale(g.unary("Softplus", sides), -l.Gamma)))
	if l.Alpha > 0 { // y·alpha + (1-y)·(1-alpha)
		loss = g.mul(loss, g.add(g.scale(y, 2*l.Alpha-1), g.scalar(1-l.Alpha)))
	}
	return loss
}
