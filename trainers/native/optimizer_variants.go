package native

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// RMSprop divides the gradient by the root of its mean square: s = Alpha·s +
// (1-Alpha)·g², v = Momentum·v + g/(√s + Eps), p -= rate·v (Hinton, 2012).
type RMSprop struct {
	Alpha    float64 // 0 means 0.99
	Eps      float64 // 0 means 1e-8
	Momentum float64
	Decay    float64 // added to the gradient: Decay·p
}

func (o RMSprop) check() error {
	alpha, eps := orElse(o.Alpha, 0.99), orElse(o.Eps, 1e-8)
	if !(alpha > 0 && alpha < 1 && eps > 0 && o.Momentum >= 0 && o.Momentum < 1 && o.Decay >= 0) {
		return fault.New(fault.Invalid, "RMSprop needs alpha in (0, 1), eps > 0, momentum in [0, 1) and decay >= 0, not %g, %g, %g and %g",
			alpha, eps, o.Momentum, o.Decay)
	}
	return nil
}

func (o RMSprop) moments() int {
	if o.Momentum == 0 {
		return 1
	}
	return 2
}

func (o RMSprop) momentum() float64 { return o.Momentum }

func (o RMSprop) factors(_ int, pace Pace) []float32 {
	return []float32{float32(pace.Rate), float32(orElse(pace.Momentum, o.Momentum))}
}

func (o RMSprop) update(g *graph, p, grad string, moments, factors []string) (string, []string) {
	if o.Decay > 0 {
		grad = g.add(grad, g.scale(p, o.Decay))
	}
	alpha := orElse(o.Alpha, 0.99)
	s := g.add(g.scale(moments[0], alpha), g.mul(g.scale(grad, 1-alpha), grad))
	way := g.div(grad, g.add(g.unary("Sqrt", s), g.scalar(orElse(o.Eps, 1e-8))))
	after := []string{s}
	if o.Momentum > 0 {
		way = g.add(g.mul(moments[1], factors[1]), way)
		after = append(after, way)
	}
	return g.sub(p, g.mul(way, factors[0])), after
}

// RAdam is Adam without its adaptive step while the second moment rests on too
// few gradients, and with a rectified one afterwards (Liu et al., 2019).
type RAdam struct {
	Beta1, Beta2 float64 // 0 means 0.9 and 0.999
	Eps          float64 // added to the root; 0 means 1e-8
	Decay        float64
	Decoupled    bool // as in Adam
}

func (o RAdam) adam() Adam {
	return Adam{Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, Decay: o.Decay, Decoupled: o.Decoupled}.orDefault()
}

func (o RAdam) check() error      { return o.adam().check() }
func (o RAdam) moments() int      { return 2 }
func (o RAdam) momentum() float64 { return o.adam().Beta1 }

// factors: step size, beta1 and 1 - beta1, what decoupled decay leaves of p,
// and the weights of √v and of 1 in the divisor: (1, Eps) with the adaptive
// step, (0, 1) without.
func (o RAdam) factors(step int, pace Pace) []float32 {
	a := o.adam()
	t, beta1 := float64(step), orElse(pace.Momentum, a.Beta1)
	left := math.Pow(a.Beta2, t)
	size := pace.Rate / (1 - math.Pow(beta1, t))
	longest := 2/(1-a.Beta2) - 1
	length := longest - 2*t*left/(1-left)
	root, one := 0.0, 1.0
	if length > 5 {
		size *= math.Sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
		size *= math.Sqrt(1 - left)
		root, one = 1, a.Eps
	}
	return float32s(size, beta1, 1-beta1, 1-pace.Rate*a.Decay, root, one)
}

func (o RAdam) update(g *graph, p, grad string, moments, factors []string) (string, []string) {
	a := o.adam()
	p, grad = a.decayed(g, p, grad, factors[3])
	m := g.add(g.mul(moments[0], factors[1]), g.mul(grad, factors[2]))
	v := a.second(g, moments[1], grad)
	divisor := g.add(g.mul(g.unary("Sqrt", v), factors[4]), factors[5])
	return g.sub(p, g.mul(g.div(m, divisor), factors[0])), []string{m, v}
}

// NAdam is Adam with Nesterov's momentum (Dozat, 2016). The momentum of step t
// is Beta1·(1 - 0.96^(t·Warming)/2).
type NAdam struct {
	Beta1, Beta2 float64 // 0 means 0.9 and 0.999
	Eps          float64 // added to the root; 0 means 1e-8
	Warming      float64 // 0 means 0.004
	Decay        float64
	Decoupled    bool // as in Adam
}

func (o NAdam) adam() Adam {
	return Adam{Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, Decay: o.Decay, Decoupled: o.Decoupled}.orDefault()
}

func (o NAdam) check() error {
	if o.Warming < 0 {
		return fault.New(fault.Invalid, "NAdam needs warming >= 0, not %g", o.Warming)
	}
	return o.adam().check()
}

func (o NAdam) moments() int { return 2 }

// momentum is 0: NAdam's momentum has a course of its own.
func (o NAdam) momentum() float64 { return 0 }

// at is the momentum of step t.
func (o NAdam) at(t int) float64 {
	return o.adam().Beta1 * (1 - 0.5*math.Pow(0.96, float64(t)*orElse(o.Warming, 0.004)))
}

// product is the product of the momenta of the steps 1 to t. It is nothing
// beside 1 after some hundred steps.
func (o NAdam) product(t int) float64 {
	p := 1.0
	for i := 1; i <= t && p > 1e-20; i++ {
		p *= o.at(i)
	}
	return p
}

// factors: weights of the gradient and of the first moment, the inverse root of
// the second's bias correction, what decoupled decay leaves of p.
func (o NAdam) factors(step int, pace Pace) []float32 {
	a := o.adam()
	now, next, product := o.at(step), o.at(step+1), o.product(step)
	return float32s(pace.Rate*(1-now)/(1-product), pace.Rate*next/(1-product*next),
		1/math.Sqrt(1-math.Pow(a.Beta2, float64(step))), 1-pace.Rate*a.Decay)
}

func (o NAdam) update(g *graph, p, grad string, moments, factors []string) (string, []string) {
	a := o.adam()
	p, grad = a.decayed(g, p, grad, factors[3])
	m := g.add(g.scale(moments[0], a.Beta1), g.scale(grad, 1-a.Beta1))
	v := a.second(g, moments[1], grad)
	root := g.add(g.mul(g.unary("Sqrt", v), factors[2]), g.scalar(a.Eps))
	way := g.add(g.mul(grad, factors[0]), g.mul(m, factors[1]))
	return g.sub(p, g.div(way, root)), []string{m, v}
}

func float32s(list ...float64) []float32 {
	out := make([]float32, len(list))
	for i, v := range list {
		out[i] = float32(v)
	}
	return out
}
