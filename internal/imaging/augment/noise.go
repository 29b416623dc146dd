package augment

import "math"

// maxIntensity bounds parameters in units of intensity: their sums with voxels
// stay finite float32 numbers.
const maxIntensity = 1e30

// Noise adds independent normal numbers: x + sd·n.
type Noise struct {
	Chance `yaml:",inline"`
	SD     Range `yaml:"sd"` // intensities
}

func (t *Noise) validate() error { return firstError(t.check(), t.SD.checkSize("sd", maxIntensity)) }

func (t *Noise) apply(r *run) error {
	return r.channels(t.Chance, func(c int, v []float32, d *draws) error {
		sd := float32(d.in(t.SD))
		s := r.stream(c, forVoxels)
		return r.voxels(v, func(b []float32, from, _ int) { s.addNormals(b, from, sd) })
	})
}

// Rician gives magnitude images their noise: real and imaginary part each get
// normal noise, and the magnitude is what remains (Gudbjartsson and Patz,
// Magnetic Resonance in Medicine 1995). Intensities count from the channel's
// minimum m, so that normalised images work too:
//
//	m + √((x - m + sd·n₁)² + (sd·n₂)²)
type Rician struct {
	Chance `yaml:",inline"`
	SD     Range `yaml:"sd"` // intensities, of each part
}

func (t *Rician) validate() error { return firstError(t.check(), t.SD.checkSize("sd", maxIntensity)) }

func (t *Rician) apply(r *run) error {
	return r.channels(t.Chance, func(c int, v []float32, d *draws) error {
		sd := float32(d.in(t.SD))
		stat, err := r.statistics(v)
		if err != nil {
			return err
		}
		re, im, lo := r.stream(c, forVoxels), r.stream(c, forMoreVoxels), stat.lo
		return r.voxels(v, func(b []float32, from, _ int) {
			buf := r.a.rows.Get().(*rowBuffer)
			defer r.a.rows.Put(buf)
			buf.filter = grow(buf.filter, len(b))
			second := buf.filter
			clear(second)
			im.addNormals(second, from, sd)
			re.addNormals(b, from, sd)
			for i, x := range b {
				b[i] = lo + float32(math.Hypot(float64(x-lo), float64(second[i])))
			}
		})
	})
}
