package augment

import (
	"context"
	"errors"
	"math"
)

// moments are statistics of voxels: extremes and, around a shift, sums.
type moments struct {
	lo, hi     float32
	n          int
	shift      float64
	sum, sumSq float64 // of x - shift
}

func (m moments) mean() float64 { return m.shift + m.sum/float64(m.n) }

// sd returns the population standard deviation.
func (m moments) sd() float64 {
	d := m.sum / float64(m.n)
	return math.Sqrt(max(0, m.sumSq/float64(m.n)-d*d))
}

// add counts the voxels of b. Two voxels are in work at a time, each with
// sums of its own, since one sum would have to wait for itself.
func (m *moments) add(b []float32) {
	m.n += len(b)
	lo, hi, shift := m.lo, m.hi, m.shift
	var s0, s1, q0, q1 float64
	for len(b) >= 2 {
		x, y := b[0], b[1]
		if x < lo {
			lo = x
		}
		if x > hi {
			hi = x
		}
		if y < lo {
			lo = y
		}
		if y > hi {
			hi = y
		}
		d, e := float64(x)-shift, float64(y)-shift
		s0 += d
		s1 += e
		q0 += d * d
		q1 += e * e
		b = b[2:]
	}
	for _, x := range b {
		lo, hi = min(lo, x), max(hi, x)
		d := float64(x) - shift
		s0 += d
		q0 += d * d
	}
	m.lo, m.hi = lo, hi
	m.sum += s0 + s1
	m.sumSq += q0 + q1
}

func emptyMoments(shift float64) moments {
	return moments{lo: float32(math.Inf(1)), hi: float32(math.Inf(-1)), shift: shift}
}

// statistics returns the moments of v. Blocks are summed in their order, so
// the result does not depend on the workers.
func (r *run) statistics(v []float32) (moments, error) {
	return r.reduce(v, func([]float32) {})
}

// reduce changes every block by fn and returns the moments of the result.
func (r *run) reduce(v []float32, fn func(b []float32)) (moments, error) {
	shift := float64(v[0])
	r.spare.parts = grow(r.spare.parts, (len(v)+block-1)/block)
	parts := r.spare.parts
	err := r.voxels(v, func(b []float32, _, number int) {
		fn(b)
		m := emptyMoments(shift)
		m.add(b)
		parts[number] = m
	})
	all := emptyMoments(shift)
	for _, m := range parts {
		all.lo, all.hi = min(all.lo, m.lo), max(all.hi, m.hi)
		all.n += m.n
		all.sum += m.sum
		all.sumSq += m.sumSq
	}
	return all, err
}

func isCancel(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
