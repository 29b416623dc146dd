package apps

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/imaging/augment"
	"github.com/voxloop/voxloop/internal/testkit"
	"github.com/voxloop/voxloop/trainers"
)

// BenchmarkBatches makes batches of real cases: alone, the time that a batch
// takes; beside a step that keeps another thread busy for 90 ms, what the step
// waits for its batch.
func BenchmarkBatches(b *testing.B) {
	d := hippocampusData(b, TrainingDataOptions{})
	files, err := filepath.Glob(filepath.Join(testkit.Shared(b, "data", "hippocampus", "images"), "*.nii.gz"))
	if err != nil || len(files) == 0 {
		b.Fatal(err, len(files))
	}
	var cases []trainers.Case
	for _, f := range files[:24] {
		c := sharedCase(b, filepath.Base(f[:len(f)-len(".nii.gz")]))
		c.Role = trainers.Train
		cases = append(cases, c)
	}
	recipe := augment.Default()
	for _, step := range []time.Duration{0, 90 * time.Millisecond} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("step=%v/workers=%d", step, workers), func(b *testing.B) {
				l, err := trainers.NewLoader(b.Context(), trainers.LoaderOptions{
					Data: d, Cases: cases, Patch: d.Spec().Window, Batch: 2, Recipe: &recipe, Oversample: 1. / 3, CacheBytes: 1 << 30, Workers: workers,
				})
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = l.Close() }()
				var waited time.Duration
				i := 0
				for b.Loop() {
					start := time.Now()
					if _, err := l.Next(b.Context(), i); err != nil {
						b.Fatal(err)
					}
					if i > 0 {
						waited += time.Since(start)
					}
					i++
					for begin := time.Now(); time.Since(begin) < step; { //nolint:revive // a busy thread, as the step's
					}
				}
				b.ReportMetric(float64(waited.Microseconds())/float64(max(i-1, 1))/1000, "ms-waited/op")
			})
		}
	}
}
