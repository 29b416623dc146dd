package augment_test

import (
	"math"
	"math/cmplx"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging/augment"
)

// line returns the voxels along an axis through a place, and its transform.
func line(p *augment.Patch, axis int, at [3]int) (v []float64, dft []complex128) {
	n := p.Size[axis]
	v, dft = make([]float64, n), make([]complex128, n)
	for i := range v {
		at[axis] = i
		v[i] = float64(p.Data[(at[0]*p.Size[1]+at[1])*p.Size[2]+at[2]])
	}
	for k := range dft {
		for i, x := range v {
			dft[k] += complex(x, 0) * cmplx.Exp(complex(0, -2*math.Pi*float64(k*i%n)/float64(n)))
		}
	}
	return v, dft
}

// Every fourth line of k-space but the central one is weakened, the others are
// not, and an impulse has ghosts at quarters of the axis.
func TestGhostingInKSpace(t *testing.T) {
	size := [3]int{12, 8, 16}
	for axis, name := range []string{"x", "y", "z"} {
		step := augment.Step{Ghosting: &augment.Ghosting{
			Chance: always(), Ghosts: [2]int{4, 4}, Intensity: only(0.6), Axes: augment.Axes{name},
		}}
		before, after := cube(1, size), cube(1, size)
		apply(t, after, 0, step)
		for _, at := range [][3]int{{3, 2, 5}, {11, 7, 15}, {0, 0, 0}} {
			_, a := line(before, axis, at)
			_, b := line(after, axis, at)
			for k := range a {
				want := a[k]
				if k%4 == 0 && k != 0 {
					want *= 0.4
				}
				if cmplx.Abs(b[k]-want) > 1e-4 {
					t.Fatalf("axis %s, line %d of k-space: %v, want %v (was %v)", name, k, b[k], want, a[k])
				}
			}
		}
		p := flat(size, 0)
		p.Data[0] = 1
		apply(t, p, 0, step)
		v, _ := line(p, axis, [3]int{})
		mean := 0.6 / float64(size[axis])
		for i, x := range v {
			want := mean
			if i%(size[axis]/4) == 0 {
				want -= 0.15
			}
			if i == 0 {
				want++
			}
			near(t, "an impulse's ghost", x, want, 1e-6)
		}
	}
}

// Ghosts between voxels are shared by their neighbours; the mean stays.
func TestGhostsBetweenVoxels(t *testing.T) {
	p := flat([3]int{1, 1, 10}, 0)
	p.Data[0] = 1
	apply(t, p, 0, augment.Step{Ghosting: &augment.Ghosting{
		Chance: always(), Ghosts: [2]int{4, 4}, Intensity: only(0.8), Axes: augment.Axes{"z"},
	}})
	for i, want := range []float64{0.88, 0.08, -0.02, -0.02, 0.08, -0.12, 0.08, -0.02, -0.02, 0.08} {
		near(t, "an impulse's ghost", float64(p.Data[i]), want, 1e-6)
	}
}

// Motion turns phases of k-space only: every line keeps its magnitude (but the
// highest frequency, which becomes real), the mean stays, and lines beyond the
// last jump have the shift's phase.
func TestMotionInKSpace(t *testing.T) {
	size := [3]int{12, 9, 16}
	changed := false
	for axis, name := range []string{"x", "y", "z"} {
		before, after := cube(1, size), cube(1, size)
		apply(t, after, uint64(axis), augment.Step{Motion: &augment.Motion{
			Chance: always(), Shift: only(2), Moves: [2]int{1, 1}, Axes: augment.Axes{name},
		}})
		_, a := line(before, axis, [3]int{3, 2, 5})
		_, b := line(after, axis, [3]int{3, 2, 5})
		n := size[axis]
		moved := false
		for k := 0; 2*k < n; k++ {
			near(t, "magnitude", cmplx.Abs(b[k]), cmplx.Abs(a[k]), 1e-4)
			turn := cmplx.Exp(complex(0, -2*math.Pi*2*float64(k)/float64(n)))
			still := cmplx.Abs(b[k]-a[k]) < 1e-4
			jumped := min(cmplx.Abs(b[k]-a[k]*turn), cmplx.Abs(b[k]-a[k]*cmplx.Conj(turn))) < 1e-4
			if !still && !jumped || moved && still && !jumped {
				t.Errorf("axis %s, line %d: %v from %v", name, k, b[k], a[k])
			}
			moved = moved || !still
		}
		if cmplx.Abs(b[0]-a[0]) > 1e-4 {
			t.Errorf("axis %s: the mean moved", name)
		}
		changed = changed || moved
	}
	if !changed {
		t.Error("nothing moved")
	}
}

// A spike is one wave: its size is the amplitude in deviations, its frequency
// the one asked for.
func TestSpikeIsOneWave(t *testing.T) {
	before, p := cube(1, [3]int{32, 32, 32}), cube(1, [3]int{32, 32, 32})
	apply(t, p, 0, augment.Step{Spike: &augment.Spike{Chance: always(), Amplitude: only(0.5), Frequency: only(0.2)}})
	_, sd := moments(before.Data)
	wave := augment.NewPatch(1, p.Size, false)
	for i := range wave.Data {
		wave.Data[i] = p.Data[i] - before.Data[i]
	}
	near(t, "amplitude", float64(slices.Max(wave.Data)), 0.5*sd, 0.01*sd)
	_, rms := moments(wave.Data)
	near(t, "root mean square", rms, 0.5*sd/math.Sqrt2, 0.02*sd)
	// The second difference of a wave along an axis is -(2 sin(k/2))² times it.
	var frequency float64
	for _, stride := range []int{32 * 32, 32, 1} {
		var num, den float64
		each(wave, func(i int, at [3]int) {
			if k := i / stride % 32; k > 0 && k < 31 {
				w := float64(wave.Data[i])
				num += w * (2*w - float64(wave.Data[i-stride]) - float64(wave.Data[i+stride]))
				den += w * w
			}
			_ = at
		})
		k := 2 * math.Asin(math.Sqrt(num/den)/2)
		frequency += k * k
	}
	near(t, "frequency", math.Sqrt(frequency)/(2*math.Pi), 0.2, 1e-3)
}
