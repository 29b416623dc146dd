package design

import (
	"syscall"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/trainers/native"
)

// BenchmarkStep times a training step (forward, DiceCE, gradients, AdamW) of the
// networks that the hippocampus' fingerprint can lead to, on one thread: the
// table in docs/model-new.md and the constants in cost.go. CPU time is
// reported beside the clock's, for shared machines, and the estimate.
func BenchmarkStep(b *testing.B) {
	stages := func(f ...Stage) []Stage {
		f[len(f)-1].Decode = 0
		return f
	}
	at := func(features, encode, decode, stride int) Stage {
		return Stage{features, cube(3), cube(stride), encode, decode}
	}
	size := []int{40, 56, 40}
	for _, c := range []struct {
		name string
		net  Network
	}{
		{"light/16", Network{Plain, 3, 1, 3, stages(at(8, 0, 1, 1), at(16, 2, 2, 2), at(32, 2, 2, 2), at(64, 2, 0, 2)), 1, 0}},
		{"light/16/dropout", Network{Plain, 3, 1, 3, stages(at(8, 0, 1, 1), at(16, 2, 2, 2), at(32, 2, 2, 2), at(64, 2, 0, 2)), 1, 0.1}},
		{"light/24", Network{Plain, 3, 1, 3, stages(at(8, 0, 1, 1), at(24, 2, 2, 2), at(48, 2, 2, 2), at(96, 2, 0, 2)), 1, 0}},
		{"light/32", Network{Plain, 3, 1, 3, stages(at(8, 0, 1, 1), at(32, 2, 2, 2), at(64, 2, 2, 2), at(128, 2, 0, 2)), 1, 0}},
		{"light/32/residual", Network{Residual, 3, 1, 3, stages(at(8, 0, 1, 1), at(32, 1, 1, 2), at(64, 2, 1, 2), at(128, 2, 0, 2)), 1, 0}},
		{"light/48", Network{Plain, 3, 1, 3, stages(at(8, 0, 1, 1), at(48, 2, 2, 2), at(96, 2, 2, 2), at(192, 2, 0, 2)), 1, 0}},
		{"full/8", Network{Plain, 3, 1, 3, stages(at(8, 2, 2, 1), at(16, 2, 2, 2), at(32, 2, 2, 2), at(64, 2, 0, 2)), 1, 0}},
		{"full/16", Network{Plain, 3, 1, 3, stages(at(16, 2, 2, 1), at(32, 2, 2, 2), at(64, 2, 2, 2), at(128, 2, 0, 2)), 1, 0}},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkStep(b, c.net, size) })
	}
}

func benchmarkStep(b *testing.B, n Network, size []int) {
	b.Helper()
	m, err := n.Build(1)
	if err != nil {
		b.Fatal(err)
	}
	shape := []int64{2, int64(n.Channels)}
	for _, s := range size {
		shape = append(shape, int64(s))
	}
	p, err := native.Compile(m, native.Options{Shape: shape})
	if err != nil {
		b.Fatal(err)
	}
	s, err := p.Open(orttest.Runtime(b), 1)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	x := noise(int(product(shape)), "x")
	labels := make([]float32, len(x)/n.Channels)
	for i := range labels {
		labels[i] = float32(i / 7 % n.Classes)
	}
	step := func() {
		if _, err := s.Run(b.Context(), x, labels, 1e-3); err != nil {
			b.Fatal(err)
		}
	}
	step() // the first one grows the library's memory
	from := used()
	for b.Loop() {
		step()
	}
	c := n.Cost(2, size, 1)
	b.ReportMetric(float64((used()-from).Milliseconds())/float64(b.N), "cpu-ms/step")
	b.ReportMetric(float64(c.Step.Milliseconds()), "estimated-ms")
	b.ReportMetric(c.Work, "gflop")
	b.ReportMetric(float64(c.Parameters), "parameters")
}

// used is the CPU time of this process.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
