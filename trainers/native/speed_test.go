package native

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/testkit"
)

// BenchmarkStep times one step (forward, DiceCE, gradients, AdamW) on all
// cores: the networks and shapes of the reference's speed table and of issue 5.
func BenchmarkStep(b *testing.B) {
	root := testkit.Shared(b, "golden", "networks")
	for _, c := range []struct {
		network string
		shape   []int64
	}{
		{"unet_res2_prelu", []int64{1, 1, 64, 64, 64}},
		{"unet_res2_prelu", []int64{2, 1, 32, 48, 32}},
		{"unet_res2_prelu", []int64{2, 1, 40, 56, 40}},
		{"dynunet_ds", []int64{1, 1, 64, 64, 64}},
		{"unet_res0_bn", []int64{1, 1, 64, 64, 64}},
		{"segresnet_gn", []int64{1, 1, 64, 64, 64}},
		{"basicunet", []int64{1, 1, 64, 64, 64}},
	} {
		b.Run(c.network+shapeName(c.shape), func(b *testing.B) {
			o := Options{Shape: c.shape}
			o.Lanes = o.LanesFor(ort.Cores())
			o.BatchStatistics = o.Lanes == 1
			benchStep(b, parseModel(b, filepath.Join(root, c.network, "model.onnx")), o, 0)
		})
	}
}

func shapeName(shape []int64) string {
	return "/" + strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", "x")
}

// benchStep times steps on the same batch; 0 threads: all cores.
func benchStep(b *testing.B, m *onnx.Model, o Options, threads int) {
	b.Helper()
	p, err := Compile(m, o)
	if err != nil {
		b.Fatal(err)
	}
	s, err := p.Open(orttest.Runtime(b), threads)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	x := make([]float32, size(o.Shape))
	for i := range x {
		x[i] = float32(i%97)/97 - 0.5
	}
	labels := make([]float32, size(slices.Concat(o.Shape[:1], o.Shape[2:])))
	for i := range labels {
		labels[i] = float32(i / 7 % 3)
	}
	for range 2 { // the first steps grow the arena
		if _, err := s.Run(b.Context(), x, labels, 1e-3); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := s.Run(b.Context(), x, labels, 1e-3); err != nil {
			b.Fatal(err)
		}
	}
}
