// Package imaging holds the types every other package speaks: Volume,
// LabelMap, Grid, Affine.
//
// World coordinates are RAS+ in millimetres (NIfTI's convention). DICOM is
// LPS+, NRRD names its own space; readers convert once. Voxels are stored x
// fastest, channel by channel, as on disk:
//
//	index = x + nx*(y + ny*(z + nz*channel))
//
// Networks exported from MONAI take [N, C, X, Y, Z] with the last axis
// fastest: infer writes that order directly, no Volume is ever transposed.
package imaging

import (
	"errors"
	"fmt"
	"math"
)

// Errors that callers test for.
var (
	ErrShape  = errors.New("shapes differ")
	ErrFormat = errors.New("not a readable image")    // malformed or unsupported file
	ErrLimit  = errors.New("image exceeds the limit") // more voxels or bytes than allowed
)

// DataType is the type of one stored voxel.
type DataType uint8

// The stored types. RGB and complex types are not images for our networks.
const (
	Unknown DataType = iota
	Uint8
	Int8
	Uint16
	Int16
	Uint32
	Int32
	Uint64
	Int64
	Float32
	Float64
)

var typeInfo = map[DataType]struct {
	name string
	size int
}{
	Uint8: {"uint8", 1}, Int8: {"int8", 1}, Uint16: {"uint16", 2}, Int16: {"int16", 2}, Uint32: {"uint32", 4},
	Int32: {"int32", 4}, Uint64: {"uint64", 8}, Int64: {"int64", 8}, Float32: {"float32", 4}, Float64: {"float64", 8},
}

// String returns the NumPy name of the type ("uint8", "float32", …).
func (t DataType) String() string {
	if i, ok := typeInfo[t]; ok {
		return i.name
	}
	return "unknown"
}

// Size returns the bytes of one voxel, 0 for Unknown.
func (t DataType) Size() int { return typeInfo[t].size }

// ParseDataType reads a NumPy type name ("uint8", "float32", …).
func ParseDataType(name string) (DataType, bool) {
	for t, i := range typeInfo {
		if i.name == name {
			return t, true
		}
	}
	return Unknown, false
}

// Number is a Go type that can store a voxel.
type Number interface {
	~uint8 | ~int8 | ~uint16 | ~int16 | ~uint32 | ~int32 | ~uint64 | ~int64 | ~float32 | ~float64
}

// Voxels is typed voxel storage: one of Samples[uint8] … Samples[float64].
type Voxels interface {
	Len() int
	Type() DataType
	At(i int) float64
	// Float32s writes slope*v+intercept of the voxels [from, from+len(dst))
	// into dst. The sum is formed in float64 and rounded once.
	Float32s(dst []float32, from int, slope, intercept float64)
}

// Samples is a slice of voxels of one type.
type Samples[T Number] []T

// Len returns the number of voxels of all channels.
func (s Samples[T]) Len() int { return len(s) }

// At returns voxel i as float64, without slope and intercept.
func (s Samples[T]) At(i int) float64 { return float64(s[i]) }

// Type returns the stored type.
func (s Samples[T]) Type() DataType {
	var zero T
	switch any(zero).(type) {
	case uint8:
		return Uint8
	case int8:
		return Int8
	case uint16:
		return Uint16
	case int16:
		return Int16
	case uint32:
		return Uint32
	case int32:
		return Int32
	case uint64:
		return Uint64
	case int64:
		return Int64
	case float32:
		return Float32
	case float64:
		return Float64
	}
	return Unknown
}

// Float32s implements Voxels.
func (s Samples[T]) Float32s(dst []float32, from int, slope, intercept float64) {
	src := s[from : from+len(dst)]
	if slope == 1 && intercept == 0 {
		for i, v := range src {
			dst[i] = float32(v)
		}
		return
	}
	for i, v := range src {
		dst[i] = float32(float64(v)*slope + intercept)
	}
}

// NewVoxels allocates n voxels of type t; nil for Unknown.
func NewVoxels(t DataType, n int) Voxels {
	switch t {
	case Uint8:
		return make(Samples[uint8], n)
	case Int8:
		return make(Samples[int8], n)
	case Uint16:
		return make(Samples[uint16], n)
	case Int16:
		return make(Samples[int16], n)
	case Uint32:
		return make(Samples[uint32], n)
	case Int32:
		return make(Samples[int32], n)
	case Uint64:
		return make(Samples[uint64], n)
	case Int64:
		return make(Samples[int64], n)
	case Float32:
		return make(Samples[float32], n)
	case Float64:
		return make(Samples[float64], n)
	case Unknown:
	}
	return nil
}

// Volume is an image: Channels blocks of Grid.Voxels() voxels each, x fastest.
// A voxel's value is Slope*stored + Intercept.
type Volume struct {
	Grid
	Channels         int
	Slope, Intercept float64 // 1 and 0 when the file has no scaling
	Data             Voxels
}

// NewVolume returns a zero-filled volume with slope 1. channels is at least 1.
func NewVolume(g Grid, channels int, t DataType) *Volume {
	return &Volume{Grid: g, Channels: channels, Slope: 1, Data: NewVoxels(t, g.Voxels()*channels)}
}

// Validate reports whether the storage fits the grid and the scaling is finite.
func (v *Volume) Validate() error {
	if err := v.Grid.Validate(); err != nil {
		return err
	}
	if v.Channels < 1 {
		return fmt.Errorf("%w: %d channels", ErrFormat, v.Channels)
	}
	if v.Data == nil || v.Data.Len() != v.Voxels()*v.Channels {
		return fmt.Errorf("%w: storage does not hold %d voxels × %d channels", ErrShape, v.Voxels(), v.Channels)
	}
	if !finite(v.Slope) || !finite(v.Intercept) {
		return fmt.Errorf("%w: slope %g, intercept %g", ErrFormat, v.Slope, v.Intercept)
	}
	return nil
}

// At returns the scaled value of a voxel.
func (v *Volume) At(x, y, z, channel int) float64 {
	i := x + v.Size[0]*(y+v.Size[1]*(z+v.Size[2]*channel))
	return v.Data.At(i)*v.Slope + v.Intercept
}

// Float32s writes the scaled values of one channel, starting at voxel from,
// into dst.
func (v *Volume) Float32s(dst []float32, channel, from int) {
	v.Data.Float32s(dst, channel*v.Voxels()+from, v.Slope, v.Intercept)
}

// LabelMap holds one class index per voxel, x fastest; 0 is background.
type LabelMap struct {
	Grid
	Data []uint16
}

// NewLabelMap returns an all-background label map.
func NewLabelMap(g Grid) *LabelMap { return &LabelMap{Grid: g, Data: make([]uint16, g.Voxels())} }

// Max returns the largest label value.
func (l *LabelMap) Max() uint16 {
	var m uint16
	for _, v := range l.Data {
		m = max(m, v)
	}
	return m
}

// LabelMapOf converts a one-channel volume of integral values in [0, 65535].
// The first voxel that is negative, too large, fractional, NaN or infinite is
// named in the error (ErrFormat).
func LabelMapOf(v *Volume) (*LabelMap, error) {
	if v.Channels != 1 {
		return nil, fmt.Errorf("%w: a label map has one channel, this one %d", ErrFormat, v.Channels)
	}
	l := NewLabelMap(v.Grid)
	if src, ok := v.Data.(Samples[uint8]); ok && v.Slope == 1 && v.Intercept == 0 {
		for i, s := range src {
			l.Data[i] = uint16(s)
		}
		return l, nil
	}
	for i := range l.Data {
		f := v.Data.At(i)*v.Slope + v.Intercept
		u := uint16(min(max(f, 0), math.MaxUint16)) // NaN converts to some value and fails the comparison below
		if float64(u) != f {
			x, y, z := i%v.Size[0], i/v.Size[0]%v.Size[1], i/(v.Size[0]*v.Size[1])
			return nil, fmt.Errorf("%w: label value %g at voxel (%d, %d, %d) is not an integer in 0..65535", ErrFormat, f, x, y, z)
		}
		l.Data[i] = u
	}
	return l, nil
}

// Volume converts the label map for writing. t must be an integer or float
// type that holds every label (ErrFormat otherwise).
func (l *LabelMap) Volume(t DataType) (*Volume, error) {
	limit := map[DataType]uint16{Uint8: 255, Int8: 127, Int16: 32767}
	if m, ok := limit[t]; ok && l.Max() > m {
		return nil, fmt.Errorf("%w: label value %d does not fit %s", ErrFormat, l.Max(), t)
	}
	v := NewVolume(l.Grid, 1, t)
	switch d := v.Data.(type) {
	case Samples[uint8]:
		fill(d, l.Data)
	case Samples[int8]:
		fill(d, l.Data)
	case Samples[uint16]:
		copy(d, l.Data)
	case Samples[int16]:
		fill(d, l.Data)
	case Samples[uint32]:
		fill(d, l.Data)
	case Samples[int32]:
		fill(d, l.Data)
	case Samples[uint64]:
		fill(d, l.Data)
	case Samples[int64]:
		fill(d, l.Data)
	case Samples[float32]:
		fill(d, l.Data)
	case Samples[float64]:
		fill(d, l.Data)
	default:
		return nil, fmt.Errorf("%w: cannot store labels as %s", ErrFormat, t)
	}
	return v, nil
}

func fill[T Number](dst Samples[T], src []uint16) {
	for i, v := range src {
		dst[i] = T(v)
	}
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }
