package augment

import "github.com/voxloop/voxloop/internal/fault"

// Flip mirrors image and labels along each axis with its own probability.
// It is exact: voxel i becomes voxel n-1-i.
type Flip struct {
	X float64 `yaml:"x"` // probabilities
	Y float64 `yaml:"y"`
	Z float64 `yaml:"z"`
}

func (f *Flip) validate() error {
	for i, p := range []float64{f.X, f.Y, f.Z} {
		if !(p >= 0 && p <= 1) {
			return fault.New(fault.Invalid, "%s: %g is not within 0..1", axisNames[i], p)
		}
	}
	if f.X+f.Y+f.Z == 0 {
		return fault.New(fault.Invalid, "x, y and z are 0: it has no effect")
	}
	return nil
}

func (f *Flip) apply(r *run) error {
	d := r.draws(-1)
	for axis, p := range []float64{f.X, f.Y, f.Z} {
		if !d.chance(p) {
			continue
		}
		v := r.view(axis)
		err := r.each(v.outer*r.p.Channels, 1, func(lo, hi int) { flip(r.p.Data, v, lo, hi) })
		if err == nil && r.p.Labels != nil {
			err = r.each(v.outer, 1, func(lo, hi int) { flip(r.p.Labels, v, lo, hi) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// axisView is a tensor seen along one axis: outer × n × inner, inner fastest.
type axisView struct{ outer, n, inner int }

// view returns one channel seen along an axis. Channels are further outer
// indices.
func (r *run) view(axis int) axisView {
	s := r.p.Size
	switch axis {
	case 0:
		return axisView{1, s[0], s[1] * s[2]}
	case 1:
		return axisView{s[0], s[1], s[2]}
	}
	return axisView{s[0] * s[1], s[2], 1}
}

// flip reverses the axis of a view for the outer indices [lo, hi).
func flip[T any](data []T, v axisView, lo, hi int) {
	for o := lo; o < hi; o++ {
		part := data[o*v.n*v.inner : (o+1)*v.n*v.inner]
		for i, j := 0, v.n-1; i < j; i, j = i+1, j-1 {
			a, b := part[i*v.inner:(i+1)*v.inner], part[j*v.inner:(j+1)*v.inner]
			for k := range a {
				a[k], b[k] = b[k], a[k]
			}
		}
	}
}
