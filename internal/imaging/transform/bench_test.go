package transform_test

import (
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// BenchmarkPass prepares a CT of 512×512×200 int16 voxels for a network at
// 1.5×1.5×2 mm. Bytes are those of the tensor.
func BenchmarkPass(b *testing.B) {
	size, voxel := [3]int{512, 512, 200}, [3]float64{0.8, 0.8, 2.5}
	for _, c := range []struct {
		name  string
		code  string
		angle float64
		mode  transform.Mode
	}{
		{name: "along the axes", code: "LPS"},
		{name: "sagittal", code: "PIR"},
		{name: "nearest", code: "LPS", mode: transform.Nearest},
		{name: "oblique", code: "LPS", angle: 0.1},
	} {
		b.Run(c.name, func(b *testing.B) {
			v := imaging.NewVolume(imaging.Grid{Size: size, Affine: oriented(b, c.code, voxel, [3]float64{c.angle}, 0)}, 1, imaging.Int16)
			for i := range v.Data.(imaging.Samples[int16]) {
				v.Data.(imaging.Samples[int16])[i] = int16(i * 7919 % 2000)
			}
			r := transform.Recipe{
				Orientation: "RAS", Respace: transform.Respace{Spacing: [3]float64{1.5, 1.5, 2}, Mode: c.mode, Diagonal: c.angle != 0},
				Normalize: []transform.Intensity{transform.LinearStep([2]float64{-160, 240}, [2]float64{0, 1}, true)},
			}
			p, err := transform.NewPass(v.Grid, r)
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]float32, p.Layout().Voxels())
			b.SetBytes(4 * int64(len(dst)))
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Run(b.Context(), transform.FromVolume(v, 0), dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPercentiles(b *testing.B) {
	v := noise(imaging.Grid{Size: [3]int{256, 256, 128}, Affine: imaging.Identity()}, 1, 1)
	m, err := transform.ImageOf(b.Context(), v, xyz)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(4 * int64(m.Voxels()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Data.Percentiles(b.Context(), []float64{0.5, 99.5}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSteps runs single operations on 96³ voxels.
func BenchmarkSteps(b *testing.B) {
	v := noise(imaging.Grid{Size: [3]int{96, 96, 96}, Affine: imaging.Identity()}, 1, 1)
	m, err := transform.ImageOf(b.Context(), v, xyz)
	if err != nil {
		b.Fatal(err)
	}
	step := func(s transform.Step) func() error {
		return func() error { _, _, err := s.Apply(b.Context(), m); return err }
	}
	for name, f := range map[string]func() error{
		"affine": step(transform.Affine{Rotate: [3]float64{0.1, 0.2, 0.3}}),
		"zoom":   step(transform.Zoom{Factor: [3]float64{1.2, 1.2, 1.2}, Keep: true}),
		"flip":   step(transform.Flip{Axes: [3]bool{true, true, false}}),
		"area":   step(transform.Resize{Size: [3]int{48, 48, 48}, Mode: transform.ResizeArea}),
		"cubic":  step(transform.Respace{Spacing: [3]float64{0.9, 0.9, 0.9}, Mode: transform.Cubic}),
		"smooth": func() error {
			_, err := m.Smooth(b.Context(), transform.Gaussian{Sigma: [3]float64{1, 1, 1}})
			return err
		},
		"median": func() error { _, err := m.Median(b.Context(), 1); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(4 * int64(m.Voxels()))
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
