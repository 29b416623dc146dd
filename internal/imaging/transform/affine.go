package transform

import (
	"context"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Affine samples an image through an affine map of its voxel indices. The map
// acts on indices measured from the middle of the array, (n-1)/2, and leads
// from the new array to the old one:
//
//	old = rotation · shear · translation · scaling · new
//
// so a scale above 1 shows more of the image, smaller, and the translation is
// turned with the rotation. The world affine follows: the image stays where it
// is, the lattice moves.
//
// Source: MONAI Affine.
type Affine struct {
	Rotate    [3]float64      // radians about array axes 0, 1, 2: Rx·Ry·Rz
	Shear     [6]float64      // rows of [1 s0 s1; s2 1 s3; s4 s5 1]
	Translate [3]float64      // voxels
	Scale     [3]float64      // 0 counts as 1
	Matrix    *imaging.Affine // when set, the whole map; the fields above must then be zero
	Size      [3]int          // of the result; 0 or less keeps the axis
	Mode      Mode
	Outside   Outside
}

// Apply implements Step.
func (s Affine) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	size := keepUnset(s.Size, m.Size)
	to, err := s.Map(m.Size)
	if err != nil {
		return nil, nil, err
	}
	l := Layout{Size: size, Affine: m.Affine.Mul(to)}
	out, err := m.Resample(ctx, l, s.Mode, s.Outside)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Invalid, err, "the affine map cannot be applied")
	}
	return out, resampled{old: m.Layout, now: l, outside: s.Outside}, nil
}

// Map returns the map of voxel indices, from the new array to the old one of
// the given size.
func (s Affine) Map(size [3]int) (imaging.Affine, error) {
	mid := middle(size, 1)
	end := middle(keepUnset(s.Size, size), -1)
	if s.Matrix != nil {
		if s.Rotate != [3]float64{} || s.Shear != [6]float64{} || s.Translate != [3]float64{} || s.Scale != [3]float64{} {
			return imaging.Affine{}, fault.New(fault.Invalid, "an affine map is given by its matrix or by its parts, not by both")
		}
		return mid.Mul(*s.Matrix).Mul(end), nil
	}
	shear, scale := imaging.Identity(), imaging.Identity()
	for i, at := range [6][2]int{{0, 1}, {0, 2}, {1, 0}, {1, 2}, {2, 0}, {2, 1}} {
		shear[at[0]][at[1]] = s.Shear[i]
	}
	for d, f := range s.Scale {
		if f != 0 {
			scale[d][d] = f
		}
	}
	return mid.Mul(rotation(s.Rotate)).Mul(shear).Mul(translation(s.Translate)).Mul(scale).Mul(end), nil
}

// rotation returns Rx·Ry·Rz for angles in radians.
func rotation(angle [3]float64) imaging.Affine {
	r := imaging.Identity()
	for d, a := range angle {
		sin, cos := math.Sincos(a)
		u, v := (d+1)%3, (d+2)%3
		one := imaging.Identity()
		one[u][u], one[u][v], one[v][u], one[v][v] = cos, -sin, sin, cos
		r = r.Mul(one)
	}
	return r
}

func translation(t [3]float64) imaging.Affine {
	a := imaging.Identity()
	for d := range 3 {
		a[d][3] = t[d]
	}
	return a
}

// middle returns the translation by sign times the middle of an array.
func middle(size [3]int, sign float64) imaging.Affine {
	var t [3]float64
	for d, n := range size {
		t[d] = sign * float64(n-1) / 2
	}
	return translation(t)
}

// keepUnset replaces sizes of 0 or less by those of have.
func keepUnset(size, have [3]int) [3]int {
	for d, n := range size {
		if n <= 0 {
			size[d] = have[d]
		}
	}
	return size
}

// Rotate turns the lattice about the middle of the array.
//
// Source: MONAI Rotate.
type Rotate struct {
	Angle   [3]float64 // radians about array axes 0, 1, 2: Rx·Ry·Rz
	Grow    bool       // make the array as large as the turned image; otherwise the size stays
	Mode    Mode
	Outside Outside
}

// Apply implements Step.
func (s Rotate) Apply(ctx context.Context, m *Image) (*Image, Undo, error) {
	a := Affine{Rotate: s.Angle, Mode: s.Mode, Outside: s.Outside}
	if s.Grow {
		r := rotation(s.Angle)
		for d := range 3 {
			var extent float64
			for k, n := range m.Size {
				extent += math.Abs(r[d][k]) * float64(n)
			}
			a.Size[d] = int(extent + 0.5)
		}
	}
	return a.Apply(ctx, m)
}
