package design

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/phantom"
	"github.com/voxloop/voxloop/internal/testkit"
)

// phantoms makes a studies folder of labelled phantoms.
func phantoms(t *testing.T, n int) string {
	t.Helper()
	dir := studies(t)
	for i := 1; i <= n; i++ {
		img, truth := phantom.Case(phantom.Seed(1, i))
		writeFile(t, filepath.Join(dir, phantom.Name(i)), func(w io.Writer) error { return codec.Write(w, ".nii.gz", img, codec.WriteOptions{}) })
		writeFile(t, filepath.Join(dir, finalLabels, phantom.Name(i)), func(w io.Writer) error {
			return codec.WriteLabels(w, ".nii.gz", truth, imaging.Uint8, codec.WriteOptions{})
		})
	}
	return dir
}

var anteriorPosterior = map[string]int{"anterior": 1, "posterior": 2}

func scanOf(t *testing.T, dir string, o ScanOptions) *Fingerprint {
	t.Helper()
	cases, _, err := Studies(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Scan(t.Context(), cases, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A fingerprint tells what the phantoms are: their sizes, counts and values by
// the voxels themselves.
func TestFingerprintOfPhantoms(t *testing.T) {
	const n = 5
	f := scanOf(t, phantoms(t, n), ScanOptions{Labels: anteriorPosterior})
	if len(f.Cases) != n || len(f.Skipped) != 0 || f.Channels != 1 || f.CT || !f.OneSpacing || f.Orientation["RAS"] != n {
		t.Errorf("%d cases, skipped %v, %d channels, CT %v, one spacing %v, orientations %v", len(f.Cases), f.Skipped, f.Channels, f.CT, f.OneSpacing, f.Orientation)
	}
	var sizes [3][]float64
	var foreground, counts []float64
	for i := 1; i <= n; i++ {
		img, truth := phantom.Case(phantom.Seed(1, i))
		for k := range 3 {
			sizes[k] = append(sizes[k], float64(img.Size[k]))
		}
		count := 0.0
		for j, l := range truth.Data {
			if l != 0 {
				foreground = append(foreground, img.Data.At(j))
			}
			if l == phantom.Posterior {
				count++
			}
		}
		counts = append(counts, count)
	}
	for k := range 3 {
		if f.Size[k] != quantile(sizes[k], 0.5) || f.Spacing[k] != 1 {
			t.Errorf("axis %d: size %g, spacing %g", k, f.Size[k], f.Spacing[k])
		}
	}
	mean := 0.0
	for _, v := range foreground {
		mean += v / float64(len(foreground))
	}
	in := f.Foreground[0]
	if math.Abs(in.Mean-mean) > 1 || in.Min != slices.Min(foreground) || in.Max != slices.Max(foreground) || math.Abs(in.High-quantile(foreground, 0.995)) > 1 {
		t.Errorf("foreground %+v; mean %g, range %g..%g, 99.5 %% %g are right", in, mean, slices.Min(foreground), slices.Max(foreground), quantile(foreground, 0.995))
	}
	if c := f.Classes[1]; c.Name != "posterior" || c.Cases != n || c.Voxels != quantile(counts, 0.5) || math.Abs(c.Volume-c.Voxels/1000) > 1e-9 {
		t.Errorf("class %+v, %g voxels are right", c, quantile(counts, 0.5))
	}
}

// The real sets: published facts about the hippocampus crops, and a CT that is
// recognised by its values.
func TestFingerprintOfRealImages(t *testing.T) {
	root := testkit.Shared(t, "data")
	var cases []Case
	files, err := filepath.Glob(filepath.Join(root, "hippocampus", "images", "*.nii.gz"))
	if err != nil || len(files) < 60 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, image := range files[:60] {
		name := filepath.Base(image)
		cases = append(cases, Case{name, []string{image}, filepath.Join(root, "hippocampus", "labels", name)})
	}
	f, err := Scan(t.Context(), cases, ScanOptions{Labels: anteriorPosterior, Memory: 1})
	if err != nil {
		t.Fatal(err)
	}
	if f.CT || !f.OneSpacing || math.Abs(f.Size[0]-35) > 2 || math.Abs(f.Size[1]-50) > 2 || math.Abs(f.Size[2]-35) > 2 || f.Kept < 0.99 {
		t.Errorf("CT %v, one spacing %v, size %v, kept %g", f.CT, f.OneSpacing, f.Size, f.Kept)
	}
	dir := filepath.Join(root, "spleen_ct")
	ct, err := Scan(t.Context(), []Case{{
		"spleen",
		[]string{filepath.Join(dir, "sub-spleen2", "ct", "sub-spleen2_ct.nii.gz")},
		filepath.Join(dir, "derivatives", "labels", "sub-spleen2", "ct", "sub-spleen2_ct_seg-manual.nii.gz"),
	}}, ScanOptions{Labels: map[string]int{"spleen": 1}})
	if err != nil {
		t.Fatal(err)
	}
	if !ct.CT || ct.Cases[0].Size != [3]int{164, 166, 26} || math.Abs(ct.Spacing[2]-5) > 1e-3 {
		t.Errorf("CT %v, size %v, spacing %v", ct.CT, ct.Cases[0].Size, ct.Spacing)
	}
	if in := ct.Foreground[0]; in.Mean < 50 || in.Mean > 200 || in.Low < -300 || in.High > 500 {
		t.Errorf("a spleen has %+v HU", in)
	}
}

// Cases that cannot be used are named and left out; the rest counts.
func TestBadCases(t *testing.T) {
	dir := phantoms(t, 2)
	size, mm := [3]int{8, 8, 8}, [3]float64{1, 1, 1}
	addCase(t, dir, "nan", size, mm, one(float32(math.NaN())), one(uint16(1)))
	addCase(t, dir, "nothing", size, mm, one(float32(0)), one(uint16(1)))
	addCase(t, dir, "shifted", size, mm, one(float32(1)), one(uint16(1)))
	addCase(t, dir, "cut", size, mm, one(float32(1)), one(uint16(1)))
	other := studies(t)
	addCase(t, other, "shifted", [3]int{8, 8, 9}, mm, one(float32(1)), one(uint16(1)))
	copyFile(t, filepath.Join(other, finalLabels, "shifted.nii.gz"), filepath.Join(dir, finalLabels, "shifted.nii.gz"))
	if err := os.Truncate(filepath.Join(dir, "cut.nii.gz"), 50); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(other, finalLabels, "shifted.nii.gz"), filepath.Join(dir, finalLabels, "orphan.nii.gz"))

	cases, orphans, err := Studies(dir)
	if err != nil || !slices.Equal(orphans, []string{"orphan"}) {
		t.Fatalf("orphans %v, %v", orphans, err)
	}
	f, err := Scan(t.Context(), cases, ScanOptions{Labels: anteriorPosterior})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"nan": "finite", "nothing": "0 everywhere", "shifted": "grid", "cut": "cut.nii.gz"}
	for _, s := range f.Skipped {
		if !strings.Contains(s.Reason, want[s.ID]) || strings.Contains(s.Reason, dir) {
			t.Errorf("%s is left out because %q", s.ID, s.Reason)
		}
		delete(want, s.ID)
	}
	if len(want) > 0 || len(f.Cases) != 2 {
		t.Errorf("not left out: %v; %d cases are left", want, len(f.Cases))
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, func(w io.Writer) error { _, err := w.Write(data); return err })
}

func TestScanRefuses(t *testing.T) {
	size, mm := [3]int{8, 8, 8}, [3]float64{1, 1, 1}
	half := func(i int) uint16 { return uint16(i % 2 * 3) }
	tests := []struct {
		name   string
		make   func(t *testing.T) string
		labels map[string]int
		want   string
	}{
		{"unknown value", func(t *testing.T) string {
			t.Helper()
			dir := studies(t)
			addCase(t, dir, "a", size, mm, one(float32(1)), half)
			return dir
		}, anteriorPosterior, "label value 3 (case a)"},
		{"empty labels", func(t *testing.T) string {
			t.Helper()
			dir := studies(t)
			addCase(t, dir, "a", size, mm, one(float32(1)), one(uint16(0)))
			return dir
		}, anteriorPosterior, "empty"},
		{"all bad", func(t *testing.T) string {
			t.Helper()
			dir := studies(t)
			addCase(t, dir, "a", size, mm, one(float32(math.Inf(1))), half)
			return dir
		}, nil, "none of the 1"},
		{"channels", func(t *testing.T) string {
			t.Helper()
			dir := studies(t)
			addCase(t, dir, "a", size, mm, one(float32(1)), half)
			addCase(t, dir, "b", size, mm, one(float32(1)), half)
			copyFile(t, filepath.Join(dir, "b.nii.gz"), filepath.Join(dir, "b_0000.nii.gz"))
			copyFile(t, filepath.Join(dir, "b.nii.gz"), filepath.Join(dir, "b_0001.nii.gz"))
			if err := os.Remove(filepath.Join(dir, "b.nii.gz")); err != nil {
				t.Fatal(err)
			}
			return dir
		}, nil, "case b has 2"},
		{"same value twice", studies, map[string]int{"a": 1, "b": 1}, "both have value 1"},
		{"value 0", studies, map[string]int{"a": 0}, "1..65535"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cases, _, err := Studies(tt.make(t))
			if err != nil {
				cases = []Case{{ID: "x"}}
			}
			_, err = Scan(t.Context(), cases, ScanOptions{Labels: tt.labels})
			if err == nil || !strings.Contains(err.Error(), tt.want) || fault.KindOf(err) != fault.Invalid {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	if _, err := Scan(t.Context(), nil, ScanOptions{}); err == nil {
		t.Error("no case at all is accepted")
	}
}

func TestScanStops(t *testing.T) {
	cases, _, err := Studies(phantoms(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Scan(ctx, cases, ScanOptions{}); fault.KindOf(err) != fault.Canceled {
		t.Errorf("%v, want a stop", err)
	}
}

// Without names, the values found are the classes.
func TestValuesBecomeClasses(t *testing.T) {
	f := scanOf(t, phantoms(t, 1), ScanOptions{})
	if len(f.Classes) != 2 || f.Classes[0].Name != "label_1" || f.Classes[1].Value != 2 {
		t.Errorf("classes %+v", f.Classes)
	}
}

func TestStudies(t *testing.T) {
	if _, _, err := Studies(filepath.Join(t.TempDir(), "absent")); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an absent folder: %v", err)
	}
	if _, _, err := Studies(t.TempDir()); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "labels/final") {
		t.Errorf("a folder without labels: %v", err)
	}
	dir := studies(t)
	for _, name := range []string{
		"a.nii.gz", "a.nrrd", "b_0000.nii", "b_0001.nii", ".hidden.nii", "readme.txt",
		"labels/final/a.nrrd", "labels/final/b.nii", "labels/final/c.nii", "labels/final/.x.nii",
	} {
		writeFile(t, filepath.Join(dir, filepath.FromSlash(name)), func(io.Writer) error { return nil })
	}
	cases, orphans, err := Studies(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, c := range cases {
		got.WriteString(c.ID + ":")
		for _, i := range c.Images {
			got.WriteString(" " + filepath.Base(i))
		}
		got.WriteString(" " + filepath.Base(c.Label) + "; ")
	}
	if want := "a: a.nii.gz a.nrrd; b: b_0000.nii b_0001.nii b.nii; "; got.String() != want || !slices.Equal(orphans, []string{"c"}) {
		t.Errorf("%q, want %q; orphans %v", got.String(), want, orphans)
	}
}

func TestRecordedLabels(t *testing.T) {
	tests := []struct {
		name, index, want, err string
	}{
		{"proposals", `{"objects":{"a":{"labels":{"final":{"info":{"params":{"label_names":{"background":0,"x":1,"y":2}}}}}}}}`, `{"x":1,"y":2}`, ""},
		{"Slicer", `{"objects":{"a":{"labels":{"final":{"info":{"label_info":[{"name":"background"},{"name":"x","idx":2},{"name":"y","idx":3}]}}}}}}`, `{"x":1,"y":2}`, ""},
		{"other tags", `{"objects":{"a":{"labels":{"original":{"info":{"params":{"label_names":{"x":1}}}}}}}}`, `null`, ""},
		{"nothing", `{"objects":{"a":{"labels":{"final":{"info":{}}}}}}`, `null`, ""},
		{"contradiction", `{"objects":{"a":{"labels":{"final":{"info":{"params":{"label_names":{"x":1}}}}}},
			"b":{"labels":{"final":{"info":{"params":{"label_names":{"x":2}}}}}}}}`, ``, "contradict"},
		{"no JSON", `{`, ``, "datastore_v2.json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "datastore_v2.json"), func(w io.Writer) error { _, err := io.WriteString(w, tt.index); return err })
			got, err := RecordedLabels(dir)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("%v, want %q", err, tt.err)
				}
				return
			}
			text, _ := json.Marshal(got)
			if err != nil || string(text) != tt.want {
				t.Errorf("%s, %v; want %s", text, err, tt.want)
			}
		})
	}
	if got, err := RecordedLabels(t.TempDir()); got != nil || err != nil {
		t.Errorf("without an index: %v, %v", got, err)
	}
}

// Sizes and spacings are told along RAS, whatever the order of the axes in the
// file, and cropped to what is not 0.
func TestFingerprintIsOriented(t *testing.T) {
	grid := imaging.Grid{Size: [3]int{6, 8, 10}} // stored axes run to I, R, P
	grid.Affine = imaging.Affine{{0, 2, 0, 0}, {0, 0, -3, 0}, {-1.5, 0, 0, 0}, {0, 0, 0, 1}}
	v, l := imaging.NewVolume(grid, 1, imaging.Float32), imaging.NewLabelMap(grid)
	d := v.Data.(imaging.Samples[float32])
	for i := range d {
		x, y, z := i%6, i/6%8, i/48
		if x >= 1 && x < 5 && y >= 2 && y < 5 && z >= 3 { // 4, 3 and 7 voxels
			d[i] = -1
		}
	}
	l.Data[7] = 1
	dir := studies(t)
	writeFile(t, filepath.Join(dir, "a.nii"), func(w io.Writer) error { return codec.Write(w, ".nii", v, codec.WriteOptions{}) })
	writeFile(t, filepath.Join(dir, finalLabels, "a.nii"), func(w io.Writer) error {
		return codec.WriteLabels(w, ".nii", l, imaging.Uint8, codec.WriteOptions{})
	})
	c := scanOf(t, dir, ScanOptions{}).Cases[0]
	if c.Orientation != "IRP" || c.Size != [3]int{8, 10, 6} || c.Cropped != [3]int{3, 7, 4} || c.Spacing != [3]float64{2, 3, 1.5} {
		t.Errorf("%+v", c)
	}
}
