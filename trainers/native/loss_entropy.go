package native

import (
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// CrossEntropy is -ln p of the label's class, averaged over voxels; with one
// channel the binary form, -ln of the sigmoid.
type CrossEntropy struct {
	// Weights per class; the mean is then weighted by the labels' weights. With
	// one channel: the weight of the voxels of class 1 beside 1 for the others, in
	// a mean that counts every voxel once.
	Weights []float64
	Smooth  float64 // share of every label that is spread over all classes
}

func (l CrossEntropy) separable() bool { return l.Weights == nil }

func (l CrossEntropy) check(channels int) error {
	if l.Smooth < 0 || l.Smooth >= 1 {
		return fault.New(fault.Invalid, "label smoothing must lie in [0, 1), not %g", l.Smooth)
	}
	return checkClasses("cross-entropy", channels, false, l.Weights)
}

func (l CrossEntropy) value(t *target) string {
	g := t.g
	if t.channels() == 1 {
		return l.binary(t)
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

func (l CrossEntropy) binary(t *target) string {
	g, y := t.g, t.oneHot()
	if l.Smooth > 0 {
		y = g.add(g.scale(y, 1-l.Smooth), g.scalar(l.Smooth/2))
	}
	loss := t.binary(t.logits, y)
	if l.Weights != nil { // w·y·ln(1 + e⁻ˣ) + (1-y)·ln(1 + eˣ), where ln(1 + e⁻ˣ) = ln(1 + eˣ) - x
		plus := g.unary("Softplus", t.logits)
		loss = g.add(loss, g.scale(g.mul(y, g.sub(plus, t.logits)), l.Weights[0]-1))
	}
	return t.average(t.masked(loss))
}

// TopK is the cross-entropy averaged over the hardest voxels of the batch: the
// given share of those that count.
type TopK struct {
	Percent float64   // share of the voxels; 0 means 10
	Weights []float64 // per class, of a voxel's loss; nil: 1
}

func (l TopK) separable() bool { return false }

func (l TopK) check(channels int) error {
	if p := orElse(l.Percent, 10); !(p > 0 && p <= 100) {
		return fault.New(fault.Invalid, "top-k cross-entropy keeps a share in (0, 100] percent, not %g", p)
	}
	if channels < 2 {
		return fault.New(fault.Invalid, "top-k cross-entropy needs a network with several classes")
	}
	return checkClasses("top-k cross-entropy", channels, false, l.Weights)
}

func (l TopK) value(t *target) string {
	g, share, hot := t.g, orElse(l.Percent, 10)/100, t.oneHot()
	if l.Weights != nil {
		hot = g.mul(hot, t.perClass(l.Weights))
	}
	loss := g.unary("Neg", g.dot(hot, t.logP(), 1))
	n := size(g.shape(loss))
	k := max(int64(float64(n)*share), 1)
	top := g.ops("TopK", 2, []string{g.reshape(loss, n), g.ints(k)})[0]
	if t.ignore == 0 {
		return g.scale(g.sum(top, 0), 1/float64(k))
	}
	// Ignored voxels have loss 0 and come last. The number of those that count
	// is known while running only: the hardest of the hardest k are kept.
	counting := g.scale(g.reshape(g.sum(t.valid(), t.allAxes()...), 1), share)
	kept := g.op("Max", []string{g.unary("Floor", counting), g.scalar(1)})
	places := newArray(onnx.Float32, []int64{k})
	for i := range places.v {
		places.v[i] = float64(i)
	}
	return g.div(g.sum(g.mul(top, g.mask("Less", g.newConstant("places", places), kept)), 0), kept)
}
