package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
)

// Focal is -(1-p)^Gamma·ln p of the label's class, averaged over voxels and
// classes (Lin et al., 2017).
type Focal struct {
	Sigmoid      bool
	NoBackground bool      // class 0 is left out, with softmax its logit, too
	Gamma        float64   // 0 is plain cross-entropy
	Alpha        float64   // weight of foreground (1-Alpha: of background); 0: none
	Weights      []float64 // per class (without class 0 where it is left out); nil: 1
}

// leastMiss stands for 1-p below what float32 can tell from 0.
const leastMiss = 1e-7

func (l Focal) separable() bool { return true }

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
			if l.Gamma < 1 { // the slope of miss^Gamma has no bound at 0
				miss = g.op("Max", []string{miss, g.scalar(leastMiss)})
			}
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
