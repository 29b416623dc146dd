package harmonize_test

import (
	"context"
	"math"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/harmonize"
)

// TestNyulCoincidingLandmarks: where several percentiles of an image are one
// value, it goes to the middle of their landmarks.
func TestNyulCoincidingLandmarks(t *testing.T) {
	v := make([]float32, 100)
	for i := range v {
		v[i] = float32(max(i-60, 0)) // percentiles 10 and 50 are 0
	}
	m := fit(t, harmonize.FitOptions{Method: harmonize.Nyul, Foreground: harmonize.All, Percentiles: []float64{10, 50, 100}}, harmonize.Sample{Values: v})
	m.Nyul.Landmarks = []float64{0, 4, 41}
	got := apply(t, m, v, harmonize.Use{})
	for i, want := range map[int]float32{0: 2, 99: 41, 60: 2, 73: 15} { // 0 → 2, 39 → 41
		if math.Abs(float64(got[i]-want)) > 1e-5 {
			t.Errorf("%g → %g, want %g", v[i], got[i], want)
		}
	}
}

// TestNyulConstant: with all voxels as foreground there is one, but no scale.
func TestNyulConstant(t *testing.T) {
	m := fit(t, harmonize.FitOptions{Method: harmonize.Nyul, Foreground: harmonize.All}, harmonize.Sample{Values: head(1, 3000, 1, 0)})
	flat := constant(50, 7)
	if err := m.Apply(t.Context(), flat, harmonize.Use{}); fault.KindOf(err) != fault.Invalid || flat[0] != 7 {
		t.Errorf("error %v, value %g", err, flat[0])
	}
}

// TestEqualizeEdges: a value on a bin's lower edge counts there, the largest
// one in the last bin, however the division is rounded.
func TestEqualizeEdges(t *testing.T) {
	const bins = 50
	for _, top := range []float32{0.1, 0.7, 1.3, 3.1, 49.9, 1e6} {
		v := make([]float32, bins+1)
		for i := range v {
			v[i] = float32(float64(i) * (float64(top) / bins))
		}
		if err := harmonize.Equalize(t.Context(), v, bins, [2]float64{0, bins}, harmonize.All); err != nil {
			t.Fatal(err)
		}
		// Running sums 1, 2, …, 49, 51 become 0, 1, …, 48, 50 at the centres; edges lie between.
		for i := 1; i < bins-1; i++ {
			if want := float64(i) - 0.5; math.Abs(float64(v[i])-want) > 2e-3 {
				t.Errorf("0..%g: edge %d → %g, want %g", top, i, v[i], want)
			}
		}
	}
}

// TestHistogramMean: the set's histogram is the mean of its images'.
func TestHistogramMean(t *testing.T) {
	a, b := make([]float32, 1001), make([]float32, 501)
	for i := range a {
		a[i] = float32(i)
	}
	for i := range b {
		b[i] = float32(6*i + 100)
	}
	m := fit(t, harmonize.FitOptions{Method: harmonize.Histogram}, harmonize.Sample{Values: a}, harmonize.Sample{Values: b})
	q := m.Histogram.Quantiles
	if len(q) != 1001 || q[0] != 50 || q[1000] != 2050 || math.Abs(q[500]-(500+1600)/2) > 3 {
		t.Errorf("%d quantiles, %g, %g, %g; want 1001, 50, about 1050, 2050", len(q), q[0], q[500], q[1000])
	}
}

// TestSecondReadOfTheGood: images that were left out stay so, and are not read
// again. Whole numbers beyond those that are counted one by one take a second
// reading too.
func TestSecondReadOfTheGood(t *testing.T) {
	good := make([]float32, 1001)
	for i := range good {
		good[i] = float32(1000 * i) // to a million
	}
	images := samples(good, with(good, 3, float32(math.NaN())))
	reads := make([]int, 2)
	m, failed, err := harmonize.Fit(t.Context(), 2, func(ctx context.Context, i int) (harmonize.Sample, error) {
		reads[i]++ // one image, one goroutine at a time
		return set(images...)(ctx, i)
	}, harmonize.FitOptions{Method: harmonize.Percentile, Percent: [2]float64{10, 90}})
	if err != nil || len(failed) != 1 || failed[0].Index != 1 {
		t.Fatalf("%v, failures %v", err, failed)
	}
	if reads[0] != 2 || reads[1] != 1 {
		t.Errorf("read %v times, want 2 and 1", reads)
	}
	if m.Percentile.Values != [2]float64{100_000, 900_000} {
		t.Errorf("values %v", m.Percentile.Values)
	}
}

// TestImageChanges: another number of foreground voxels at the second reading.
func TestImageChanges(t *testing.T) {
	v, reads := head(1, 3000, 1, 0), 0
	load := func(context.Context, int) (harmonize.Sample, error) {
		reads++
		return harmonize.Sample{Values: v[:3000-reads]}, nil
	}
	_, _, err := harmonize.Fit(t.Context(), 1, load, harmonize.FitOptions{Method: harmonize.Percentile})
	if fault.KindOf(err) != fault.Conflict {
		t.Errorf("error %v", err)
	}
}
