package transform

import "github.com/voxloop/voxloop/internal/imaging"

// Source is one channel of voxels that a Plan reads.
type Source struct {
	rows interface {
		// row returns n values from offset on, in buf or in the storage itself.
		row(buf []float32, offset, n int) []float32
	}
	// affine samples the destination planes [from, to) of a plan that is not
	// separable: element (j, k) of plane i at dst[(i-from)·step + j·stride + k].
	affine func(p *Plan, from, to int, dst []float32, step, stride int)
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
