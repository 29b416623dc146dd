package cli_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/harmonize"
	"github.com/voxloop/voxloop/internal/testkit"
)

func read(t *testing.T, path string) *imaging.Volume {
	t.Helper()
	v, err := codec.Read(t.Context(), path, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// save writes a one-channel 10×10×n float image.
func save(t *testing.T, path string, values []float32) {
	t.Helper()
	v := &imaging.Volume{
		Grid:     imaging.Grid{Size: [3]int{10, 10, len(values) / 100}, Affine: imaging.Identity()},
		Channels: 1, Slope: 1, Data: imaging.Samples[float32](values),
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := codec.Write(f, codec.Ext(path), v, codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// ramp is 1000 values around offset, scaled.
func ramp(scale, offset float64) []float32 {
	v := make([]float32, 1000)
	for i := range v {
		v[i] = float32(math.Sqrt(float64(i))*scale + offset)
	}
	return v
}

// tissue returns percentiles of the labelled part of a hippocampus.
func tissue(t *testing.T, image, label string) []float64 {
	t.Helper()
	v, l := read(t, image), read(t, label)
	var in []float64
	for i := range v.Voxels() {
		if l.Data.At(i) > 0 {
			in = append(in, v.Data.At(i)*v.Slope+v.Intercept)
		}
	}
	slices.Sort(in)
	var q []float64
	for _, p := range []float64{0.25, 0.5, 0.75} {
		q = append(q, in[int(p*float64(len(in)-1))])
	}
	return q
}

// spread is the largest deviation from the mean of cases, relative to it.
func spread(cases [][]float64) float64 {
	worst := 0.0
	for k := range cases[0] {
		mean := 0.0
		for _, c := range cases {
			mean += c[k] / float64(len(cases))
		}
		for _, c := range cases {
			worst = max(worst, math.Abs(c[k]-mean)/math.Abs(mean))
		}
	}
	return worst
}

// TestHarmonizeHippocampus: the cases' scales differ by factors; after Nyul's
// standardisation the hippocampus has nearly the same values in all of them,
// also in those that were not fitted. The crops have no air around them: all of
// their voxels are foreground.
func TestHarmonizeHippocampus(t *testing.T) {
	dir := testkit.Shared(t, "data", "hippocampus")
	all, err := filepath.Glob(filepath.Join(dir, "images", "hippocampus_*.nii.gz"))
	if err != nil || len(all) < 60 {
		t.Fatalf("%d cases, %v", len(all), err)
	}
	model := filepath.Join(t.TempDir(), "nyul.json")
	args := append([]string{"harmonize", "fit", "--method", "nyul", "--foreground", "nonzero", "--out", model, "--images"}, all[:30]...)
	if r := run(t, args...); r.code != 0 || r.errOut != "" || !strings.Contains(r.out, "30 images") {
		t.Fatalf("exit code %d, %q, %q", r.code, r.out, r.errOut)
	}
	var before, after [][]float64
	for _, image := range all[20:40] {
		label := filepath.Join(dir, "labels", filepath.Base(image))
		out := filepath.Join(t.TempDir(), "out.nii.gz")
		if r := run(t, "harmonize", "apply", "--model", model, "--image", image, "--out", out); r.code != 0 {
			t.Fatalf("exit code %d, %q", r.code, r.errOut)
		}
		if g, w := read(t, out), read(t, image); g.Distance(w.Grid) > 1e-3 || g.Data.Type() != imaging.Float32 {
			t.Fatalf("%s: the grid or the type changed", filepath.Base(image))
		}
		before, after = append(before, tissue(t, image, label)), append(after, tissue(t, out, label))
	}
	b, a := spread(before), spread(after)
	t.Logf("largest deviation of a case's tissue quartiles from their mean: %.3g of it before, %.3g after", b, a)
	if b < 1 || a > 0.2 {
		t.Errorf("the deviation is %g before (over 1 expected), %g after (at most 0.2)", b, a)
	}
}

// TestHarmonizeFitAgain: the same images give the same bytes.
func TestHarmonizeFitAgain(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"b.nii.gz", "a.nrrd", "c.nii"} {
		save(t, filepath.Join(dir, name), ramp(float64(i+1), 3))
	}
	var first []byte
	for _, args := range [][]string{{"--studies", dir}, {"--images", filepath.Join(dir, "c.nii"), filepath.Join(dir, "b.nii.gz"), filepath.Join(dir, "a.nrrd")}} {
		out := filepath.Join(dir, "m.json")
		if r := run(t, append([]string{"harmonize", "fit", "--method", "histogram", "--out", out}, args...)...); r.code != 0 {
			t.Fatalf("exit code %d, %q", r.code, r.errOut)
		}
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && string(first) != string(data) {
			t.Errorf("%v gives another model", args)
		}
		first = data
	}
}

// TestHarmonizeCT: labels choose the voxels, --json says what was learned, and
// the result is the formula's.
func TestHarmonizeCT(t *testing.T) {
	dir := t.TempDir()
	labels := filepath.Join(dir, "labels")
	if err := os.Mkdir(labels, 0o755); err != nil {
		t.Fatal(err)
	}
	v, l := ramp(10, -100), make([]float32, 1000)
	for i := 500; i < 1000; i++ {
		l[i] = 2
	}
	image, model, out := filepath.Join(dir, "x.nii.gz"), filepath.Join(dir, "ct.json"), filepath.Join(dir, "y.nrrd")
	save(t, image, v)
	save(t, filepath.Join(labels, "x.nrrd"), l)
	r := run(t, "harmonize", "fit", "--studies", dir, "--method", "ct", "--labels", labels, "--out", model, "--json")
	var m harmonize.Model
	if err := json.Unmarshal([]byte(r.out), &m); err != nil || r.code != 0 || m.Modality != "CT" || m.Provenance.Voxels != 500 {
		t.Fatalf("exit code %d, %q, %q: %v", r.code, r.out, r.errOut, err)
	}
	if m.CT.Min != float64(v[500]) || m.CT.Max != float64(v[999]) {
		t.Errorf("foreground from %g to %g, want %g to %g", m.CT.Min, m.CT.Max, v[500], v[999])
	}
	if r := run(t, "harmonize", "apply", "--model", model, "--image", image, "--out", out, "--json"); r.code != 0 || !strings.Contains(r.out, `"method": "ct"`) {
		t.Fatalf("exit code %d, %q, %q", r.code, r.out, r.errOut)
	}
	got := read(t, out)
	for _, i := range []int{0, 600, 999} {
		want := (min(max(float64(v[i]), m.CT.Lower), m.CT.Upper) - m.CT.Mean) / m.CT.Std
		if math.Abs(got.Data.At(i)-want) > 1e-5 {
			t.Errorf("%g → %g, want %g", v[i], got.Data.At(i), want)
		}
	}
}

// TestHarmonizeSites by a pattern and by a table.
func TestHarmonizeSites(t *testing.T) {
	dir := t.TempDir()
	save(t, filepath.Join(dir, "north_1.nii"), ramp(1, 0))
	save(t, filepath.Join(dir, "south_1.nii"), ramp(100, 50))
	table, model, out := filepath.Join(dir, "sites.csv"), filepath.Join(dir, "m.json"), filepath.Join(dir, "o.nrrd")
	if err := os.WriteFile(table, []byte("image,site\nnorth_1,north\nsouth_1.nii,south\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var first string
	for _, site := range []string{`^([a-z]+)_`, table} {
		r := run(t, "harmonize", "fit", "--images", filepath.Join(dir, "north_1.nii"), "--images", filepath.Join(dir, "south_1.nii"),
			"--method", "zscore_site", "--site", site, "--out", model, "--json")
		if r.code != 0 || !strings.Contains(r.out, `"site": "south"`) || first != "" && r.out != first {
			t.Errorf("%s: exit code %d, %s%s", site, r.code, r.out, r.errOut)
		}
		first = r.out
	}
	if r := run(t, "harmonize", "apply", "--model", model, "--site", "south", "--image", filepath.Join(dir, "south_1.nii"), "--out", out); r.code != 0 {
		t.Fatalf("exit code %d, %q", r.code, r.errOut)
	}
	if v := read(t, out); v.Data.At(0) > -2 || v.Data.At(999) > 2 || v.Data.At(999) < 1 {
		t.Errorf("from %g to %g", v.Data.At(0), v.Data.At(999))
	}
	r := run(t, "harmonize", "apply", "--model", model, "--image", filepath.Join(dir, "south_1.nii"), "--out", out)
	if r.code != 1 || !strings.Contains(r.errOut, "needs a site: north, south") {
		t.Errorf("no site: exit code %d, %q", r.code, r.errOut)
	}
	if r := run(t, "harmonize", "apply", "--model", model, "--test-time", "1", "--image", filepath.Join(dir, "south_1.nii"), "--out", out); r.code != 0 {
		t.Errorf("by its own numbers: exit code %d, %q", r.code, r.errOut)
	}
}

// TestHarmonizeReference: matched with an image that is the same up to a
// factor, an image becomes that one.
func TestHarmonizeReference(t *testing.T) {
	dir := t.TempDir()
	want := ramp(7, -20)
	image, ref, out := filepath.Join(dir, "a.nii.gz"), filepath.Join(dir, "b.nii.gz"), filepath.Join(dir, "c.nii.gz")
	save(t, image, ramp(1, 0))
	save(t, ref, want)
	if r := run(t, "harmonize", "apply", "--reference", ref, "--image", image, "--out", out); r.code != 0 {
		t.Fatalf("exit code %d, %q", r.code, r.errOut)
	}
	for i, v := 0, read(t, out); i < 1000; i++ {
		if v.Data.At(i) != float64(want[i]) {
			t.Fatalf("voxel %d is %g, want %g", i, v.Data.At(i), want[i])
		}
	}
}

// TestHarmonizeSkips: bad images are named, the model is written, the exit
// code is 1.
func TestHarmonizeSkips(t *testing.T) {
	dir, model := t.TempDir(), filepath.Join(t.TempDir(), "m.json")
	save(t, filepath.Join(dir, "a.nii.gz"), ramp(1, 0))
	save(t, filepath.Join(dir, "flat.nii.gz"), make([]float32, 1000))
	nan := ramp(1, 0)
	nan[3] = float32(math.NaN())
	save(t, filepath.Join(dir, "nan.nrrd"), nan)
	if err := os.WriteFile(filepath.Join(dir, "text.nii"), []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, "harmonize", "fit", "--studies", dir, "--method", "nyul", "--out", model)
	lines := strings.Split(strings.TrimSpace(r.errOut), "\n")
	if r.code != 1 || len(lines) != 4 || !strings.Contains(lines[3], "3 of 4 images could not be used") {
		t.Fatalf("exit code %d, %q", r.code, r.errOut)
	}
	for i, want := range []string{"skipped flat.nii.gz: the image has no foreground", "skipped nan.nrrd: 1 of 1000 voxels are NaN", "skipped text.nii: "} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %q, want %q", lines[i], want)
		}
	}
	if r := run(t, "harmonize", "apply", "--model", model, "--image", filepath.Join(dir, "a.nii.gz"), "--out", filepath.Join(t.TempDir(), "o.nii")); r.code != 0 {
		t.Errorf("the model of the good image: exit code %d, %q", r.code, r.errOut)
	}
	out := filepath.Join(t.TempDir(), "o.nii")
	r = run(t, "harmonize", "apply", "--model", model, "--image", filepath.Join(dir, "nan.nrrd"), "--out", out)
	if _, err := os.Stat(out); r.code != 1 || err == nil || !strings.Contains(r.errOut, "NaN") {
		t.Errorf("a bad image: exit code %d, %q, file %v", r.code, r.errOut, err)
	}
}

func TestHarmonizeUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	save(t, "a.nii", ramp(1, 0))
	for name, text := range map[string]string{"bad.json": `{"version": 1, "colour": 2}`, "bad.csv": "name,site\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"harmonize", 2, "fit, apply"},
		{"harmonize fit", 2, "--studies"},
		{"harmonize fit --studies . --images a.nii --method nyul --out m.json", 2, "one of them"},
		{"harmonize fit --studies . a.nii --method nyul --out m.json", 2, `"a.nii"`},
		{"harmonize fit --studies . --out m.json", 2, "--method"},
		{"harmonize fit --studies . --method combat --out m.json", 2, `"combat"`},
		{"harmonize fit --studies . --method nyul", 2, "--out"},
		{"harmonize fit --studies . --method nyul --out m.txt", 2, "m.txt"},
		{"harmonize fit --studies . --method nyul --labels x --out m.json", 2, `"label"`},
		{"harmonize fit --studies . --method nyul --foreground some --out m.json", 2, `"some"`},
		{"harmonize fit --studies . --method nyul --foreground label --out m.json", 2, "--labels"},
		{"harmonize fit --studies . --method zscore --labels x --foreground all --out m.json", 2, "contradicts"},
		{"harmonize fit --studies . --method ct --out m.json", 2, "--labels"},
		{"harmonize fit --studies . --method zscore_site --out m.json", 2, "--site"},
		{"harmonize fit --studies . --method zscore --site (.)x --out m.json", 2, "zscore_site"},
		{"harmonize fit --studies . --method zscore_site --site x --out m.json", 2, "one group"},
		{"harmonize fit --studies . --method zscore_site --site ( --out m.json", 2, "--site ("},
		{"harmonize fit --studies . --method zscore_site --site bad.csv --out m.json", 1, "image,site"},
		{"harmonize fit --studies . --method zscore --scale 0,1 --out m.json", 2, "belong to method nyul"},
		{"harmonize fit --studies . --method zscore --clip --out m.json", 2, "belong to method percentile"},
		{"harmonize fit --studies . --method nyul --scale 1 --out m.json", 2, "two numbers"},
		{"harmonize fit --studies . --method nyul --scale 5,1 --out m.json", 2, "does not rise"},
		{"harmonize fit --studies . --method nyul --scale 1,b --out m.json", 2, `"b" is no number`},
		{"harmonize fit --studies . --method nyul --percentiles 5,200 --out m.json", 2, "0..100"},
		{"harmonize fit --studies . --method percentile --percent 5,3 --out m.json", 2, "0..100"},
		{"harmonize fit --studies . --method nyul --channel -2 --out m.json", 2, "--channel -2"},
		{"harmonize fit --images a.nii a.nii --method nyul --out m.json", 2, "twice"},
		{"harmonize fit --studies none --method nyul --out m.json", 1, "none"},
		{"harmonize fit --images none.nii --method nyul --out m.json", 1, "none of the 1 images"},
		{"harmonize fit --images a.nii --method nyul --channel 1 --out m.json", 1, "none of the 1 images"},
		{"harmonize fit --images a.nii --method zscore --labels . --out none/m.json", 1, "none"},
		{"harmonize apply", 2, "--model"},
		{"harmonize apply --model m.json --reference a.nii", 2, "one of them"},
		{"harmonize apply --model m.json", 2, "--image"},
		{"harmonize apply --model m.json --image a.nii", 2, "--out"},
		{"harmonize apply --model m.json --image a.nii --out o.seg.nrrd", 2, "o.seg.nrrd"},
		{"harmonize apply --reference a.nii --image a.nii --out o.nii --site x", 2, "belong to --model"},
		{"harmonize apply --model m.json --image a.nii --out o.nii --test-time 2", 2, "--test-time 2"},
		{"harmonize apply --model m.json --image a.nii --out o.nii", 1, "m.json"},
		{"harmonize apply --model bad.json --image a.nii --out o.nii", 1, `unknown field "colour"`},
		{"harmonize apply --reference a.nii --image none.nii --out o.nii", 1, "none.nii"},
	} {
		r := run(t, strings.Fields(tt.args)...)
		if r.code != tt.code || !strings.Contains(r.errOut, tt.want) {
			t.Errorf("%s: exit code %d, want %d; %q, want %q in it", tt.args, r.code, tt.code, r.errOut, tt.want)
		}
		last := strings.Split(strings.TrimSpace(r.errOut), "\n")
		if !strings.HasPrefix(last[len(last)-1], "voxloop: ") {
			t.Errorf("%s: standard error %q", tt.args, r.errOut)
		}
	}
	if _, err := os.Stat("m.json"); err == nil {
		t.Error("a refused command has written a model")
	}
}
