package augment

import "math"

// power is the curve from + scale·((x-from)/scale)^gamma over quotients in
// [0, 1], as a table: 128 intervals in each of the octaves down to 2⁻²⁴, with a
// parabola through the value and the two derivatives at the interval's centre.
// The power's relative error is below |gamma·(gamma-1)·(gamma-2)|/6·2⁻²⁴, a
// float32's own step for gammas up to 2. Smaller quotients are rare and take
// the long way.
type power struct {
	from, inv   float32
	gamma       float64
	base, scale float64
	table       [][3]float32
}

const (
	powerBits    = 7 // of the mantissa, choose the interval
	powerOctaves = 24
	powerShift   = 23 - powerBits
	powerFirst   = (127 - powerOctaves) << powerBits // number of the first interval: the upper bits of 2⁻²⁴
	powerCount   = powerOctaves<<powerBits + 1       // and one for the quotient 1
)

// power prepares the curve in the patch's spare memory.
func (r *run) power(from, scale, gamma float64) *power {
	r.spare.power = grow(r.spare.power, powerCount)
	p := &power{
		from: float32(from), inv: float32(1 / scale), gamma: gamma,
		base: from, scale: scale, table: r.spare.power,
	}
	for i := range p.table {
		m := float64(math.Float32frombits(uint32(powerFirst+i)<<powerShift | 1<<(powerShift-1)))
		f := scale * exp2(gamma*log2(m))
		p.table[i] = [3]float32{float32(from + f), float32(f * gamma / m), float32(f * gamma * (gamma - 1) / (2 * m * m))}
	}
	return p
}

// bend sends the voxels of b through the curve.
func (p *power) bend(b []float32) {
	table := p.table
	for i, x := range b {
		q := min((x-p.from)*p.inv, 1) // rounding may pass 1
		k := math.Float32bits(q)
		n := int(k>>powerShift) - powerFirst
		if uint(n) >= uint(len(table)) {
			b[i] = p.small(float64(q))
			continue
		}
		t := &table[n]
		u := q - math.Float32frombits(k&^(1<<powerShift-1)|1<<(powerShift-1))
		b[i] = t[0] + u*(t[1]+u*t[2])
	}
}

// small handles quotients below the table's.
func (p *power) small(q float64) float32 {
	if !(q > 0) {
		return p.from
	}
	return float32(p.base + p.scale*math.Pow(q, p.gamma))
}
