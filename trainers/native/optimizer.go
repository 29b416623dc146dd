package native

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// Optimizer turns gradients into new parameters. The types of this package are
// its implementations. The learning rate is no part of it: every step brings
// its own (Step.Run).
type Optimizer interface {
	check() error
	// moments is the number of vectors of the parameters' size that it keeps.
	moments() int
	// factors returns what changes from step to step, given the number of the
	// step (from 1) and the learning rate.
	factors(step int, rate float64) []float32
	// update returns the new parameters and moments, all vectors of one length;
	// factors are scalars in the order of the method's.
	update(g *graph, p, grad string, moments, factors []string) (next string, after []string)
}

// SGD is stochastic gradient descent with momentum: v = Momentum·v + g (the
// first v is g), p -= rate·v, or rate·(g + Momentum·v) with Nesterov.
type SGD struct {
	Momentum float64
	Nesterov bool
	Decay    float64 // added to the gradient: Decay·p
}

func (o SGD) check() error {
	if o.Momentum < 0 || o.Momentum >= 1 || o.Decay < 0 || (o.Nesterov && o.Momentum == 0) {
		return fault.New(fault.Invalid, "SGD needs momentum in [0, 1) (above 0 with Nesterov) and decay >= 0, not %g and %g", o.Momentum, o.Decay)
	}
	return nil
}

func (o SGD) moments() int {
	if o.Momentum == 0 {
		return 0
	}
	return 1
}

func (o SGD) factors(_ int, rate float64) []float32 { return []float32{float32(rate)} }

func (o SGD) update(g *graph, p, grad string, moments, factors []string) (string, []string) {
	if o.Decay > 0 {
		grad = g.add(grad, g.scale(p, o.Decay))
	}
	if o.Momentum == 0 {
		return g.sub(p, g.mul(grad, factors[0])), nil
	}
	v := g.add(g.scale(moments[0], o.Momentum), grad)
	way := v
	if o.Nesterov {
		way = g.add(grad, g.scale(v, o.Momentum))
	}
	return g.sub(p, g.mul(way, factors[0])), []string{v}
}

// Adam is Kingma and Ba's method (2014). AdamW decouples the decay from the
// gradient (Loshchilov and Hutter, 2017).
type Adam struct {
	Beta1, Beta2 float64 // 0 means 0.9 and 0.999
	Eps          float64 // added to the root; 0 means 1e-8
	Decay        float64
	Decoupled    bool // p is shrunk by rate·Decay; otherwise Decay·p is added to the gradient
	AMSGrad      bool // the largest second moment so far takes the place of the present one
}

// AdamW is Adam with decoupled decay.
func AdamW(decay float64) Adam { return Adam{Decay: decay, Decoupled: true} }

func (o Adam) orDefault() Adam {
	if o.Beta1 == 0 {
		o.Beta1 = 0.9
	}
	if o.Beta2 == 0 {
		o.Beta2 = 0.999
	}
	if o.Eps == 0 {
		o.Eps = 1e-8
	}
	return o
}

func (o Adam) check() error {
	o = o.orDefault()
	if !(o.Beta1 > 0 && o.Beta1 < 1 && o.Beta2 > 0 && o.Beta2 < 1 && o.Eps > 0 && o.Decay >= 0) {
		return fault.New(fault.Invalid, "Adam needs betas in (0, 1), eps > 0 and decay >= 0, not %g, %g, %g and %g", o.Beta1, o.Beta2, o.Eps, o.Decay)
	}
	return nil
}

func (o Adam) moments() int {
	if o.AMSGrad {
		return 3
	}
	return 2
}

// factors: step size with the first moment's bias correction, the inverse root
// of the second's, and what decoupled decay leaves of p.
func (o Adam) factors(step int, rate float64) []float32 {
	o = o.orDefault()
	t := float64(step)
	return []float32{
		float32(rate / (1 - math.Pow(o.Beta1, t))), float32(1 / math.Sqrt(1-math.Pow(o.Beta2, t))), float32(1 - rate*o.Decay),
	}
}

func (o Adam) update(g *graph, p, grad string, moments, factors []string) (string, []string) {
	o = o.orDefault()
	switch {
	case o.Decay > 0 && o.Decoupled:
		p = g.mul(p, factors[2])
	case o.Decay > 0:
		grad = g.add(grad, g.scale(p, o.Decay))
	}
	m := g.add(g.scale(moments[0], o.Beta1), g.scale(grad, 1-o.Beta1))
	v := g.add(g.scale(moments[1], o.Beta2), g.mul(g.scale(grad, 1-o.Beta2), grad))
	after := []string{m, v}
	top := v
	if o.AMSGrad {
		top = g.op("Max", []string{moments[2], v})
		after = append(after, top)
	}
	root := g.add(g.mul(g.unary("Sqrt", top), factors[1]), g.scalar(o.Eps))
	return g.sub(p, g.mul(g.div(m, root), factors[0])), after
}

// clipped scales a gradient down so that its L2 norm, which is given, is at
// most limit.
func (g *graph) clipped(grad, norm string, limit float64) string {
	ratio := g.div(g.scalar(limit), g.add(norm, g.scalar(1e-6)))
	return g.mul(grad, g.op("Min", []string{ratio, g.scalar(1)}))
}

// norm is the L2 norm of a vector.
func (g *graph) norm(v string) string { return g.unary("Sqrt", g.sumSquares(v, 0)) }
