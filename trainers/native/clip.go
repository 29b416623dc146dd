package native

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// Norm is a length of the whole gradient.
type Norm int

// The norms.
const (
	L2   Norm = iota // root of the sum of squares
	L1               // sum of magnitudes
	LMax             // largest magnitude
)

// norm is the length of a vector, [1].
func (g *graph) norm(kind Norm, v string) string {
	switch kind {
	case L1:
		return g.sum(g.unary("Abs", v), 0)
	case LMax:
		return g.reduce("ReduceMax", g.unary("Abs", v), 0)
	case L2:
	}
	return g.unary("Sqrt", g.sumSquares(v, 0))
}

// clipped scales a gradient down so that its norm, which is given, is at most
// limit.
func (g *graph) clipped(grad, norm string, limit float64) string {
	ratio := g.div(g.scalar(limit), g.add(norm, g.scalar(1e-6)))
	return g.mul(grad, g.op("Min", []string{ratio, g.scalar(1)}))
}

// bounded cuts every element to [-limit, limit].
func (g *graph) bounded(grad string, limit float64) string {
	return g.op("Clip", []string{grad, g.scalar(-limit), g.scalar(limit)})
}

// clip bounds the gradient as the options say; l2 is its L2 norm.
func (o Options) clip(g *graph, grad, l2 string) string {
	if o.ClipValue > 0 {
		grad = g.bounded(grad, o.ClipValue)
	}
	if o.ClipNorm == 0 {
		return grad
	}
	length := l2
	if o.ClipKind != L2 || o.ClipValue > 0 {
		length = g.norm(o.ClipKind, grad)
	}
	return g.clipped(grad, length, o.ClipNorm)
}

func (o Options) checkClip() error {
	if o.ClipNorm < 0 || math.IsNaN(o.ClipNorm) {
		return fault.New(fault.Invalid, "the bound of the gradient's norm must not be negative: %g", o.ClipNorm)
	}
	if o.ClipValue < 0 || math.IsNaN(o.ClipValue) {
		return fault.New(fault.Invalid, "the bound of the gradient's elements must not be negative: %g", o.ClipValue)
	}
	if o.ClipKind < L2 || o.ClipKind > LMax {
		return fault.New(fault.Invalid, "there is no norm %d to bound the gradient by", o.ClipKind)
	}
	return nil
}
