package augment

import (
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
)

// Artefacts that arise where MR scanners measure: in k-space, line by line
// along the phase encoding axis. What a line is multiplied by is a circular
// convolution of the image along that axis, so no Fourier transform of the
// image is needed.

// Ghosting weakens every ghosts-th line of k-space along one axis by the factor
// 1 - intensity, but for the central one, which holds the mean: copies of the
// image appear at multiples of n/ghosts voxels.
//
//	x_i - intensity·(1/ghosts·Σ_m x_(i - m·n/ghosts) - mean of x along the axis)
//
// Copies that fall between voxels are interpolated linearly; where ghosts
// divides n the formula is exact.
type Ghosting struct {
	Chance    `yaml:",inline"`
	Ghosts    [2]int `yaml:"ghosts"`    // copies over the patch, an integer from this range
	Intensity Range  `yaml:"intensity"` // 0 to 1
	Axes      Axes   `yaml:"axes"`      // one of them is drawn
}

func (t *Ghosting) validate() error {
	if t.Ghosts[0] < 2 || t.Ghosts[1] < t.Ghosts[0] || t.Ghosts[1] > 1000 {
		return fault.New(fault.Invalid, "ghosts: %v is not an ascending range within 2..1000", t.Ghosts)
	}
	return firstError(t.check(), t.Intensity.checkSize("intensity", 1), t.Axes.check())
}

func (t *Ghosting) apply(r *run) error {
	return r.channels(t.Chance, func(_ int, v []float32, d *draws) error {
		axis, ghosts, intensity := t.Axes.draw(d), d.between(t.Ghosts), d.in(t.Intensity)
		return r.convolve(v, axis, ghostKernel(r.p.Size[axis], ghosts, intensity), intensity)
	})
}

// ghostKernel returns the circular kernel of ghosting along n voxels, but for
// the mean that is given back.
func ghostKernel(n, ghosts int, intensity float64) []float64 {
	h := make([]float64, n)
	h[0] = 1
	for m := range ghosts {
		at := float64(m) * float64(n) / float64(ghosts)
		i := int(at)
		w := at - float64(i)
		h[i%n] -= intensity / float64(ghosts) * (1 - w)
		h[(i+1)%n] -= intensity / float64(ghosts) * w
	}
	return h
}

// Motion moves the subject along one axis while k-space is filled from its
// centre outwards: at each of a number of moments the image jumps by a shift
// of either sign, measured from its first place. Lines taken before the first
// jump show it where it was. A line at frequency k taken at shift s has the
// factor exp(-2πi·k·s/n).
type Motion struct {
	Chance `yaml:",inline"`
	Shift  Range  `yaml:"shift"` // voxels
	Moves  [2]int `yaml:"moves"` // number of jumps, an integer from this range
	Axes   Axes   `yaml:"axes"`  // one of them is drawn
}

func (t *Motion) validate() error {
	if t.Moves[0] < 1 || t.Moves[1] < t.Moves[0] || t.Moves[1] > 1000 {
		return fault.New(fault.Invalid, "moves: %v is not an ascending range within 1..1000", t.Moves)
	}
	return firstError(t.check(), t.Shift.checkSize("shift", maxSize), t.Axes.check())
}

func (t *Motion) apply(r *run) error {
	return r.channels(t.Chance, func(_ int, v []float32, d *draws) error {
		axis, moves := t.Axes.draw(d), d.between(t.Moves)
		when, shift := make([]float64, moves), make([]float64, moves)
		for i := range when {
			when[i] = d.uniform(0, 1) // of the way from the centre to the edge
			shift[i] = d.in(t.Shift)
			if d.chance(0.5) {
				shift[i] = -shift[i]
			}
		}
		slices.Sort(when)
		return r.convolve(v, axis, motionKernel(r.p.Size[axis], when, shift), 0)
	})
}

// motionKernel returns the circular kernel of jumps: the inverse discrete
// Fourier transform of the lines' factors, which come in conjugate pairs.
func motionKernel(n int, when, shift []float64) []float64 {
	h := make([]float64, n)
	for k := 0; 2*k <= n; k++ {
		var s float64
		for i, w := range when {
			if float64(k) > w*float64(n)/2 {
				s = shift[i]
			}
		}
		pair := 2.0
		if k == 0 || 2*k == n {
			pair = 1
		}
		f := 2 * math.Pi * float64(k) / float64(n)
		for i := range h {
			if 2*k == n { // the highest frequency is its own partner: the real part
				h[i] += math.Cos(math.Pi*s) * math.Cos(math.Pi*float64(i))
				continue
			}
			h[i] += pair * math.Cos(f*(float64(i)-s))
		}
	}
	for i := range h {
		h[i] /= float64(n)
	}
	return h
}

// convolve convolves v circularly with h along an axis, and adds mean times the
// mean of each line.
func (r *run) convolve(v []float32, axis int, h []float64, mean float64) error {
	var taps []tap
	for i, w := range h {
		if w := float32(w); w != 0 {
			taps = append(taps, tap{i, w})
		}
	}
	src, err := r.copyOf(v)
	if err != nil {
		return err
	}
	if err := r.filterAxis(v, src, axis, taps, true); err != nil || mean == 0 {
		return err
	}
	return r.addLineMeans(v, src, axis, float32(mean))
}

// Spike adds a wave over the whole image, which a single disturbed point of
// k-space becomes: amplitude·cos(2π·f·p + phase) at voxel p. Its direction and
// phase are drawn from all, the frequency from the range.
type Spike struct {
	Chance    `yaml:",inline"`
	Amplitude Range `yaml:"amplitude"` // in standard deviations of the channel
	Frequency Range `yaml:"frequency"` // cycles per voxel, at most 0.5
}

func (t *Spike) validate() error {
	return firstError(t.check(), t.Amplitude.checkSize("amplitude", 1e6), t.Frequency.checkSize("frequency", 0.5))
}

func (t *Spike) apply(r *run) error {
	return r.channels(t.Chance, func(_ int, v []float32, d *draws) error {
		amplitude, f, phase := d.in(t.Amplitude), d.in(t.Frequency), d.uniform(0, 2*math.Pi)
		direction := [3]float64{d.normal(), d.normal(), d.normal()}
		length := math.Hypot(math.Hypot(direction[0], direction[1]), direction[2])
		stat, err := r.statistics(v)
		if err != nil || length == 0 {
			return err
		}
		for i := range direction {
			direction[i] *= 2 * math.Pi * f / length
		}
		return r.wave(v, amplitude*stat.sd(), direction, phase)
	})
}

// wave adds amplitude·cos(k·p + phase), by the addition theorem along rows.
func (r *run) wave(v []float32, amplitude float64, k [3]float64, phase float64) error {
	size := r.p.Size
	sin, cos := make([]float64, size[2]), make([]float64, size[2])
	for z := range sin {
		sin[z], cos[z] = math.Sincos(k[2] * float64(z))
	}
	return r.each(size[0]*size[1], 1, func(from, to int) {
		for o := from; o < to; o++ {
			s, c := math.Sincos(k[0]*float64(o/size[1]) + k[1]*float64(o%size[1]) + phase)
			s, c = amplitude*s, amplitude*c
			row := v[o*size[2]:][:size[2]]
			for z := range row {
				row[z] += float32(c*cos[z] - s*sin[z])
			}
		}
	})
}
