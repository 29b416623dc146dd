package harmonize_test

import (
	"testing"

	"github.com/voxloop/voxloop/internal/imaging/harmonize"
)

// BenchmarkApply changes a head of 160³ voxels.
func BenchmarkApply(b *testing.B) {
	const n = 160 * 160 * 160
	image := head(1, n, 1, 0)
	for _, method := range harmonize.Methods() {
		one := harmonize.Sample{Values: image, Site: "a", Labels: tissue(n)}
		m, _, err := harmonize.Fit(b.Context(), 1, set(one), harmonize.FitOptions{Method: method})
		if err != nil {
			b.Fatal(err)
		}
		u := harmonize.Use{}
		if method == harmonize.ZScoreSite {
			u.Site = "a"
		}
		run(b, string(method), image, func(v []float32) error { return m.Apply(b.Context(), v, u) })
	}
	run(b, "match", image, func(v []float32) error { return harmonize.MatchHistograms(b.Context(), v, image) })
	run(b, "equalize", image, func(v []float32) error {
		return harmonize.Equalize(b.Context(), v, 256, [2]float64{0, 1}, harmonize.All)
	})
}

func run(b *testing.B, name string, image []float32, fn func(v []float32) error) {
	b.Helper()
	b.Run(name, func(b *testing.B) {
		v := make([]float32, len(image))
		b.SetBytes(int64(4 * len(image)))
		b.ReportAllocs()
		for b.Loop() {
			copy(v, image)
			if err := fn(v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFit learns from eight heads of 64³ voxels.
func BenchmarkFit(b *testing.B) {
	var images []harmonize.Sample
	for i := range 8 {
		images = append(images, samples(head(uint64(i), 64*64*64, 1, 0))...)
	}
	for _, method := range harmonize.Methods() {
		b.Run(string(method), func(b *testing.B) {
			b.SetBytes(8 * 4 * 64 * 64 * 64)
			for b.Loop() {
				if _, _, err := harmonize.Fit(b.Context(), len(images), set(images...), harmonize.FitOptions{Method: method}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
