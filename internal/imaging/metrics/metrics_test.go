package metrics_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/metrics"
)

// line returns a map of one row.
func line(labels ...uint16) *imaging.LabelMap {
	return &imaging.LabelMap{Grid: imaging.Grid{Size: [3]int{len(labels), 1, 1}, Affine: imaging.Identity()}, Data: labels}
}

func compare(t *testing.T, pred, truth *imaging.LabelMap) *metrics.Comparison {
	t.Helper()
	c, err := metrics.Compare(t.Context(), pred, truth)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLesions(t *testing.T) {
	truth := line(2, 2, 2, 2, 0, 2, 2, 0, 2, 0, 0, 0, 0, 0)
	pred := line(0, 0, 0, 2, 2, 2, 2, 0, 0, 0, 2, 0, 2, 2)
	for _, tt := range []struct {
		overlap float64
		want    metrics.Lesions
	}{
		{0, metrics.Lesions{True: 3, Predicted: 3, TP: 2, FN: 1, FP: 2}},
		{0.25, metrics.Lesions{True: 3, Predicted: 3, TP: 2, FN: 1, FP: 2}},
		{0.5, metrics.Lesions{True: 3, Predicted: 3, TP: 1, FN: 2, FP: 2}},
		{0.8, metrics.Lesions{True: 3, Predicted: 3, TP: 1, FN: 2, FP: 3}},
	} {
		got, err := compare(t, pred, truth).Lesions(t.Context(), 2, metrics.LesionOptions{Overlap: tt.overlap})
		if err != nil || got != tt.want {
			t.Errorf("overlap %g: %+v, %v; want %+v", tt.overlap, got, err, tt.want)
		}
	}
	got, err := compare(t, pred, truth).Lesions(t.Context(), 9, metrics.LesionOptions{})
	if err != nil || got != (metrics.Lesions{}) || !math.IsNaN(got.Sensitivity()) {
		t.Errorf("an absent class: %+v, %v", got, err)
	}
	for _, o := range []metrics.LesionOptions{{Overlap: 2}, {Overlap: math.NaN()}, {Connectivity: 5}} {
		if _, err := compare(t, pred, truth).Lesions(t.Context(), 2, o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestVolumeError(t *testing.T) {
	mm3, rel := metrics.Counts{TP: 10, FP: 5, FN: 2}.VolumeError(2)
	if mm3 != 6 || rel != 0.25 {
		t.Errorf("error %v mm³, %v; want 6, 0.25", mm3, rel)
	}
	if _, rel := (metrics.Counts{FP: 5}).VolumeError(2); !math.IsNaN(rel) {
		t.Errorf("relative error %v without truth, want NaN", rel)
	}
}

func TestComparisonCounts(t *testing.T) {
	c := compare(t, line(0, 1, 1, 2, 2, 7), line(0, 1, 2, 2, 2, 0))
	if got := c.Classes(); len(got) != 4 || got[3] != 7 {
		t.Errorf("classes %v", got)
	}
	if got, want := c.Counts(2), (metrics.Counts{TP: 2, FN: 1, TN: 3}); got != want {
		t.Errorf("class 2: %+v, want %+v", got, want)
	}
	if got, want := c.Counts(9), (metrics.Counts{TN: 6}); got != want {
		t.Errorf("class 9: %+v, want %+v", got, want)
	}
	if c.Wrong() != 2 {
		t.Errorf("%d wrong voxels, want 2", c.Wrong())
	}
}

// TestReduceWithoutValues: what has no value is 0, and no case of the mean.
func TestReduceWithoutValues(t *testing.T) {
	nan := math.NaN()
	rows := [][]float64{{1, nan}, {nan, nan}, {0.5, nan}}
	for _, tt := range []struct {
		r       metrics.Reduction
		values  []float64
		defined []int
	}{
		{metrics.Mean, []float64{0.75}, []int{2}},
		{metrics.MeanBatch, []float64{0.75, 0}, []int{2, 0}},
		{metrics.SumChannel, []float64{1, 0, 0.5}, []int{1, 0, 1}},
	} {
		values, defined, err := metrics.Reduce(rows, tt.r)
		if err != nil || !slices.Equal(values, tt.values) || !slices.Equal(defined, tt.defined) {
			t.Errorf("reduction %d: %v of %v, %v; want %v of %v", tt.r, values, defined, err, tt.values, tt.defined)
		}
	}
}

// Maps with nearly as many pairs of labels as voxels are no label maps; what
// they would take in memory is bounded.
func TestTooManyPairs(t *testing.T) {
	noise := make([]uint16, 600*600)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = uint16(r.Uint32())
	}
	a, b := line(noise...), line(noise...)
	b.Data = slices.Clone(noise)
	slices.Reverse(b.Data)
	for _, size := range [][3]int{{600 * 600, 1, 1}, {600, 600, 1}, {1, 600, 600}, {1, 1, 600 * 600}} {
		a.Size, b.Size = size, size
		if _, err := metrics.Compare(t.Context(), a, b); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v: %v", size, err)
		}
	}
}

// Only the shape of a voxel matters to NSD by area, not its size.
func TestAreaOfAnySize(t *testing.T) {
	pred, truth := line(0, 1, 1, 1, 0, 1), line(0, 0, 1, 1, 1, 1)
	var want float64
	for _, size := range []float64{1, 1e-30, 1e30, 1e120} {
		s, err := compare(t, pred, truth).Surfaces(t.Context(), 1, metrics.SurfaceOptions{SubVoxel: true, Spacing: [3]float64{size, 2 * size, 3 * size}})
		if err != nil {
			t.Fatal(err)
		}
		got := s.NSD(0)
		if size == 1 {
			want = got
		}
		if math.Abs(got-want) > 1e-12 || want <= 0 || want >= 1 {
			t.Errorf("voxels of %g mm: %v, want %v", size, got, want)
		}
	}
}

// The calibration of images together is that of one image of all their voxels.
func TestPool(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const n = 300_000 // more than one block
	p, truth := [][]float32{make([]float32, n), make([]float32, n)}, make([]uint16, n)
	for i := range truth {
		p[1][i] = r.Float32()
		p[0][i] = 1 - p[1][i]
		if r.Float32() < p[1][i]*p[1][i] {
			truth[i] = 1
		}
	}
	part := func(from, to int) *metrics.Calibration {
		c, err := metrics.Calibrate(t.Context(), [][]float32{p[0][from:to], p[1][from:to]}, truth[from:to], 15)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	all, pooled := part(0, n), metrics.Pool([]*metrics.Calibration{part(0, 1000), part(1000, n)})
	for name, d := range map[string]float64{
		"ece": all.ECE - pooled.ECE, "mce": all.MCE - pooled.MCE, "brier": all.Brier - pooled.Brier, "nll": all.NLL - pooled.NLL,
	} {
		if math.Abs(d) > 1e-9 || all.Voxels != n || pooled.Voxels != n || all.Brier < 0.1 {
			t.Errorf("%s differs by %g", name, d)
		}
	}
	if metrics.Pool(nil) != nil {
		t.Error("nothing has a calibration")
	}
}

func TestRefusals(t *testing.T) {
	if _, err := metrics.Compare(t.Context(), line(1, 2), line(1)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("different sizes: %v", err)
	}
	c := compare(t, line(1, 0), line(1, 1))
	if _, err := c.Surfaces(t.Context(), 1, metrics.SurfaceOptions{Spacing: [3]float64{1, 0, 1}}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no spacing: %v", err)
	}
	p := [][]float32{{0.5}, {0.5}}
	nan := [][]float32{{float32(math.NaN())}, {0.5}}
	for name, err := range map[string]error{
		"class": second(metrics.Calibrate(t.Context(), p, []uint16{2}, 15)),
		"shape": second(metrics.Calibrate(t.Context(), p, []uint16{0, 1}, 15)),
		"bins":  second(metrics.Calibrate(t.Context(), p, []uint16{0}, 0)),
		"nan":   second(metrics.Calibrate(t.Context(), nan, []uint16{0}, 15)),
		"range": second(metrics.Calibrate(t.Context(), [][]float32{{-1}, {2}}, []uint16{0}, 15)),
		"sum":   second(metrics.Calibrate(t.Context(), [][]float32{{0.3}, {0.6}}, []uint16{0}, 15)),
		"rows":  third(metrics.Reduce([][]float64{{1}, {1, 2}}, metrics.Mean)),
	} {
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := metrics.ParseEmpty("none"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("convention: %v", err)
	}
	for _, e := range []metrics.Empty{metrics.MONAI, metrics.MONAIKeep, metrics.NNUNet} {
		if got, err := metrics.ParseEmpty(e.String()); err != nil || got != e {
			t.Errorf("%s: %v, %v", e, got, err)
		}
	}
}

func second(_ *metrics.Calibration, err error) error { return err }

func third(_ []float64, _ []int, err error) error { return err }

// blobs returns a map of n³ voxels with two classes: balls of radius n/3 and
// n/6, moved by shift voxels, their borders roughened.
func blobs(n, shift int) *imaging.LabelMap {
	l := imaging.NewLabelMap(imaging.Grid{Size: [3]int{n, n, n}, Affine: imaging.Affine{{0.8, 0, 0, 0}, {0, 0.8, 0, 0}, {0, 0, 1.5, 0}, {0, 0, 0, 1}}})
	r := rand.New(rand.NewPCG(9, uint64(shift)))
	c1, c2 := n*2/5+shift, n*4/5
	for i := range l.Data {
		x, y, z := i%n, i/n%n, i/(n*n)
		rough := r.IntN(n)
		d := func(c int) int { return (x-c)*(x-c) + (y-c)*(y-c) + (z-c)*(z-c) + rough }
		switch {
		case d(c1) < n*n/9:
			l.Data[i] = 1
		case d(c2) < n*n/36:
			l.Data[i] = 2
		}
	}
	return l
}

// BenchmarkHD95 measures both classes of a pair, from label maps to millimetres.
func BenchmarkHD95(b *testing.B) {
	const n = 256
	pred, truth := blobs(n, 0), blobs(n, 3)
	b.SetBytes(2 * 2 * n * n * n)
	b.ReportAllocs()
	for b.Loop() {
		c, err := metrics.Compare(b.Context(), pred, truth)
		if err != nil {
			b.Fatal(err)
		}
		for _, class := range []uint16{1, 2} {
			s, err := c.Surfaces(b.Context(), class, metrics.SurfaceOptions{})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.Percentile(b.Context(), 95); err != nil {
				b.Fatal(err)
			}
		}
	}
}
