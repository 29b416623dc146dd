package augment

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Spatial moves image and labels by one map: an affine map and an elastic
// deformation, resampled once. Images are interpolated linearly, labels take
// the nearest voxel (halves upwards).
//
// The content is scaled, sheared, turned, then shifted about the patch's
// centre; the voxel at p of the result shows the source at
//
//	c + A⁻¹·(p - c - shift) + u(p),  A = R·H·S
//
// R, H and S act in millimetres, so that anisotropic voxels do not shear what
// is turned. The five parts are drawn apart.
type Spatial struct {
	Rotate    *Rotate    `yaml:"rotate,omitempty"`
	Scale     *Scale     `yaml:"scale,omitempty"`
	Shear     *Shear     `yaml:"shear,omitempty"`
	Translate *Translate `yaml:"translate,omitempty"`
	Elastic   *Elastic   `yaml:"elastic,omitempty"`
}

// Rotate turns by angles in degrees: first about z (+x towards +y), then y (+z
// towards +x), then x (+y towards +z).
type Rotate struct {
	Probability float64 `yaml:"probability"`
	X           Range   `yaml:"x"`
	Y           Range   `yaml:"y"`
	Z           Range   `yaml:"z"`
}

// Scale enlarges by a factor, below 1 shrinks. As in nnU-Net, factors below
// and above 1 are drawn equally often where the range holds both.
type Scale struct {
	Probability float64 `yaml:"probability"`
	Factor      Range   `yaml:"factor"`
	PerAxis     bool    `yaml:"per_axis"` // a factor for every axis, else one for all
}

// Shear adds, with three factors, y and z to x, and z to y.
type Shear struct {
	Probability float64 `yaml:"probability"`
	Factor      Range   `yaml:"factor"`
}

// Translate shifts by voxels, drawn for every axis.
type Translate struct {
	Probability float64 `yaml:"probability"`
	Voxels      Range   `yaml:"voxels"`
}

func (s *Spatial) validate() error {
	if *s == (Spatial{}) {
		return fault.New(fault.Invalid, "it has none of rotate, scale, shear, translate, elastic")
	}
	if t := s.Rotate; t != nil {
		if err := firstError(checkProbability(t.Probability), t.X.check("rotate.x", -180, 180),
			t.Y.check("rotate.y", -180, 180), t.Z.check("rotate.z", -180, 180)); err != nil {
			return err
		}
		if t.X == (Range{}) && t.Y == (Range{}) && t.Z == (Range{}) {
			return fault.New(fault.Invalid, "rotate: x, y and z are 0: it has no effect")
		}
	}
	if t := s.Scale; t != nil {
		if err := firstError(checkProbability(t.Probability), t.Factor.check("scale.factor", 0.1, 10), t.Factor.checkEffect("scale.factor", 1)); err != nil {
			return err
		}
	}
	if t := s.Shear; t != nil {
		if err := firstError(checkProbability(t.Probability), t.Factor.check("shear.factor", -1, 1), t.Factor.checkEffect("shear.factor", 0)); err != nil {
			return err
		}
	}
	if t := s.Translate; t != nil {
		if err := firstError(checkProbability(t.Probability), t.Voxels.check("translate.voxels", -maxSize, maxSize),
			t.Voxels.checkEffect("translate.voxels", 0)); err != nil {
			return err
		}
	}
	if s.Elastic != nil {
		return s.Elastic.validate()
	}
	return nil
}

// mapping is the drawn map from a voxel of the patch to one of the source:
// m·p, plus the deformation where there is one.
type mapping struct {
	m       imaging.Affine
	elastic *deformation
}

// draw returns the map of a patch onto itself; ok is false when nothing was
// drawn. Every part takes its numbers whether it is applied or not, so that
// one part's probability does not change the others.
func (s *Spatial) draw(r *run) (m mapping, ok bool) {
	d := r.draws(-1)
	content, shift := imaging.Identity(), [3]float64{}
	if t := s.Scale; t != nil {
		on := d.chance(t.Probability)
		f := [3]float64{d.around(t.Factor), d.around(t.Factor), d.around(t.Factor)}
		if !t.PerAxis {
			f[1], f[2] = f[0], f[0]
		}
		if on {
			content, ok = imaging.Affine{{f[0]}, {0, f[1]}, {0, 0, f[2]}, {0, 0, 0, 1}}, true
		}
	}
	if t := s.Shear; t != nil {
		on := d.chance(t.Probability)
		h := imaging.Affine{{1, d.in(t.Factor), d.in(t.Factor)}, {0, 1, d.in(t.Factor)}, {0, 0, 1}, {0, 0, 0, 1}}
		if on {
			content, ok = h.Mul(content), true
		}
	}
	if t := s.Rotate; t != nil {
		on := d.chance(t.Probability)
		turn := rotation(0, d.in(t.X)).Mul(rotation(1, d.in(t.Y))).Mul(rotation(2, d.in(t.Z)))
		if on {
			content, ok = turn.Mul(content), true
		}
	}
	if t := s.Translate; t != nil {
		on := d.chance(t.Probability)
		v := [3]float64{d.in(t.Voxels), d.in(t.Voxels), d.in(t.Voxels)}
		if on {
			shift, ok = v, true
		}
	}
	m.m = aboutCentre(content, shift, r.p)
	if t := s.Elastic; t != nil && d.chance(t.Probability) {
		m.elastic, ok = t.draw(r, d.in(t.Magnitude)), true
	}
	return m, ok
}

// around draws a factor: below and above 1 equally often where r holds both.
func (d *draws) around(r Range) float64 {
	low := d.chance(0.5)
	if r[0] < 1 && r[1] > 1 {
		if low {
			return d.uniform(r[0], 1)
		}
		return d.uniform(1, r[1])
	}
	return d.in(r)
}

// rotation turns about an axis by degrees, the next axis towards the one after.
func rotation(axis int, degrees float64) imaging.Affine {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	m := imaging.Identity()
	a, b := (axis+1)%3, (axis+2)%3
	m[a][a], m[a][b] = cos, -sin
	m[b][a], m[b][b] = sin, cos
	return m
}

// aboutCentre returns voxel of the result → voxel of the source for a content
// map in mm about the centre of p, and a shift in voxels.
func aboutCentre(content imaging.Affine, shift [3]float64, p *Patch) imaging.Affine {
	inv, _ := content.Inverse() // the factors' ranges keep it regular
	sp := p.spacing()
	for i := range 3 {
		for j := range 3 {
			inv[i][j] *= sp[j] / sp[i]
		}
	}
	for i := range 3 {
		c := float64(p.Size[i]-1) / 2
		inv[i][3] = c
		for j := range 3 {
			inv[i][3] -= inv[i][j] * (float64(p.Size[j]-1)/2 + shift[j])
		}
	}
	return inv
}

// apply resamples the patch from a copy of itself.
func (s *Spatial) apply(r *run) error {
	m, ok := s.draw(r)
	if !ok {
		return nil
	}
	image, err := r.copyOf(r.p.Data)
	if err != nil {
		return err
	}
	src := *r.p
	src.Data = image
	if r.p.Labels != nil {
		src.Labels = r.spareLabels(len(r.p.Labels))
		copy(src.Labels, r.p.Labels)
	}
	return r.resample(&src, m)
}

// sample resamples the patch from src; done is false when nothing was drawn.
func (s *Spatial) sample(r *run, src *Patch, origin [3]int) (done bool, err error) {
	m, ok := s.draw(r)
	if !ok {
		return false, nil
	}
	for i, o := range origin {
		m.m[i][3] += float64(o)
	}
	return true, r.resample(src, m)
}
