package harmonize_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/harmonize"
	"github.com/voxloop/voxloop/internal/testkit"
)

// golden is one recorded operation of shared golden/numerics/transforms.
type golden struct {
	Name       string                     `json:"name"`
	Operation  string                     `json:"operation"`
	Parameters map[string]json.RawMessage `json:"parameters"`
	Inputs     map[string]json.RawMessage `json:"inputs"`
	Expected   map[string]json.RawMessage `json:"expected"`
	Tolerance  struct {
		Atol     float64 `json:"atol"`
		Rtol     float64 `json:"rtol"`
		Mismatch float64 `json:"mismatch_fraction"`
	} `json:"tolerance"`
	dir string
}

func decode[T any](t *testing.T, raw json.RawMessage) (v T) {
	t.Helper()
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}

func (g golden) file(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	return filepath.Join(g.dir, decode[struct{ File string }](t, raw).File)
}

func (g golden) npy(t *testing.T, raw json.RawMessage) []float32 {
	t.Helper()
	return testkit.ReadNPY(t, g.file(t, raw)).F32(t)
}

// volume reads a NIfTI input, x fastest.
func (g golden) volume(t *testing.T, key string) *imaging.Volume {
	t.Helper()
	v, err := codec.Read(t.Context(), g.file(t, g.Inputs[key]), codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// values returns the voxels in the order of a recorded array, z fastest.
func values(v *imaging.Volume) []float32 {
	out := make([]float32, 0, v.Voxels())
	for x := range v.Size[0] {
		for y := range v.Size[1] {
			for z := range v.Size[2] {
				out = append(out, float32(v.At(x, y, z, 0)))
			}
		}
	}
	return out
}

func (g golden) near(got, want float64) bool {
	return math.Abs(got-want) <= g.Tolerance.Atol+g.Tolerance.Rtol*math.Abs(want)
}

func (g golden) image(t *testing.T, got []float32) {
	t.Helper()
	want := g.npy(t, g.Expected["image"])
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	bad := 0
	for i := range want {
		if !g.near(float64(got[i]), float64(want[i])) {
			if bad++; bad == 1 {
				t.Logf("value %d: got %g, want %g", i, got[i], want[i])
			}
		}
	}
	if float64(bad) > g.Tolerance.Mismatch*float64(len(want)) {
		t.Errorf("%d of %d values differ", bad, len(want))
	}
}

func (g golden) numbers(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	for i := range want {
		if !g.near(got[i], want[i]) {
			t.Errorf("%s %d: got %.9g, want %.9g", what, i, got[i], want[i])
		}
	}
}

func checkEqualize(t *testing.T, g golden) {
	v := g.npy(t, g.Inputs["image"])
	bins, to := decode[int](t, g.Parameters["num_bins"]), [2]float64{decode[float64](t, g.Parameters["min"]), decode[float64](t, g.Parameters["max"])}
	var err error
	if raw, ok := g.Inputs["mask"]; ok {
		var counted []float32
		for i, m := range g.npy(t, raw) {
			if m != 0 {
				counted = append(counted, v[i])
			}
		}
		err = harmonize.EqualizeBy(t.Context(), v, counted, bins, to)
	} else {
		err = harmonize.Equalize(t.Context(), v, bins, to, harmonize.All)
	}
	if err != nil {
		t.Fatal(err)
	}
	g.image(t, v)
}

func checkCT(t *testing.T, g golden) {
	v, labels := values(g.volume(t, "image")), values(g.volume(t, "label"))
	m := fit(t, harmonize.FitOptions{Method: harmonize.CT}, harmonize.Sample{Values: v, Labels: asLabels(labels)})
	var want map[string]float64
	raw := decode[struct{ Value json.RawMessage }](t, g.Expected["foreground_intensity_properties"])
	want = decode[map[string]float64](t, raw.Value)
	p := m.CT
	g.numbers(t, "property",
		[]float64{p.Mean, p.Std, p.Lower, p.Upper, p.Min, p.Max, p.Median},
		[]float64{want["mean"], want["std"], want["percentile_00_5"], want["percentile_99_5"], want["min"], want["max"], want["median"]})
	if err := m.Apply(t.Context(), v, harmonize.Use{}); err != nil {
		t.Fatal(err)
	}
	g.image(t, v)
}

func checkStandardize(t *testing.T, g golden) {
	v := values(g.volume(t, "image"))
	var mask []bool
	if decode[bool](t, g.Parameters["use_mask"]) {
		for _, l := range values(g.volume(t, "label")) {
			mask = append(mask, l > 0)
		}
	}
	if err := harmonize.Standardize(t.Context(), v, mask); err != nil {
		t.Fatal(err)
	}
	g.image(t, v)
}

func checkMatch(t *testing.T, g golden) {
	v := g.npy(t, g.Inputs["image"])
	if err := harmonize.MatchHistograms(t.Context(), v, g.npy(t, g.Inputs["reference"])); err != nil {
		t.Fatal(err)
	}
	// scikit-image cuts results of integer images off; the tolerance allows for it.
	g.image(t, v)
}

func checkNyul(t *testing.T, g golden) {
	percent := decode[[]float64](t, g.Parameters["percentiles"])
	scale := decode[[2]float64](t, g.Parameters["standard_scale"])
	perImage := decode[struct{ Value [][]float64 }](t, g.Expected["train_landmarks"]).Value
	var train []harmonize.Sample
	for i, raw := range decode[[]json.RawMessage](t, g.Inputs["train"]) {
		s := harmonize.Sample{Values: g.npy(t, raw)}
		train = append(train, s)
		g.numbers(t, "landmark of a training image", harmonize.Landmarks(t, s, percent), perImage[i])
	}
	m := fit(t, harmonize.FitOptions{Method: harmonize.Nyul, Percentiles: percent, Scale: scale}, train...)
	g.numbers(t, "standard landmark", m.Nyul.Landmarks, decode[struct{ Value []float64 }](t, g.Expected["standard_landmarks"]).Value)
	v := g.npy(t, g.Inputs["image"])
	g.numbers(t, "landmark", harmonize.Landmarks(t, harmonize.Sample{Values: v}, percent), decode[struct{ Value []float64 }](t, g.Expected["image_landmarks"]).Value)
	if err := m.Apply(t.Context(), v, harmonize.Use{}); err != nil {
		t.Fatal(err)
	}
	g.image(t, v)
}

func asLabels(v []float32) []uint16 {
	out := make([]uint16, len(v))
	for i, x := range v {
		out[i] = uint16(x)
	}
	return out
}

// set serves samples from memory; values are copied, as they would be read.
func set(samples ...harmonize.Sample) harmonize.Load {
	return func(_ context.Context, i int) (harmonize.Sample, error) {
		s := samples[i]
		s.Values = append([]float32(nil), s.Values...)
		return s, nil
	}
}

func fit(t *testing.T, o harmonize.FitOptions, samples ...harmonize.Sample) *harmonize.Model {
	t.Helper()
	m, failed, err := harmonize.Fit(t.Context(), len(samples), set(samples...), o)
	if err != nil || len(failed) > 0 {
		t.Fatalf("%v, failures %v", err, failed)
	}
	return m
}

// TestGolden compares with MONAI 1.5.2, scikit-image 0.26 and the formulas of
// nnU-Net and Nyul in NumPy, and counts what it compared.
func TestGolden(t *testing.T) {
	dir := testkit.Shared(t, "golden", "numerics", "transforms")
	data, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	checks := map[string]struct {
		check func(*testing.T, golden)
		cases int
	}{
		"HistogramNormalize":                {checkEqualize, 2},
		"nnU-Net CT normalisation":          {checkCT, 1},
		"nnU-Net z-score":                   {checkStandardize, 2},
		"skimage.exposure.match_histograms": {checkMatch, 2},
		"Nyul histogram standardisation":    {checkNyul, 1},
	}
	passed, seen := make(map[string]int), make(map[string]int)
	for _, g := range decode[struct{ Cases []golden }](t, data).Cases {
		c, ok := checks[g.Operation]
		if !ok {
			continue
		}
		g.dir = dir
		seen[g.Operation]++
		if t.Run(g.Name, func(t *testing.T) { c.check(t, g) }) {
			passed[g.Operation]++
		}
	}
	for op, c := range checks {
		t.Logf("%-36s %d of %d cases hold", op, passed[op], seen[op])
		if seen[op] < c.cases {
			t.Errorf("%s: %d cases are recorded, at least %d were", op, seen[op], c.cases)
		}
	}
}
