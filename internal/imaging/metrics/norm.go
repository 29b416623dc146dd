package metrics

import "math"

// Norm is a way to measure the distance between two voxels.
type Norm int

// The norms of the offset (dx, dy, dz) in mm: √(dx²+dy²+dz²), max(|dx|,|dy|,|dz|),
// |dx|+|dy|+|dz|.
const (
	Euclidean Norm = iota
	Chessboard
	Taxicab
)

// along returns the distance over d mm of one axis, as it is kept between the
// axes: squared for Euclidean.
func (n Norm) along(d float64) float64 {
	if n == Euclidean {
		return d * d
	}
	return d
}

// final turns a kept distance into mm, rounded to float32.
func (n Norm) final(d float64) float32 {
	if n == Euclidean {
		return float32(math.Sqrt(d))
	}
	return float32(d)
}

// envelope finds, for the points of one line, the smallest sum (or maximum) of
// a given value at another point and the distance to there, in time linear in
// the points.
//
// Source: Felzenszwalb and Huttenlocher, Theory of Computing 8 (2012), for
// Euclidean; Meijster, Roerdink and Hesselink (2000) for all three.
type envelope struct {
	norm    Norm
	step    float64   // mm between points
	inverse []float64 // 1 / (2·step·i)
	value   []float64 // at every point; +Inf where there is nothing
	key     []float64 // scratch of parabolas
	out     []float64 // after sample: the result at every point
	at      []int     // points whose curves form the lower envelope
	begin   []float64 // mm at which each of them begins
}

func newEnvelope(n Norm, points int, step float64) *envelope {
	e := &envelope{
		norm: n, step: step, inverse: make([]float64, points), value: make([]float64, points), key: make([]float64, points), out: make([]float64, points),
		at: make([]int, 0, points), begin: make([]float64, 0, points),
	}
	for i := 1; i < points; i++ {
		e.inverse[i] = 1 / (2 * step * float64(i))
	}
	return e
}

// run writes the kept distance at every point into e.out: +Inf where e.value
// holds nothing else.
func (e *envelope) run() {
	if e.build() {
		e.sample()
		return
	}
	for i := range e.out {
		e.out[i] = math.Inf(1)
	}
}

// build forms the envelope of e.value and reports whether there is any.
func (e *envelope) build() bool {
	if e.norm == Euclidean {
		return e.parabolas()
	}
	e.at, e.begin = e.at[:0], e.begin[:0]
	for q, f := range e.value {
		if f > math.MaxFloat64 { // +Inf
			continue
		}
		from := math.Inf(-1)
		for len(e.at) > 0 {
			last := len(e.at) - 1
			from = e.cross(e.at[last], q)
			if from > e.begin[last] {
				break
			}
			e.at, e.begin = e.at[:last], e.begin[:last]
			from = math.Inf(-1)
		}
		if math.IsInf(from, 1) { // never below the others
			continue
		}
		e.at, e.begin = append(e.at, q), append(e.begin, from)
	}
	return len(e.at) > 0
}

// parabolas is build for Euclidean, where most of the time goes. The curve of
// point q is value(q) + (x-p)², p its place; two of them cross once.
func (e *envelope) parabolas() bool {
	at, begin, key := e.at[:cap(e.at)], e.begin[:cap(e.begin)], e.key
	last := -1
	for q, f := range e.value {
		if f > math.MaxFloat64 { // +Inf
			continue
		}
		p := e.step * float64(q)
		k := f + p*p
		key[q] = k
		from := math.Inf(-1)
		for last >= 0 {
			v := at[last]
			from = (k - key[v]) * e.inverse[q-v]
			if from > begin[last] {
				break
			}
			last--
			from = math.Inf(-1)
		}
		last++
		at[last], begin[last] = q, from
	}
	e.at, e.begin = at[:last+1], begin[:last+1]
	return last >= 0
}

// cross returns the place from which on the curve of point q is not above that
// of the earlier point v: for Chessboard and Taxicab.
func (e *envelope) cross(v, q int) float64 {
	fv, fq := e.value[v], e.value[q]
	pv, pq := e.step*float64(v), e.step*float64(q)
	if e.norm == Chessboard {
		if fv <= fq {
			return max(pv+fq, (pv+pq)/2)
		}
		return min(pq-fv, (pv+pq)/2)
	}
	switch d := pq - pv; {
	case fq >= fv+d:
		return math.Inf(1)
	case fv > fq+d:
		return math.Inf(-1)
	}
	return (fq - fv + pv + pq) / 2
}

// sample writes the kept distance at every point into e.out; build has found
// an envelope.
func (e *envelope) sample() {
	k := 0
	for i := range e.out {
		p := e.step * float64(i)
		for k+1 < len(e.at) && e.begin[k+1] <= p {
			k++
		}
		from := e.at[k]
		d := e.step * float64(i-from)
		if e.norm == Euclidean {
			e.out[i] = e.value[from] + d*d
		} else {
			e.out[i] = e.norm.join(e.value[from], math.Abs(d))
		}
	}
}

// join puts a distance along one axis together with that along those before.
func (n Norm) join(before, d float64) float64 {
	switch n {
	case Euclidean:
		return before + d*d
	case Chessboard:
		return max(before, d)
	case Taxicab:
	}
	return before + d
}
