package evaluate_test

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/evaluate"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/goldentest"
	"github.com/voxloop/voxloop/internal/imaging/metrics"
	"github.com/voxloop/voxloop/internal/imaging/morph"
)

// writeProbabilities writes channels of x-fastest voxels; flipped stores the x
// axis the other way round, at the same place.
func writeProbabilities(t *testing.T, path string, g imaging.Grid, channels [][]float64, flipped bool) {
	t.Helper()
	nx, n := g.Size[0], g.Voxels()
	data := make(imaging.Samples[float32], 0, n*len(channels))
	for _, c := range channels {
		for i := range c {
			if flipped {
				i = i/nx*nx + nx - 1 - i%nx
			}
			data = append(data, float32(c[i]))
		}
	}
	if flipped {
		g = g.Remap(imaging.AxisMap{Source: [3]int{0, 1, 2}, Flip: [3]bool{true, false, false}})
	}
	v := &imaging.Volume{Grid: g, Channels: len(channels), Slope: 1, Data: data}
	if err := codec.WriteFile(t.Context(), path, v, codec.WriteOptions{Compress: true}); err != nil {
		t.Fatal(err)
	}
}

// calibrated evaluates with probabilities and returns calibration.csv by case.
func calibrated(t *testing.T, f folders, probabilities string, o evaluate.Options) (map[string][]string, *evaluate.Result, evaluate.Summary) {
	t.Helper()
	pairs, skipped, err := evaluate.FindPairs(f.pred, f.truth)
	if err != nil {
		t.Fatal(err)
	}
	missing, err := evaluate.AddProbabilities(pairs, probabilities)
	if err != nil {
		t.Fatal(err)
	}
	res, err := evaluate.Cohort(t.Context(), pairs, skipped, o)
	if err != nil {
		t.Fatal(err)
	}
	res.Uncalibrated = append(missing, res.Uncalibrated...)
	out, s := t.TempDir(), summary(t, res)
	if _, err := res.WriteTo(t.Context(), s, out, 0, ""); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(out, "calibration.csv"))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(strings.NewReader(string(b))).ReadAll()
	if err != nil || !slices.Equal(lines[0], []string{"case", "voxels", "ece", "mce", "brier", "nll"}) {
		t.Fatalf("%v: %s", err, b)
	}
	rows := map[string][]string{}
	for _, l := range lines[1:] {
		rows[l[0]] = l[1:]
	}
	if _, err := json.Marshal(s); err != nil {
		t.Error(err)
	}
	return rows, res, s
}

// The recorded calibrations come out of files, in any orientation and format,
// for two and three classes; two classes also from the foreground's channel.
func TestCalibrationGolden(t *testing.T) {
	f, probabilities := folders{t.TempDir(), t.TempDir()}, t.TempDir()
	cases := goldentest.Read(t, "metrics", "ECE, MCE, Brier, NLL (own definition)")
	for i, c := range cases {
		truth, size := goldentest.Labels(t, c.Input(t, "truth"))
		channels, _ := goldentest.Channels(t, c.Input(t, "probabilities"))
		if c.Name == "calibration_binary" {
			channels = channels[1:]
		}
		l := &imaging.LabelMap{Grid: imaging.Grid{Size: size, Affine: imaging.Identity()}, Data: truth}
		f.add(t, c.Name+".nii", l, l)
		path := filepath.Join(probabilities, c.Name+[]string{".nii.gz", ".nrrd"}[i%2])
		writeProbabilities(t, path, l.Grid, channels, i%2 == 0)
	}
	rows, res, s := calibrated(t, f, probabilities, evaluate.Options{})
	if len(res.Uncalibrated) != 0 || len(rows) != len(cases) || len(cases) < 4 {
		t.Fatalf("%d of %d cases: %v", len(rows), len(cases), res.Uncalibrated)
	}
	var ece, brier float64
	for _, c := range cases {
		for i, key := range []string{"ece", "mce", "brier", "nll"} {
			got, err := strconv.ParseFloat(rows[c.Name][1+i], 64)
			if want := c.Numbers(t, c.Expected[key])[0]; err != nil || math.Abs(got-want) > 1e-6*(1+want) {
				t.Errorf("%s: %s is %v, want %v (%v)", c.Name, key, got, want, err)
			}
		}
		ece += c.Numbers(t, c.Expected["ece"])[0] / float64(len(cases))
		brier += c.Numbers(t, c.Expected["brier"])[0] / float64(len(cases))
	}
	k := s.Calibration
	if math.Abs(*k.ECE.Mean-ece) > 1e-6 || k.ECE.N != len(cases) || *k.ECE.Low >= ece || *k.ECE.High <= ece {
		t.Errorf("mean ECE %v [%v, %v], want %v", *k.ECE.Mean, *k.ECE.Low, *k.ECE.High, ece)
	}
	voxels := 0
	for _, b := range k.Pooled.Bins {
		voxels += b.Voxels
	}
	if math.Abs(k.Pooled.Brier-brier) > 1e-6 || voxels != len(cases)*990 || len(k.Pooled.Bins) != 15 { // all have 990 voxels
		t.Errorf("of all voxels: %d in %d bins, Brier %v, want %v", voxels, len(k.Pooled.Bins), k.Pooled.Brier, brier)
	}
}

// What cannot be used is named; the case is evaluated nevertheless. A manifest
// says which channel is which label.
func TestCalibrationRefuses(t *testing.T) {
	f, probabilities := folders{t.TempDir(), t.TempDir()}, t.TempDir()
	l := blocks(map[uint16][]morph.Box{7: {box(2, 2, 2, 9, 9, 9)}})
	n := l.Voxels()
	flat := func(v ...float64) [][]float64 {
		var out [][]float64
		for _, x := range v {
			out = append(out, slices.Repeat([]float64{x}, n))
		}
		return out
	}
	moved := l.Grid
	moved.Affine[0][3] = 3
	for name, tt := range map[string]struct {
		grid     imaging.Grid
		channels [][]float64
	}{
		"good": {l.Grid, flat(0.25, 0.75)}, "logits": {l.Grid, flat(-3, 4)}, "nan": {l.Grid, flat(math.NaN(), 0.5)},
		"sum": {l.Grid, flat(0.5, 0.7)}, "many": {l.Grid, flat(0.2, 0.3, 0.5)}, "moved": {moved, flat(0.5, 0.5)},
	} {
		f.add(t, name+".nii", l, l)
		writeProbabilities(t, filepath.Join(probabilities, name+".nii.gz"), tt.grid, tt.channels, false)
	}
	f.add(t, "none.nii", l, l)
	rows, res, _ := calibrated(t, f, probabilities, evaluate.Options{Classes: []evaluate.Class{{Label: 7}}})
	want := map[string]string{
		"logits": "not within 0..1", "nan": "NaN", "sum": "add up to 1.2", "many": "3 channels", "moved": "another grid", "none": "no probabilities",
	}
	for _, k := range res.Uncalibrated {
		if !strings.Contains(k.Reason, want[k.Case]) || want[k.Case] == "" {
			t.Errorf("%s: %s", k.Case, k.Reason)
		}
	}
	if len(res.Uncalibrated) != len(want) || len(res.Cases) != 7 || len(rows) != 1 {
		t.Errorf("%d cases, %d calibrated, %v", len(res.Cases), len(rows), res.Uncalibrated)
	}
	share := 512.0 / float64(n) // label 7 is the second channel: right where it is
	if brier, _ := strconv.ParseFloat(rows["good"][3], 64); math.Abs(brier-(share*2*0.0625+(1-share)*2*0.5625)) > 1e-6 {
		t.Errorf("Brier %v", rows["good"])
	}
	_, res, _ = calibrated(t, f, probabilities, evaluate.Options{})
	if i := slices.IndexFunc(res.Uncalibrated, func(k evaluate.Skip) bool { return k.Case == "good" }); i < 0 ||
		!strings.Contains(res.Uncalibrated[i].Reason, "label 7") {
		t.Errorf("without a manifest: %v", res.Uncalibrated)
	}
	if _, err := evaluate.AddProbabilities(nil, filepath.Join(probabilities, "no")); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
}

// NSD by area, of every pair for which it is recorded.
func TestAreaGolden(t *testing.T) {
	f := folders{t.TempDir(), t.TempDir()}
	cases := slices.DeleteFunc(goldentest.Read(t, "metrics", surfaceOperation), func(c goldentest.Case) bool {
		_, ok := c.Expected["nsd2_mm_subvoxel"]
		return !ok
	})
	for _, c := range cases {
		for dir, key := range map[string]string{f.pred: "prediction", f.truth: "truth"} {
			data, size := goldentest.Labels(t, c.Input(t, key))
			writeLabels(t, filepath.Join(dir, c.Name+".nii"), data, size, goldentest.Param(t, c, "spacing", [3]float64{}))
		}
	}
	rows, res := evaluateFolders(t, f.pred, f.truth, evaluate.Options{Area: true, Tolerance: 2})
	compared := 0
	for _, c := range cases {
		for class := 1; class < goldentest.Param(t, c, "classes", 0); class++ {
			want := c.Numbers(t, c.Expected["nsd2_mm_subvoxel"])[class-1]
			if got := cell(t, rows[c.Name+"/"+strconv.Itoa(class)], "nsd"); !c.Close(got, want) {
				t.Errorf("%s, class %d: %v, want %v", c.Name, class, got, want)
			}
			compared++
		}
	}
	if s := summary(t, res); compared < 26 || s.Settings.Surface != "area" {
		t.Errorf("%d compared, %+v", compared, s.Settings)
	}
}

// The generalised Dice of every recorded pair, with each weight.
func TestGeneralisedDiceGolden(t *testing.T) {
	f := folders{t.TempDir(), t.TempDir()}
	cases := goldentest.Read(t, "metrics", confusionOperation)
	for _, c := range cases {
		for dir, key := range map[string]string{f.pred: "prediction", f.truth: "truth"} {
			data, size := goldentest.Labels(t, c.Input(t, key))
			writeLabels(t, filepath.Join(dir, c.Name+".nii"), data, size, [3]float64{1, 1, 1})
		}
	}
	for _, w := range []metrics.Weight{metrics.Square, metrics.Simple, metrics.Uniform} {
		if got, err := metrics.ParseWeight(w.String()); err != nil || got != w {
			t.Errorf("%s: %v, %v", w, got, err)
		}
		_, res := evaluateFolders(t, f.pred, f.truth, evaluate.Options{Weight: w})
		for i, c := range cases {
			j := slices.IndexFunc(res.Cases, func(k evaluate.Case) bool { return k.Name == c.Name })
			want := c.Numbers(t, c.Expected["generalized_dice_"+w.String()+"_sum1_bg0"])[0]
			if got := res.Cases[j].GeneralisedDice; !c.Close(got, want) {
				t.Errorf("%d %s, %s: %v, want %v", i, c.Name, w, got, want)
			}
		}
		if s := summary(t, res); s.GeneralisedDice.N != len(cases) || s.Settings.Weight != w.String() {
			t.Errorf("%s: %+v", w, s.GeneralisedDice)
		}
	}
	if _, err := metrics.ParseWeight("cube"); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}
