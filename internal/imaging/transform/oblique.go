package transform

import "github.com/voxloop/voxloop/internal/imaging"

// obliqueBlock is how many planes, and columns of them, are sampled together
// when lattices are rotated against each other: their voxels share source
// lines, which then stay in the first-level cache.
const obliqueBlock = 16

// oblique samples one channel voxel by voxel from the eight neighbours.
type oblique[T imaging.Number] struct {
	src              []T
	slope, intercept float64
}

func affineOf[T imaging.Number](src []T, slope, intercept float64) func(*Plan, int, int, []float32, int, int) {
	return oblique[T]{src, slope, intercept}.planes
}

// planes implements Source's affine.
func (o oblique[T]) planes(p *Plan, from, to int, dst []float32, step, stride int) {
	for j := range p.dst[1] {
		for k := 0; k < p.dst[2]; k += obliqueBlock {
			end := min(k+obliqueBlock, p.dst[2])
			for i := from; i < to; i++ {
				at := p.m.Apply([3]float64{float64(i), float64(j), 0})
				o.row(p, at, k, dst[(i-from)*step+j*stride+k:][:end-k])
			}
		}
	}
}

// row samples the columns from first on of the row that starts at source
// coordinate at.
func (o oblique[T]) row(p *Plan, at [3]float64, first int, row []float32) {
	s1 := p.src[2]
	s0 := p.src[1] * s1
	end := [3]float64{float64(p.src[0] - 1), float64(p.src[1] - 1), float64(p.src[2] - 1)}
	nearest := p.rule[0].nearest
	for k := range row {
		f := float64(first + k)
		x, y, z := at[0]+f*p.m[0][2], at[1]+f*p.m[1][2], at[2]+f*p.m[2][2]
		if nearest || !(x >= 0 && x < end[0] && y >= 0 && y < end[1] && z >= 0 && z < end[2]) {
			row[k] = o.edge(p, x, y, z)
			continue
		}
		a, b, c := int(x), int(y), int(z) // all eight neighbours are inside
		u, v, w := x-float64(a), y-float64(b), z-float64(c)
		base := a*s0 + b*s1 + c
		near, far := o.src[base:base+s1+2], o.src[base+s0:base+s0+s1+2]
		n0 := lerp(near[0], near[1], w)
		n1 := lerp(near[s1], near[s1+1], w)
		f0 := lerp(far[0], far[1], w)
		f1 := lerp(far[s1], far[s1+1], w)
		n0 += (n1 - n0) * v
		f0 += (f1 - f0) * v
		row[k] = float32((n0+(f0-n0)*u)*o.slope + o.intercept)
	}
}

func lerp[T imaging.Number](a, b T, w float64) float64 {
	f := float64(a)
	return f + (float64(b)-f)*w
}

// edge samples any coordinate by the plan's rules.
func (o oblique[T]) edge(p *Plan, x, y, z float64) float32 {
	s0, s1 := p.src[1]*p.src[2], p.src[2]
	a0, a1, u0, u1 := p.rule[0].neighbours(x)
	b0, b1, v0, v1 := p.rule[1].neighbours(y)
	c0, c1, w0, w1 := p.rule[2].neighbours(z)
	a0, a1, b0, b1 = a0*s0, a1*s0, b0*s1, b1*s1
	var sum float64
	if u0 != 0 {
		sum = float64(u0) * (float64(v0)*pair(o.src, a0+b0, c0, c1, w0, w1) + float64(v1)*pair(o.src, a0+b1, c0, c1, w0, w1))
	}
	if u1 != 0 {
		sum += float64(u1) * (float64(v0)*pair(o.src, a1+b0, c0, c1, w0, w1) + float64(v1)*pair(o.src, a1+b1, c0, c1, w0, w1))
	}
	weight := float64(u0+u1) * float64(v0+v1) * float64(w0+w1)
	return float32(sum*o.slope + weight*o.intercept)
}

func pair[T imaging.Number](src []T, base, lo, hi int, w0, w1 float32) float64 {
	return float64(w0)*float64(src[base+lo]) + float64(w1)*float64(src[base+hi])
}
