package native

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// Optimizer turns gradients into new parameters. The types of this package are
// its implementations. The learning rate is no part of it: every step brings
// its own (Step.Run, Step.RunAt).
type Optimizer interface {
	check() error
	// momentum is the setting that Pace.Momentum replaces; 0: there is none.
	momentum() float64
	// moments is the number of vectors of the parameters' size that it keeps.
	moments() int
	// factors returns what changes from step to step, given the number of the
	// step (from 1) and its pace.
	factors(step int, pace Pace) []float32
	// update returns the new parameters and moments, all vectors of one length;
	// factors are scalars in the order of the method's.
	update(g *graph, p, grad string, moments, factors []string) (next string, after []string)
}

// Pace is what a step is made with.
type Pace struct {
	Rate     float64 // learning rate
	Momentum float64 // in place of SGD's and RMSprop's Momentum or Adam's and RAdam's Beta1 (OneCycle.Momentum); 0: the optimizer's own
}

// checkPace refuses a momentum that the optimizer cannot use.
func checkPace(o Optimizer, p Pace) error {
	if p.Momentum != 0 && (p.Momentum < 0 || p.Momentum >= 1 || o.momentum() == 0) {
		return fault.New(fault.Invalid, "a step's momentum must lie in [0, 1) and belong to an optimizer that has one: %g for %T", p.Momentum, o)
	}
	return nil
}

// SGD is stochastic gradient descent with momentum: v = Momentum·v +
// (1-Dampening)·g (the first v is g), p -= rate·v, or rate·(g + Momentum·v)
// with Nesterov.
type SGD struct {
	Momentum  float64
	Nesterov  bool
	Dampening float64
	Decay     float64 // added to the gradient: Decay·p
}

func (o SGD) check() error {
	if o.Momentum < 0 || o.Momentum >= 1 || o.Decay < 0 || (o.Nesterov && o.Momentum == 0) {
		return fault.New(fault.Invalid, "SGD needs momentum in [0, 1) (above 0 with Nesterov) and decay >= 0, not %g and %g", o.Momentum, o.Decay)
	}
	if o.Dampening < 0 || o.Dampening >= 1 || (o.Dampening > 0 && (o.Nesterov || o.Momentum == 0)) {
		return fault.New(fault.Invalid, "SGD needs dampening in [0, 1), above 0 only with momentum and without Nesterov, not %g", o.Dampening)
	}
	return nil
}

func (o SGD) moments() int {
	if o.Momentum == 0 {
		return 0
	}
	return 1
}

func (o SGD) momentum() float64 { return o.Momentum }

// factors: rate, momentum, share of the gradient that goes into v.
func (o SGD) factors(step int, pace Pace) []float32 {
	share := 1 - o.Dampening
	if step == 1 {
		share = 1
	}
	return float32s(pace.Rate, orElse(pace.Momentum, o.Momentum), share)
}

func (o SGD) update(g *graph, p, grad string, moments, factors []string) (string, []string) {
	if o.Decay > 0 {
		grad = g.add(grad, g.scale(p, o.Decay))
	}
	if o.Momentum == 0 {
		return g.sub(p, g.mul(grad, factors[0])), nil
	}
	fresh := grad
	if o.Dampening > 0 {
		fresh = g.mul(grad, factors[2])
	}
	v := g.add(g.mul(moments[0], factors[1]), fresh)
	way := v
	if o.Nesterov {
		way = g.add(grad, g.mul(v, factors[1]))
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
	o.Beta1, o.Beta2, o.Eps = orElse(o.Beta1, 0.9), orElse(o.Beta2, 0.999), orElse(o.Eps, 1e-8)
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

func (o Adam) momentum() float64 { return o.orDefault().Beta1 }

// factors: step size with the first moment's bias correction, the inverse root
// of the second's, what decoupled decay leaves of p, beta1 and 1 - beta1.
func (o Adam) factors(step int, pace Pace) []float32 {
	o = o.orDefault()
	t, beta1 := float64(step), orElse(pace.Momentum, o.Beta1)
	return float32s(pace.Rate/(1-math.Pow(beta1, t)), 1/math.Sqrt(1-math.Pow(o.Beta2, t)), 1-pace.Rate*o.Decay, beta1, 1-beta1)
}

// decayed applies the decay to the parameters or to the gradient.
func (o Adam) decayed(g *graph, p, grad, left string) (string, string) {
	switch {
	case o.Decay > 0 && o.Decoupled:
		p = g.mul(p, left)
	case o.Decay > 0:
		grad = g.add(grad, g.scale(p, o.Decay))
	}
	return p, grad
}

// second is the next second moment.
func (o Adam) second(g *graph, v, grad string) string {
	return g.add(g.scale(v, o.Beta2), g.mul(g.scale(grad, 1-o.Beta2), grad))
}

func (o Adam) update(g *graph, p, grad string, moments, factors []string) (string, []string) {
	o = o.orDefault()
	p, grad = o.decayed(g, p, grad, factors[2])
	m := g.add(g.mul(moments[0], factors[3]), g.mul(grad, factors[4]))
	v := o.second(g, moments[1], grad)
	after := []string{m, v}
	top := v
	if o.AMSGrad {
		top = g.op("Max", []string{moments[2], v})
		after = append(after, top)
	}
	root := g.add(g.mul(g.unary("Sqrt", top), factors[1]), g.scalar(o.Eps))
	return g.sub(p, g.mul(g.div(m, root), factors[0])), after
}
