package augment_test

import (
	"testing"

	"github.com/voxloop/voxloop/internal/imaging/augment"
)

// cube returns a patch of a smooth structure with texture, labelled in halves.
func cube(channels int, size [3]int) *augment.Patch {
	p := augment.NewPatch(channels, size, true)
	for c := range channels {
		v := p.Channel(c)
		i := 0
		for x := range size[0] {
			for y := range size[1] {
				for z := range size[2] {
					v[i] = float32((x*7+y*3+z*5+c*11)%17)/8 + float32(x)/float32(size[0]) - float32(y*z)/float32(size[1]*size[2])
					p.Labels[i] = uint16(2 * x / size[0])
					i++
				}
			}
		}
	}
	return p
}

func always() augment.Chance { return augment.Chance{Probability: 1} }

// Affine, noise and gamma of a 96³ patch, each applied every time: what the
// comparison with MONAI runs (RandAffine, RandGaussianNoise, RandAdjustContrast).
func BenchmarkAugment96(b *testing.B) {
	turn := augment.Range{-30, 30}
	affine := augment.Step{Spatial: &augment.Spatial{
		Rotate: &augment.Rotate{Probability: 1, X: turn, Y: turn, Z: turn},
		Scale:  &augment.Scale{Probability: 1, Factor: augment.Range{0.7, 1.4}, PerAxis: true},
	}}
	elastic := augment.Step{Spatial: &augment.Spatial{
		Elastic: &augment.Elastic{Probability: 1, Spacing: 24, Magnitude: augment.Range{0, 8}},
	}}
	noise := augment.Step{Noise: &augment.Noise{Chance: always(), SD: augment.Range{0, 0.1}}}
	gamma := augment.Step{Gamma: &augment.Gamma{Chance: always(), Gamma: augment.Range{0.7, 1.5}, RetainStats: true}}
	tests := []struct {
		name  string
		steps []augment.Step
	}{
		{"affine+noise+gamma", []augment.Step{affine, noise, gamma}},
		{"affine", []augment.Step{affine}},
		{"elastic", []augment.Step{elastic}},
		{"noise", []augment.Step{noise}},
		{"gamma", []augment.Step{gamma}},
		{"blur", []augment.Step{{Blur: &augment.Blur{Chance: always(), Sigma: augment.Range{0.5, 1}}}}},
		{"low_resolution", []augment.Step{{LowResolution: &augment.LowResolution{Chance: always(), Zoom: augment.Range{0.5, 1}}}}},
		{"bias_field", []augment.Step{{BiasField: &augment.BiasField{Chance: always(), Strength: augment.Range{0.1, 0.5}, Order: 3}}}},
		{"ghosting", []augment.Step{{Ghosting: &augment.Ghosting{Chance: always(), Ghosts: [2]int{3, 5}, Intensity: augment.Range{0.1, 0.5}}}}},
		{"motion", []augment.Step{{Motion: &augment.Motion{Chance: always(), Shift: augment.Range{1, 4}, Moves: [2]int{2, 4}}}}},
		{"default", augment.Default().Transforms},
		{"gentle", augment.Gentle().Transforms},
	}
	src := cube(1, [3]int{96, 96, 96})
	src.Labels = nil
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			a, err := augment.New(augment.Recipe{Transforms: tt.steps}, augment.Options{})
			if err != nil {
				b.Fatal(err)
			}
			dst := augment.NewPatch(1, src.Size, false)
			b.SetBytes(int64(4 * src.Voxels()))
			b.ReportAllocs()
			var step uint64
			for b.Loop() {
				if err := a.Sample(b.Context(), augment.Key{Step: step}, src, [3]int{}, dst); err != nil {
					b.Fatal(err)
				}
				step++
			}
		})
	}
}
