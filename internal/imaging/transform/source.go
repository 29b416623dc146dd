package transform

import "github.com/voxloop/voxloop/internal/imaging"

// Source is one channel of voxels that a Plan reads.
type Source struct {
	rows interface {
		// row returns n values from offset on, in buf or in the storage itself.
		row(buf []float32, offset, n int) []float32
	}
	// affine samples one destination plane (array axis 0 at index i) of a plan
	// that is not separable.
	affine func(p *Plan, i int, dst []float32)
}

// FromVolume reads a channel of a volume, scaled, straight from its storage.
func FromVolume(v *imaging.Volume, channel int) Source {
	base := channel * v.Voxels()
	s := Source{rows: volumeRows{v, base}}
	switch d := v.Data.(type) {
	case imaging.Samples[uint8]:
		s.affine = affineOf(d[base:], v.Slope, v.Intercept)
	case imaging.Samples[int8]:
		s.affine = affineOf(d[base:], v.Slope, v.Intercept)
	case imaging.Samples[uint16]:
		s.affine = affineOf(d[base:], v.Slope, v.Intercept)
	case imaging.Samples[int16]:
		s.affine = affineOf(d[base:], v.Slope, v.Intercept)
	case imaging.Samples[uint32]:
		s.affine = affineOf(d[base:], v.Slope, v.Intercept)
	case imaging.Samples[int32]:
		s.affine = affineOf(d[base:], v.Slope, v.Intercept)
	case imaging.Samples[uint64]:
		s.affine = affineOf(d[base:], v.Slope, v.Intercept)
	case imaging.Samples[int64]:
		s.affine = affineOf(d[base:], v.Slope, v.Intercept)
	case imaging.Samples[float32]:
		s.affine = affineOf(d[base:], v.Slope, v.Intercept)
	case imaging.Samples[float64]:
		s.affine = affineOf(d[base:], v.Slope, v.Intercept)
	}
	return s
}

// FromTensor reads an array of float32.
func FromTensor(data []float32) Source {
	return Source{rows: tensorRows(data), affine: affineOf(data, 1, 0)}
}

type volumeRows struct {
	v    *imaging.Volume
	base int
}

func (r volumeRows) row(buf []float32, offset, n int) []float32 {
	buf = buf[:n]
	r.v.Data.Float32s(buf, r.base+offset, r.v.Slope, r.v.Intercept)
	return buf
}

type tensorRows []float32

func (r tensorRows) row(_ []float32, offset, n int) []float32 { return r[offset : offset+n] }

// affineOf samples voxel by voxel from the eight neighbours, for lattices that
// are rotated against each other.
func affineOf[T imaging.Number](src []T, slope, intercept float64) func(*Plan, int, []float32) {
	return func(p *Plan, i int, dst []float32) {
		s0, s1 := p.src[1]*p.src[2], p.src[2]
		for j := range p.dst[1] {
			at := p.m.Apply([3]float64{float64(i), float64(j), 0})
			row := dst[j*p.dst[2] : (j+1)*p.dst[2]]
			for k := range row {
				f := float64(k)
				a0, a1, u0, u1 := p.rule[0].neighbours(at[0] + f*p.m[0][2])
				b0, b1, v0, v1 := p.rule[1].neighbours(at[1] + f*p.m[1][2])
				c0, c1, w0, w1 := p.rule[2].neighbours(at[2] + f*p.m[2][2])
				a0, a1, b0, b1 = a0*s0, a1*s0, b0*s1, b1*s1
				sum := float64(u0) * (float64(v0)*pair(src, a0+b0, c0, c1, w0, w1) + float64(v1)*pair(src, a0+b1, c0, c1, w0, w1))
				if u1 != 0 {
					sum += float64(u1) * (float64(v0)*pair(src, a1+b0, c0, c1, w0, w1) + float64(v1)*pair(src, a1+b1, c0, c1, w0, w1))
				}
				weight := float64(u0+u1) * float64(v0+v1) * float64(w0+w1)
				row[k] = float32(sum*slope + weight*intercept)
			}
		}
	}
}

func pair[T imaging.Number](src []T, base, lo, hi int, w0, w1 float32) float64 {
	return float64(w0)*float64(src[base+lo]) + float64(w1)*float64(src[base+hi])
}
