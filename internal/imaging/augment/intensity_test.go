package augment_test

import (
	"math"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging/augment"
)

// moments returns mean and population standard deviation.
func moments(v []float32) (mean, sd float64) {
	for _, x := range v {
		mean += float64(x) / float64(len(v))
	}
	for _, x := range v {
		sd += (float64(x) - mean) * (float64(x) - mean) / float64(len(v))
	}
	return mean, math.Sqrt(sd)
}

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol) {
		t.Errorf("%s is %.6g, want %.6g ± %.2g", what, got, want, tol)
	}
}

func only(v float64) augment.Range { return augment.Range{v, v} }

// flat is a patch of one value.
func flat(size [3]int, value float32) *augment.Patch {
	p := augment.NewPatch(1, size, false)
	for i := range p.Data {
		p.Data[i] = value
	}
	return p
}

func TestNoiseStatistics(t *testing.T) {
	p := flat([3]int{50, 50, 50}, 3)
	apply(t, p, 0, augment.Step{Noise: &augment.Noise{Chance: always(), SD: only(0.2)}})
	mean, sd := moments(p.Data)
	near(t, "mean", mean, 3, 5*0.2/math.Sqrt(125000))
	near(t, "deviation", sd, 0.2, 5*0.2/math.Sqrt(250000))
}

// Rician noise of a signal far above it is normal; at the minimum it is
// Rayleigh: mean sd·√(π/2), deviation sd·√(2-π/2).
func TestRicianStatistics(t *testing.T) {
	p := flat([3]int{60, 50, 50}, 0)
	half := len(p.Data) / 2
	for i := range half {
		p.Data[i] = 40
	}
	apply(t, p, 0, augment.Step{Rician: &augment.Rician{Chance: always(), SD: only(0.5)}})
	n := math.Sqrt(float64(half))
	mean, sd := moments(p.Data[:half])
	near(t, "signal's mean", mean, 40+0.25/80, 5*0.5/n)
	near(t, "signal's deviation", sd, 0.5, 5*0.5/n)
	mean, sd = moments(p.Data[half:])
	near(t, "background's mean", mean, 0.5*math.Sqrt(math.Pi/2), 5*0.35/n)
	near(t, "background's deviation", sd, 0.5*math.Sqrt(2-math.Pi/2), 5*0.35/n)
	if lo := slices.Min(p.Data[half:]); lo < 0 {
		t.Errorf("a magnitude of %g", lo)
	}
}

// An impulse becomes the Gaussian, with a sigma along each axis in voxels or
// by the spacing; the sum stays; a constant stays up to the border.
func TestBlurOfAnImpulse(t *testing.T) {
	tests := []struct {
		mm      bool
		spacing [3]float64
		sigma   [3]float64
	}{
		{false, [3]float64{1, 2, 4}, [3]float64{1.2, 1.2, 1.2}},
		{true, [3]float64{1, 2, 0.8}, [3]float64{1.2, 0.6, 1.5}},
	}
	for _, tt := range tests {
		size, c := [3]int{19, 17, 21}, [3]int{9, 8, 10}
		p := flat(size, 0)
		p.Spacing = tt.spacing
		p.Data[(c[0]*size[1]+c[1])*size[2]+c[2]] = 1
		apply(t, p, 0, augment.Step{Blur: &augment.Blur{Chance: always(), Sigma: only(1.2), Millimetres: tt.mm}})
		var sum float64
		each(p, func(i int, at [3]int) {
			want := 1.0
			for k, s := range tt.sigma {
				norm := 0.0
				for j := -8.0; j <= 8; j++ {
					norm += math.Exp(-j * j / (2 * s * s))
				}
				d := float64(at[k] - c[k])
				want *= math.Exp(-d*d/(2*s*s)) / norm
			}
			sum += float64(p.Data[i])
			if math.Abs(float64(p.Data[i])-want) > 1e-4 {
				t.Fatalf("mm %t: voxel %v is %g, want %g", tt.mm, at, p.Data[i], want)
			}
		})
		near(t, "sum", sum, 1, 1e-5)
	}
	p := flat([3]int{3, 5, 4}, 2.5)
	apply(t, p, 0, augment.Step{Blur: &augment.Blur{Chance: always(), Sigma: only(3)}})
	for _, v := range p.Data {
		near(t, "a constant", float64(v), 2.5, 1e-5)
	}
}

// Gamma follows its formula, keeps order and extremes, and with retain_stats
// mean and deviation.
func TestGamma(t *testing.T) {
	for _, invert := range []bool{false, true} {
		for _, gamma := range []float64{0.7, 1.5} {
			p := cube(1, [3]int{20, 20, 20})
			before := slices.Clone(p.Data)
			lo, hi := float64(slices.Min(before)), float64(slices.Max(before))
			apply(t, p, 0, augment.Step{Gamma: &augment.Gamma{Chance: always(), Gamma: only(gamma), Invert: invert}})
			for i, x := range before {
				q := (float64(x) - lo) / (hi - lo)
				want := lo + (hi-lo)*math.Pow(q, gamma)
				if invert {
					want = hi - (hi-lo)*math.Pow(1-q, gamma)
				}
				if math.Abs(float64(p.Data[i])-want) > 2e-6*(hi-lo) {
					t.Fatalf("gamma %g, invert %t: %g becomes %g, want %g", gamma, invert, x, p.Data[i], want)
				}
			}
			monotone(t, before, p.Data, 1)

			kept := cube(1, [3]int{20, 20, 20})
			apply(t, kept, 0, augment.Step{Gamma: &augment.Gamma{Chance: always(), Gamma: only(gamma), Invert: invert, RetainStats: true}})
			m0, s0 := moments(before)
			m1, s1 := moments(kept.Data)
			near(t, "mean", m1, m0, 1e-5)
			near(t, "deviation", s1, s0, 1e-5)
			if slices.Equal(kept.Data, before) {
				t.Error("retain_stats left the patch alone")
			}
		}
	}
	p := flat([3]int{3, 3, 3}, 5)
	apply(t, p, 0, augment.Step{Gamma: &augment.Gamma{Chance: always(), Gamma: only(2), RetainStats: true}})
	if p.Data[0] != 5 {
		t.Errorf("a constant 5 becomes %g", p.Data[0])
	}
}

// monotone checks that after ascends (sign 1) or descends (-1) with before.
func monotone(t *testing.T, before, after []float32, sign float32) {
	t.Helper()
	order := make([]int, len(before))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return int(math.Copysign(1, float64(before[a]-before[b]))) })
	slack := 1e-6 * (slices.Max(after) - slices.Min(after))
	for i := 1; i < len(order); i++ {
		a, b := order[i-1], order[i]
		if sign*(after[b]-after[a]) < -slack {
			t.Fatalf("%g and %g become %g and %g", before[a], before[b], after[a], after[b])
		}
	}
}

func TestBrightnessAndContrast(t *testing.T) {
	before := cube(1, [3]int{12, 12, 12})
	mean, sd := moments(before.Data)
	p := cube(1, before.Size)
	apply(t, p, 0, augment.Step{Brightness: &augment.Brightness{Chance: always(), Multiply: only(1.5), Add: only(-2)}})
	for i, x := range before.Data {
		near(t, "brightness", float64(p.Data[i]), 1.5*float64(x)-2, 1e-5)
	}
	p = cube(1, before.Size)
	apply(t, p, 0, augment.Step{Brightness: &augment.Brightness{Chance: always(), Add: only(3)}})
	near(t, "added", float64(p.Data[5]), float64(before.Data[5])+3, 1e-5)

	p = cube(1, before.Size)
	apply(t, p, 0, augment.Step{Contrast: &augment.Contrast{Chance: always(), Factor: only(1.25)}})
	m, s := moments(p.Data)
	near(t, "mean under contrast", m, mean, 1e-5)
	near(t, "deviation under contrast", s, 1.25*sd, 1e-5)
	p = cube(1, before.Size)
	apply(t, p, 0, augment.Step{Contrast: &augment.Contrast{Chance: always(), Factor: only(1.25), KeepRange: true}})
	if slices.Min(p.Data) != slices.Min(before.Data) || slices.Max(p.Data) != slices.Max(before.Data) {
		t.Errorf("keep_range: %g..%g, want %g..%g", slices.Min(p.Data), slices.Max(p.Data), slices.Min(before.Data), slices.Max(before.Data))
	}
}

// A ramp survives a coarser grid between the outermost coarse voxels; a
// checkerboard, all energy at the finest scale, does not survive.
func TestLowResolution(t *testing.T) {
	const n, coarse = 24, 8 // zoom 1/3: coarse voxel j shows voxel 3j+1
	for _, average := range []bool{false, true} {
		p := coordinates([3]int{n, n, n}, 0)
		apply(t, p, 0, augment.Step{LowResolution: &augment.LowResolution{Chance: always(), Zoom: only(1.0 / 3), Average: average}})
		each(p, func(i int, at [3]int) {
			for k, s := range source(p, i) {
				want := min(max(float64(at[k]), 1), n-2)
				if math.Abs(s-want) > 1e-5 {
					t.Fatalf("average %t: voxel %v shows %v, want %g on axis %d", average, at, source(p, i), want, k)
				}
			}
		})
		// An impulse between the middles: lost, or spread over its coarse voxel.
		q := flat([3]int{1, 1, n}, 0)
		q.Data[9] = 1
		apply(t, q, 0, augment.Step{LowResolution: &augment.LowResolution{Chance: always(), Zoom: only(1.0 / 3), Average: average}})
		want := 0.0
		if average {
			want = 1.0 / 3
		}
		near(t, "the coarse voxel's middle", float64(q.Data[10]), want, 1e-6)
	}
	c := augment.NewPatch(1, [3]int{n, n, n}, false)
	each(c, func(i int, at [3]int) { c.Data[i] = float32(1 - 2*((at[0]+at[1]+at[2])%2)) })
	differences := func() float64 {
		var e float64
		for i := 1; i < len(c.Data); i++ {
			if i%n != 0 {
				d := float64(c.Data[i] - c.Data[i-1])
				e += d * d
			}
		}
		return e
	}
	before := differences()
	apply(t, c, 0, augment.Step{LowResolution: &augment.LowResolution{Chance: always(), Zoom: only(1.0 / 3)}})
	if after := differences(); after > before/8 {
		t.Errorf("the finest scale keeps %.3f of its energy", after/before)
	}
}

// The field is smooth, within exp(±strength), and reaches one end.
func TestBiasFieldRange(t *testing.T) {
	for step := range uint64(5) {
		p := flat([3]int{17, 15, 19}, 1)
		p.Data[0] = 0 // the minimum, which stays
		apply(t, p, step, augment.Step{BiasField: &augment.BiasField{Chance: always(), Strength: only(0.4), Order: 3}})
		if p.Data[0] != 0 {
			t.Errorf("the minimum becomes %g", p.Data[0])
		}
		var largest, slope float64
		for i, v := range p.Data[1:] {
			f := math.Log(float64(v))
			largest = max(largest, math.Abs(f))
			if (i+1)%19 > 1 {
				slope = max(slope, math.Abs(f-math.Log(float64(p.Data[i]))))
			}
		}
		if largest > 0.4+1e-6 || largest < 0.3 {
			t.Errorf("|log field| reaches %.4f, want 0.4", largest)
		}
		if slope > 0.2 {
			t.Errorf("neighbours differ by %.3f", slope)
		}
	}
}

// chosen reports which channels differ.
func chosen(a, b *augment.Patch) (n int) {
	for c := range a.Channels {
		if !slices.Equal(a.Channel(c), b.Channel(c)) {
			n++
		}
	}
	return n
}

// Probabilities are kept, of patches and of channels.
func TestProbabilities(t *testing.T) {
	const n = 400
	src := cube(4, [3]int{3, 3, 3})
	a := augmenter(t, 1, augment.Step{Noise: &augment.Noise{Chance: augment.Chance{Probability: 0.6, PerChannel: 0.5}, SD: only(1)}})
	patches, channels := 0, 0
	for step := range uint64(n) {
		p := augment.NewPatch(4, src.Size, false)
		if err := a.Sample(t.Context(), augment.Key{Step: step}, src, [3]int{}, p); err != nil {
			t.Fatal(err)
		}
		if k := chosen(p, src); k > 0 {
			patches++
			channels += k
		}
	}
	near(t, "share of patches", float64(patches)/n, 0.6*(1-1.0/16), 5*0.5/math.Sqrt(n))
	near(t, "share of channels", float64(channels)/(4*n), 0.3, 5*0.5/math.Sqrt(4*n))
}

func TestDropoutKeepsOne(t *testing.T) {
	const n = 300
	dropped := [3]int{}
	for step := range uint64(n) {
		p := cube(3, [3]int{2, 2, 2})
		before := cube(3, p.Size)
		apply(t, p, step, augment.Step{Dropout: &augment.Dropout{Probability: 0.5, Fill: -3}})
		k := chosen(p, before)
		if k == 3 {
			t.Fatal("all channels were dropped")
		}
		for c := range 3 {
			if p.Channel(c)[0] == -3 && p.Channel(c)[7] == -3 {
				dropped[c]++
			}
		}
	}
	for c, d := range dropped { // 1/2, less a third of the 1/8 where all would be
		near(t, "share dropped", float64(d)/n, 0.5-1.0/24, 5*0.5/math.Sqrt(n))
		_ = c
	}
	p := cube(1, [3]int{2, 2, 2})
	apply(t, p, 0, augment.Step{Dropout: &augment.Dropout{Probability: 1}})
	if !slices.Equal(p.Data, cube(1, p.Size).Data) {
		t.Error("the only channel was dropped")
	}
}

// Style curves are monotone, keep the extremes, and fall when inverted.
func TestStyleIsMonotone(t *testing.T) {
	for step := range uint64(6) {
		for _, invert := range []float64{0, 1} {
			p := cube(1, [3]int{14, 14, 14})
			before := slices.Clone(p.Data)
			apply(t, p, step, augment.Step{Style: &augment.Style{Chance: always(), Strength: only(1), Knots: 6, Invert: invert}})
			monotone(t, before, p.Data, float32(1-2*invert))
			near(t, "minimum", float64(slices.Min(p.Data)), float64(slices.Min(before)), 1e-5)
			near(t, "maximum", float64(slices.Max(p.Data)), float64(slices.Max(before)), 1e-5)
			var change float64
			for i := range before {
				change = max(change, math.Abs(float64(p.Data[i]-before[i])))
			}
			if change < 0.05 {
				t.Errorf("step %d: nothing changed by more than %g", step, change)
			}
		}
	}
}
