package onnx_test

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/testkit"
)

// BenchmarkRules times networks with combinations of rules, one run of each in
// turn so that other load hits all alike, and reports min, median and max in
// milliseconds and the median of the ratios to the untouched graph of the same
// turn. The figures are in docs/decisions/001-graph-rewrites.md:
//
//	go test ./internal/onnx -run '^$' -bench Rules -benchtime 20x
func BenchmarkRules(b *testing.B) {
	norms := []string{"groupnorm", "instancenorm", "mean"}
	variants := [][]string{nil, {"prelu"}, {"upconv"}, norms, append([]string{"prelu", "upconv"}, norms...), append([]string{"upconv"}, norms...)}
	for _, net := range []struct {
		name  string
		path  []string
		shape []int64
	}{
		{"MONAI UNet 96^3", []string{"golden", "networks", "unet_res2_prelu"}, []int64{1, 1, 96, 96, 96}},
		{"MONAI UNet 40x56x40", []string{"models", "hippocampus"}, []int64{1, 1, 40, 56, 40}},
		{"SegResNet 96^3", []string{"golden", "networks", "segresnet_gn"}, []int64{1, 1, 96, 96, 96}},
		{"DynUNet 96^3", []string{"golden", "networks", "dynunet_ds"}, []int64{1, 1, 96, 96, 96}},
	} {
		for _, provider := range []string{ort.CPU, ort.OpenVINO} {
			b.Run(strings.ReplaceAll(net.name, " ", "_")+"/"+provider, func(b *testing.B) {
				m := parse(b, filepath.Join(testkit.Shared(b, net.path...), "model.onnx"))
				if err := m.FixShape(m.Inputs()[0].Name, net.shape); err != nil {
					b.Fatal(err)
				}
				timeVariants(b, m, provider, net.shape, variants)
			})
		}
	}
}

// timeVariants runs the variants in turn. Variants whose rules find nothing in
// the network are left out.
func timeVariants(b *testing.B, m *onnx.Model, provider string, shape []int64, variants [][]string) {
	b.Helper()
	var names []string
	var sessions []*ort.Session
	seen := map[string]bool{}
	for _, rules := range variants {
		p, err := onnx.PrepareWith(m, provider, rules...)
		if err != nil {
			b.Fatal(err)
		}
		if seen[p.Hash()] {
			continue
		}
		seen[p.Hash()] = true
		names = append(names, "none")
		if len(rules) > 0 {
			names[len(names)-1] = strings.NewReplacer("groupnorm+instancenorm+mean", "norms").Replace(strings.Join(rules, "+"))
		}
		sessions = append(sessions, session(b, p, provider))
	}
	x, r := tensor(shape), rand.New(rand.NewPCG(1, 2))
	for i := range x.Data {
		x.Data[i] = float32(r.NormFloat64())
	}
	y := tensor(outputShape(m, shape))
	times := make([][]float64, len(sessions))
	once := func(k int) float64 {
		start := time.Now()
		if err := sessions[k].Run(b.Context(), []ort.Tensor{x}, []ort.Tensor{y}); err != nil {
			b.Fatal(err)
		}
		return time.Since(start).Seconds() * 1e3
	}
	for k := range sessions {
		once(k) // warm up
	}
	for b.Loop() {
		for k := range sessions {
			times[k] = append(times[k], once(k))
		}
	}
	for k, t := range times {
		ratios := make([]float64, len(t))
		for i := range t {
			ratios[i] = t[i] / times[0][i]
		}
		slices.Sort(ratios)
		s := slices.Sorted(slices.Values(t))
		b.Logf("%-24s %7.1f %7.1f %7.1f ms, paired ratio %.3f", names[k], s[0], s[len(s)/2], s[len(s)-1], ratios[len(ratios)/2])
	}
}

// outputShape is the network's output shape where the spatial size stays.
func outputShape(m *onnx.Model, in []int64) []int64 {
	out := slices.Clone(in)
	out[1] = m.Outputs()[0].Shape[1]
	return out
}
