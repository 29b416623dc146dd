package harmonize_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/harmonize"
)

func text(t *testing.T, m *harmonize.Model) string {
	t.Helper()
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestRoundTrip: what is written is read back equal, for every method.
func TestRoundTrip(t *testing.T) {
	for _, method := range harmonize.Methods() {
		m := fit(t, harmonize.FitOptions{Method: method, Modality: "MR", Library: "voxloop test"}, samples(head(1, 3000, 1, 0), head(2, 3000, 2, 5))...)
		data := text(t, m)
		again, err := harmonize.Parse([]byte(data))
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		if text(t, again) != data {
			t.Errorf("%s: read back as %s", method, text(t, again))
		}
	}
}

const goodModel = `{"version": 1, "method": "nyul", "foreground": "above_mean", "nyul": {"percentiles": [1, 50, 99], "landmarks": [1, 40, 100]},
 "provenance": {"images": 3, "skipped": 0, "without_label": 0, "foreground_voxels": 10, "library": "x"}}`

func TestParseRefused(t *testing.T) {
	for _, c := range []struct{ name, old, with, want string }{
		{"empty", goodModel, "", "ends too early"},
		{"cut off", `"library": "x"}}`, `"library": "x"}`, "too early"},
		{"no JSON", goodModel, "nyul", "invalid"},
		{"a list", goodModel, "[1]", "does not belong here"},
		{"two documents", goodModel, goodModel + goodModel, "more after the end"},
		{"unknown key", `"version"`, `"colour": 1, "version"`, `unknown field "colour"`},
		{"unknown key inside", `"landmarks"`, `"a": 1, "landmarks"`, `unknown field "a"`},
		{"key in capitals", `"method"`, `"Method"`, `unknown field "Method"`},
		{"key twice", `"version": 1`, `"version": 1, "version": 1`, `"version" appears twice`},
		{"nested", goodModel, strings.Repeat("[", 5000), "nested too deeply"},
		{"version", `"version": 1`, `"version": 2`, "version: 2, this program reads 1"},
		{"method", `"method": "nyul"`, `"method": "combat"`, `method "combat" is none of`},
		{"foreground", "above_mean", "label", `foreground "label" is none of`},
		{"other numbers", `"method": "nyul"`, `"method": "zscore"`, "zscore: method zscore needs exactly"},
		{"no numbers", `"nyul": {`, `"ct": {`, "unknown field"},
		{"wrong type", "[1, 50, 99]", `"all"`, "nyul.percentiles: string does not belong here"},
		{"huge number", "[1, 40, 100]", "[1, 40, 1e999]", "does not belong here"},
		{"beyond float32", "[1, 40, 100]", "[1, 40, 1e39]", "must rise"},
		{"percentiles fall", "[1, 50, 99]", "[1, 99, 50]", "must rise within 0..100"},
		{"percentile beyond", "[1, 50, 99]", "[1, 50, 101]", "must rise within 0..100"},
		{"landmarks fall", "[1, 40, 100]", "[1, 100, 40]", "nyul: the numbers must rise"},
		{"landmarks equal", "[1, 40, 100]", "[1, 1, 1]", "nyul: the numbers must rise"},
		{"landmarks missing", "[1, 40, 100]", "[1, 100]", "nyul: 2 landmarks for 3"},
		{"no landmarks", "[1, 40, 100]", "[]", "nyul: 0 landmarks"},
		{"no provenance", `"images": 3`, `"images": 0`, "provenance: "},
		{"too long", goodModel, goodModel + strings.Repeat(" ", harmonize.MaxSize), "at most"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := strings.Replace(goodModel, c.old, c.with, 1)
			if data == goodModel {
				t.Fatal("nothing was replaced")
			}
			_, err := harmonize.Parse([]byte(data))
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
	if _, err := harmonize.Parse([]byte(goodModel)); err != nil {
		t.Errorf("the model that they were made of: %v", err)
	}
}

// TestParseNumbers: numbers of the other methods that make no scale.
func TestParseNumbers(t *testing.T) {
	for _, c := range []struct{ params, want string }{
		{`"method": "zscore", "zscore": {"mean": 1, "std": 0}`, "deviation above 0"},
		{`"method": "zscore", "zscore": {"mean": 1, "std": -1}`, "deviation above 0"},
		{`"method": "zscore_site", "zscore_site": []`, "there is no site"},
		{`"method": "zscore_site", "zscore_site": [{"site": "", "images": 1, "mean": 0, "std": 1}]`, "a name"},
		{`"method": "zscore_site", "zscore_site": [{"site": "b", "images": 1, "mean": 0, "std": 1}, {"site": "a", "images": 1, "mean": 0, "std": 1}]`, "order of their names"},
		{`"method": "percentile", "percentile": {"percent": [1, 99], "values": [5, 5], "to": [0, 1], "clip": true}`, "5 and 5 must rise"},
		{`"method": "percentile", "percentile": {"percent": [1, 99], "values": [5, 6], "to": [1, 0], "clip": true}`, "does not rise"},
		{`"method": "ct", "ct": {"percentile_00_5": 2, "percentile_99_5": 1, "mean": 1, "std": 1, "min": 0, "max": 1, "median": 1}`, "is above percentile_99_5"},
		{`"method": "histogram", "histogram": {"quantiles": [1]}`, "1 quantiles"},
		{`"method": "histogram", "histogram": {"quantiles": [1, 0, 2]}`, "must rise"},
	} {
		_, err := harmonize.Parse([]byte(`{"version": 1, "foreground": "all", "provenance": {"images": 1, "foreground_voxels": 1}, ` + c.params + `}`))
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", c.params, err, c.want)
		}
	}
}

func constant(n int, x float32) []float32 { return slices.Repeat([]float32{x}, n) }

func with(v []float32, i int, x float32) []float32 {
	v = slices.Clone(v)
	v[i] = x
	return v
}

// TestFitNames: bad images are left out and named with the reason; the model
// is that of the others.
func TestFitNames(t *testing.T) {
	good := []harmonize.Sample{{Values: head(1, 70_000, 1, 0)}, {Values: head(2, 70_000, 2, 3)}}
	mixed := []harmonize.Sample{
		{Values: constant(100, 4)},
		good[0],
		{Values: with(good[0].Values, 7, float32(math.NaN()))},
		{Values: with(good[0].Values, 7, float32(math.Inf(-1)))},
		good[1],
		{},
	}
	m, failed, err := harmonize.Fit(t.Context(), len(mixed), set(mixed...), harmonize.FitOptions{Method: harmonize.Nyul})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		index int
		text  string
	}{{0, "no voxel is above"}, {2, "1 of 70000 voxels are NaN"}, {3, "1 of 70000 voxels are NaN"}, {5, "no voxels"}} {
		if failed[i].Index != want.index || !strings.Contains(failed[i].Err.Error(), want.text) || fault.KindOf(failed[i].Err) != fault.Invalid {
			t.Errorf("failure %d: image %d, %v", i, failed[i].Index, failed[i].Err)
		}
	}
	only := fit(t, harmonize.FitOptions{Method: harmonize.Nyul}, good...)
	if len(failed) != 4 || !slices.Equal(m.Nyul.Landmarks, only.Nyul.Landmarks) || m.Provenance.Images != 2 || m.Provenance.Skipped != 4 {
		t.Errorf("%d failures, landmarks %v, want %v; %+v", len(failed), m.Nyul.Landmarks, only.Nyul.Landmarks, m.Provenance)
	}
}

// TestFitRefused: sets that nothing can be learned from.
func TestFitRefused(t *testing.T) {
	v := head(1, 3000, 1, 0)
	for _, c := range []struct {
		name string
		o    harmonize.FitOptions
		s    harmonize.Sample
		want string
	}{
		{"unknown method", harmonize.FitOptions{Method: "combat"}, harmonize.Sample{Values: v}, "is none of zscore"},
		{"foreground", harmonize.FitOptions{Method: harmonize.Nyul, Foreground: harmonize.Labelled}, harmonize.Sample{Values: v}, "method nyul can look at"},
		{"constant", harmonize.FitOptions{Method: harmonize.Percentile}, harmonize.Sample{Values: constant(50, 3)}, "are 3: there is no scale"},
		{"constant, histogram", harmonize.FitOptions{Method: harmonize.Histogram}, harmonize.Sample{Values: constant(50, 3)}, "none of the 1 images"},
		{"zeros", harmonize.FitOptions{Method: harmonize.ZScore, Foreground: harmonize.Nonzero}, harmonize.Sample{Values: constant(50, 0)}, "none of the 1 images"},
		{"no labels", harmonize.FitOptions{Method: harmonize.CT}, harmonize.Sample{Values: v, Labels: make([]uint16, len(v))}, "no voxel is labelled"},
		{"other label map", harmonize.FitOptions{Method: harmonize.CT}, harmonize.Sample{Values: v, Labels: make([]uint16, 9)}, "none of the 1 images"},
		{"no site", harmonize.FitOptions{Method: harmonize.ZScoreSite}, harmonize.Sample{Values: v}, "none of the 1 images"},
		{"percentiles", harmonize.FitOptions{Method: harmonize.Nyul, Percentiles: []float64{50}}, harmonize.Sample{Values: v}, "1 percentiles"},
		{"scale", harmonize.FitOptions{Method: harmonize.Nyul, Scale: [2]float64{5, 5}}, harmonize.Sample{Values: v}, "does not rise"},
		{"percentiles that coincide", harmonize.FitOptions{Method: harmonize.Percentile}, harmonize.Sample{Values: with(constant(9999, 3), 5, 4)}, "must rise"},
	} {
		_, _, err := harmonize.Fit(t.Context(), 1, set(c.s), c.o)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", c.name, err, c.want)
		}
	}
}

// TestEmptyLabels: an image without a labelled voxel adds nothing.
func TestEmptyLabels(t *testing.T) {
	a := samples(head(1, 3000, 1, 0))[0]
	none := harmonize.Sample{Values: head(2, 3000, 9, 0), Labels: make([]uint16, 3000)}
	one, two := fit(t, harmonize.FitOptions{Method: harmonize.CT}, a), fit(t, harmonize.FitOptions{Method: harmonize.CT}, none, a)
	if *one.CT != *two.CT || two.Provenance.Empty != 1 || two.Provenance.Images != 2 {
		t.Errorf("%+v, want %+v; %+v", *two.CT, *one.CT, two.Provenance)
	}
}

// TestApplyRefused: the image is unchanged where a method cannot be applied.
func TestApplyRefused(t *testing.T) {
	good := head(1, 3000, 1, 0)
	for _, method := range harmonize.Methods() {
		m := fit(t, harmonize.FitOptions{Method: method}, samples(good)...)
		u := harmonize.Use{}
		if method == harmonize.ZScoreSite {
			u.Site = "a"
		}
		for _, bad := range [][]float32{with(good, 5, float32(math.Inf(1))), with(good, 5, float32(math.NaN())), nil} {
			got := slices.Clone(bad)
			if err := m.Apply(t.Context(), got, u); fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s: %v", method, err)
			}
			if len(got) > 0 && got[0] != bad[0] {
				t.Errorf("%s: the image was changed", method)
			}
		}
		flat := constant(50, 3)
		err := m.Apply(t.Context(), flat, u)
		if (err != nil) != (method == harmonize.Nyul) {
			t.Errorf("%s on a constant image: %v", method, err)
		}
		for _, x := range flat {
			if x != flat[0] || math.IsNaN(float64(x)) {
				t.Errorf("%s makes %g and %g of a constant image", method, flat[0], x)
				break
			}
		}
	}
}

func TestUseRefused(t *testing.T) {
	v := head(1, 3000, 1, 0)
	for _, c := range []struct {
		method harmonize.Method
		u      harmonize.Use
		want   string
	}{
		{harmonize.ZScore, harmonize.Use{TestTime: 1.5}, "not within 0..1"},
		{harmonize.ZScore, harmonize.Use{TestTime: math.NaN()}, "not within 0..1"},
		{harmonize.ZScore, harmonize.Use{Site: "a"}, "method zscore has no sites"},
		{harmonize.Nyul, harmonize.Use{TestTime: 1}, "from the case at hand already"},
		{harmonize.Histogram, harmonize.Use{TestTime: 0.5}, "from the case at hand already"},
		{harmonize.CT, harmonize.Use{TestTime: 1}, "fitted over labelled voxels"},
		{harmonize.ZScoreSite, harmonize.Use{}, "needs a site: a"},
		{harmonize.ZScoreSite, harmonize.Use{Site: "b"}, `site "b" is none of a`},
		{harmonize.ZScoreSite, harmonize.Use{Site: "a", TestTime: 1}, "leave the site out"},
	} {
		m := fit(t, harmonize.FitOptions{Method: c.method}, samples(v)...)
		if err := m.Check(c.u); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %+v: error %v, want %q in it", c.method, c.u, err, c.want)
		}
	}
}

func TestEqualizeRefused(t *testing.T) {
	for _, c := range []struct {
		v    []float32
		bins int
		f    harmonize.Foreground
		want string
	}{
		{head(1, 100, 1, 0), 1, harmonize.All, "1 bins"},
		{head(1, 100, 1, 0), harmonize.MaxBins + 1, harmonize.All, "bins: a number"},
		{constant(9, 0), 8, harmonize.Nonzero, "no foreground"},
		{[]float32{1, 1.0000001}, 8, harmonize.All, "too close together"},
		{with(constant(9, 0), 0, float32(math.NaN())), 8, harmonize.All, "NaN"},
	} {
		err := harmonize.Equalize(t.Context(), c.v, c.bins, [2]float64{0, 1}, c.f)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d bins over %s: error %v, want %q in it", c.bins, c.f, err, c.want)
		}
	}
	flat := constant(9, 5)
	if err := harmonize.Equalize(t.Context(), flat, 8, [2]float64{0, 1}, harmonize.All); err != nil || !(flat[0] >= 0 && flat[0] <= 1) {
		t.Errorf("a constant image becomes %g, %v", flat[0], err)
	}
}

// TestCanceled: the context ends reading and looking.
func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	load := func(context.Context, int) (harmonize.Sample, error) {
		cancel()
		return harmonize.Sample{Values: head(1, 3000, 1, 0)}, nil
	}
	if _, _, err := harmonize.Fit(ctx, 50, load, harmonize.FitOptions{Method: harmonize.Nyul}); !errors.Is(err, context.Canceled) {
		t.Errorf("fit: %v", err)
	}
	m := fit(t, harmonize.FitOptions{Method: harmonize.Histogram}, samples(head(1, 3000, 1, 0))...)
	if err := m.Apply(ctx, head(1, 3000, 1, 0), harmonize.Use{}); !errors.Is(err, context.Canceled) {
		t.Errorf("apply: %v", err)
	}
}

// TestSecondReadFails: a set that changes while it is read makes no model.
func TestSecondReadFails(t *testing.T) {
	reads := 0
	old := head(1, 3000, 1, 0)
	load := func(context.Context, int) (harmonize.Sample, error) {
		if reads++; reads > 1 {
			return harmonize.Sample{}, errors.New("gone")
		}
		return harmonize.Sample{Values: old}, nil
	}
	_, _, err := harmonize.Fit(t.Context(), 1, load, harmonize.FitOptions{Method: harmonize.Percentile})
	if fault.KindOf(err) != fault.Conflict {
		t.Errorf("error %v", err)
	}
}

// TestPanicNamesImage: a panic over one image is that image's failure.
func TestPanicNamesImage(t *testing.T) {
	load := func(_ context.Context, i int) (harmonize.Sample, error) {
		if i == 1 {
			panic("strange image")
		}
		return harmonize.Sample{Values: head(1, 3000, 1, 0)}, nil
	}
	_, failed, err := harmonize.Fit(t.Context(), 2, load, harmonize.FitOptions{Method: harmonize.Nyul})
	if err != nil || len(failed) != 1 || failed[0].Index != 1 || fault.KindOf(failed[0].Err) != fault.Internal {
		t.Errorf("%v, failures %v", err, failed)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(goodModel))
	f.Add([]byte(`{"version":1,"method":"histogram","foreground":"all","histogram":{"quantiles":[0,1]},"provenance":{"images":1,"foreground_voxels":1}}`))
	v := head(1, 300, 1, 0)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := harmonize.Parse(data)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("kind of %v", err)
			}
			return
		}
		u := harmonize.Use{}
		if m.Method == harmonize.ZScoreSite {
			u.Site = m.Sites[0].Site
		}
		out := slices.Clone(v)
		if err := m.Apply(t.Context(), out, u); err != nil {
			t.Errorf("a model that was accepted cannot be applied: %v", err)
		}
		for _, x := range out {
			if x-x != 0 {
				t.Fatalf("a value became %g", x)
			}
		}
	})
}
