package evaluate_test

import (
	"context"
	"encoding/json"
	"errors"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/voxloop/voxloop/internal/evaluate"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/metrics"
	"github.com/voxloop/voxloop/internal/imaging/morph"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// blocks returns a map of 20×18×16 voxels of 1×2×3 mm with filled cuboids.
func blocks(boxes map[uint16][]morph.Box) *imaging.LabelMap {
	l := imaging.NewLabelMap(imaging.Grid{Size: [3]int{20, 18, 16}, Affine: imaging.Affine{{1, 0, 0, 0}, {0, 2, 0, 0}, {0, 0, 3, 0}, {0, 0, 0, 1}}})
	for label, list := range boxes {
		for _, b := range list {
			for z := b.Min[2]; z <= b.Max[2]; z++ {
				for y := b.Min[1]; y <= b.Max[1]; y++ {
					for x := b.Min[0]; x <= b.Max[0]; x++ {
						l.Data[x+20*(y+18*z)] = label
					}
				}
			}
		}
	}
	return l
}

func box(x0, y0, z0, x1, y1, z1 int) morph.Box {
	return morph.Box{Min: [3]int{x0, y0, z0}, Max: [3]int{x1, y1, z1}}
}

type folders struct{ pred, truth string }

func (f folders) add(t *testing.T, name string, pred, truth *imaging.LabelMap) {
	t.Helper()
	writeMap(t, filepath.Join(f.pred, name), pred)
	writeMap(t, filepath.Join(f.truth, name), truth)
}

func summary(t *testing.T, r *evaluate.Result) evaluate.Summary {
	t.Helper()
	s, err := r.Summary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTable checks every column of a pair that can be worked out by hand.
func TestTable(t *testing.T) {
	f := folders{t.TempDir(), t.TempDir()}
	truth := blocks(map[uint16][]morph.Box{3: {box(2, 2, 2, 5, 5, 5), box(10, 10, 10, 10, 10, 10)}})
	pred := blocks(map[uint16][]morph.Box{3: {box(3, 2, 2, 6, 5, 5), box(15, 2, 2, 15, 2, 3)}})
	f.add(t, "a.nii", pred, truth)
	rows, res := evaluateFolders(t, f.pred, f.truth, evaluate.Options{Classes: []evaluate.Class{{3, "cyst"}, {4, "bone"}}})
	want := map[string]string{
		"case": "a", "label": "3", "name": "cyst", "tp": "48", "fp": "18", "fn": "17",
		"dice": "0.732824427", "iou": "0.578313253", "sensitivity": "0.738461538", "precision": "0.727272727",
		"volume_pred_mm3": "396.000000000", "volume_truth_mm3": "390.000000000", "volume_error_mm3": "6.000000000", "volume_error_rel": "0.015384615",
		"lesions_truth": "2", "lesions_pred": "2", "lesion_tp": "1", "lesion_fp": "1", "lesion_fn": "1",
		"lesion_sensitivity": "0.500000000", "lesion_precision": "0.500000000",
	}
	for key, w := range want {
		if got := rows["a/3"][key]; got != w {
			t.Errorf("%s = %q, want %q", key, got, w)
		}
	}
	// From the false speck at x 15 to the block's face at x 5: 10 mm. From the
	// missed voxel (10, 10, 10) to the block's corner (6, 5, 5): √(4²+10²+15²).
	if got := rows["a/3"]["hd_mm"]; got != "18.466184616" {
		t.Errorf("hd_mm = %s, want 18.466184616", got)
	}
	for _, key := range []string{"dice", "hd95_mm", "sensitivity", "lesion_precision"} {
		if got := rows["a/4"][key]; got != "" {
			t.Errorf("the absent class has %s = %q, want none", key, got)
		}
	}
	if got := rows["a/4"]["specificity"]; got != "1.000000000" {
		t.Errorf("the absent class has specificity %q, want 1", got)
	}
	if c := res.Cases[0]; c.Wrong != 35 || math.Abs(c.Dice-0.732824427) > 1e-9 {
		t.Errorf("case %+v", c)
	}
}

func TestConventions(t *testing.T) {
	f := folders{t.TempDir(), t.TempDir()}
	one := []morph.Box{box(3, 3, 3, 6, 6, 6)}
	f.add(t, "found.nii", blocks(map[uint16][]morph.Box{1: one}), blocks(map[uint16][]morph.Box{1: one}))
	f.add(t, "invented.nii", blocks(map[uint16][]morph.Box{1: one}), blocks(nil))
	f.add(t, "missed.nii", blocks(nil), blocks(map[uint16][]morph.Box{1: one}))
	f.add(t, "neither.nii", blocks(nil), blocks(nil))
	for _, tt := range []struct {
		empty                               metrics.Empty
		invented, missed, neither, distance string
	}{
		{metrics.MONAI, "", "0.000000000", "", "inf"},
		{metrics.MONAIKeep, "0.000000000", "0.000000000", "1.000000000", "inf"},
		{metrics.NNUNet, "0.000000000", "0.000000000", "", ""},
	} {
		rows, res := evaluateFolders(t, f.pred, f.truth, evaluate.Options{Empty: tt.empty})
		for name, want := range map[string]string{"found": "1.000000000", "invented": tt.invented, "missed": tt.missed, "neither": tt.neither} {
			if got := rows[name+"/1"]["dice"]; got != want {
				t.Errorf("%s: dice of %s = %q, want %q", tt.empty, name, got, want)
			}
		}
		for _, name := range []string{"invented", "missed"} {
			if got := rows[name+"/1"]["assd_mm"]; got != tt.distance {
				t.Errorf("%s: assd_mm of %s = %q, want %q", tt.empty, name, got, tt.distance)
			}
		}
		s := summary(t, res)
		if got := s.Classes[0].Metrics["assd_mm"]; tt.distance == "inf" && got.Infinite != 2 || got.N != 1 || *got.Mean != 0 {
			t.Errorf("%s: statistics of assd_mm %+v", tt.empty, got)
		}
	}
}

// TestBadPairs checks that what cannot be used is named and the rest is
// evaluated.
func TestBadPairs(t *testing.T) {
	f := folders{t.TempDir(), t.TempDir()}
	good := blocks(map[uint16][]morph.Box{1: {box(3, 3, 3, 6, 6, 6)}})
	f.add(t, "good.nii.gz", good, good)
	moved := blocks(nil)
	moved.Affine[0][3] = 0.4
	f.add(t, "moved.nii.gz", moved, good)
	f.add(t, "torn.nii", good, good)
	f.add(t, "double.nii", good, good)
	writeMap(t, filepath.Join(f.truth, "double.nrrd"), good)
	writeMap(t, filepath.Join(f.truth, "alone.nrrd"), good)
	writeMap(t, filepath.Join(f.pred, "only.nrrd"), good)
	pair, err := good.Volume(imaging.Uint8)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pair.HDR", "zipped.hdr.gz"} { // counted by their headers
		for _, dir := range []string{f.pred, f.truth} {
			if err := codec.WriteFile(t.Context(), filepath.Join(dir, name), pair, codec.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Truncate(filepath.Join(f.pred, "torn.nii"), 1000); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.pred, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, res := evaluateFolders(t, f.pred, f.truth, evaluate.Options{})
	if len(res.Cases) != 3 || res.Cases[0].Name != "good" || res.Cases[1].Name != "pair" || res.Cases[2].Name != "zipped" {
		t.Errorf("cases %+v, want good, pair, zipped", res.Cases)
	}
	want := map[string]string{
		"alone": "no prediction", "double": "several truths", "moved": "the grids differ", "only": "no truth", "torn": "prediction",
	}
	if len(res.Skipped) != len(want) || !slices.IsSortedFunc(res.Skipped, func(a, b evaluate.Skip) int { return strings.Compare(a.Case, b.Case) }) {
		t.Errorf("skipped %+v", res.Skipped)
	}
	for _, s := range res.Skipped {
		if !strings.Contains(s.Reason, want[s.Case]) || want[s.Case] == "" || strings.Contains(s.Reason, f.pred) {
			t.Errorf("%s: %q, want it to tell %q and no folder", s.Case, s.Reason, want[s.Case])
		}
	}
}

// TestAnyOrientation: a prediction whose axes are stored in another order is
// the same prediction.
func TestAnyOrientation(t *testing.T) {
	f := folders{t.TempDir(), t.TempDir()}
	truth := blocks(map[uint16][]morph.Box{1: {box(2, 3, 4, 9, 8, 7)}})
	g, m, err := truth.Orient("SLA")
	if err != nil {
		t.Fatal(err)
	}
	turned := imaging.NewLabelMap(g)
	for i := range turned.Data {
		p := [3]int{i % g.Size[0], i / g.Size[0] % g.Size[1], i / (g.Size[0] * g.Size[1])}
		var q [3]int
		for a := range 3 {
			q[m.Source[a]] = p[a]
			if m.Flip[a] {
				q[m.Source[a]] = g.Size[a] - 1 - p[a]
			}
		}
		turned.Data[i] = truth.Data[q[0]+20*(q[1]+18*q[2])]
	}
	f.add(t, "a.nii.gz", turned, truth)
	rows, _ := evaluateFolders(t, f.pred, f.truth, evaluate.Options{})
	if got := rows["a/1"]["dice"]; got != "1.000000000" {
		t.Errorf("dice %q, want 1", got)
	}
}

func TestSummary(t *testing.T) {
	f := folders{t.TempDir(), t.TempDir()}
	truth := blocks(map[uint16][]morph.Box{1: {box(2, 2, 2, 11, 11, 11)}})
	for i, name := range []string{"c0", "c1", "c2", "c3"} { // 0 to 3 of 10 planes are missed
		f.add(t, name+".nii", blocks(map[uint16][]morph.Box{1: {box(2, 2, 2, 11-i, 11, 11)}}), truth)
	}
	_, res := evaluateFolders(t, f.pred, f.truth, evaluate.Options{Seed: 7})
	s := summary(t, res)
	d := s.Classes[0].Metrics["dice"]
	want := (1 + 18.0/19 + 16.0/18 + 14.0/17) / 4
	if math.Abs(*d.Mean-want) > 1e-12 || d.N != 4 || *d.Min != 14.0/17 || *d.Max != 1 {
		t.Errorf("dice %+v, mean %v, want %v", d, *d.Mean, want)
	}
	if *d.Low < *d.Min || *d.High > *d.Max || *d.Low >= *d.Mean || *d.High <= *d.Mean {
		t.Errorf("interval [%v, %v] around %v", *d.Low, *d.High, *d.Mean)
	}
	again := summary(t, res).Classes[0].Metrics["dice"]
	if *again.Low != *d.Low || *again.High != *d.High {
		t.Error("the same seed gave another interval")
	}
	var order []string
	for _, c := range s.Worst {
		order = append(order, c.Case)
	}
	if !slices.Equal(order, []string{"c3", "c2", "c1", "c0"}) {
		t.Errorf("worst first: %v", order)
	}
}

// TestFiles checks what is written, and that an earlier evaluation's pictures
// go while other files stay.
func TestFiles(t *testing.T) {
	f, out := folders{t.TempDir(), t.TempDir()}, t.TempDir()
	truth := blocks(map[uint16][]morph.Box{1: {box(2, 2, 2, 11, 11, 11)}})
	f.add(t, "a|b.nii", blocks(map[uint16][]morph.Box{1: {box(2, 2, 2, 9, 11, 11)}}), truth)
	f.add(t, "perfect.nii", truth, truth)
	overlays := filepath.Join(out, evaluate.OverlayFolder)
	if err := os.Mkdir(overlays, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"004_old.png", "mine.png"} {
		if err := os.WriteFile(filepath.Join(overlays, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pairs, skipped, err := evaluate.FindPairs(f.pred, f.truth)
	if err != nil {
		t.Fatal(err)
	}
	res, err := evaluate.Cohort(t.Context(), pairs, skipped, evaluate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if bare, err := res.WriteTo(t.Context(), summary(t, res), out, 5, ""); err != nil || len(bare) > 0 {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(overlays)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"001_a|b.png", "mine.png"}) {
		t.Errorf("pictures %v", names)
	}
	var s evaluate.Summary
	b, err := os.ReadFile(filepath.Join(out, "summary.json"))
	if err != nil || json.Unmarshal(b, &s) != nil || s.Cases != 2 {
		t.Errorf("summary.json: %v, %d cases", err, s.Cases)
	}
	md, err := os.ReadFile(filepath.Join(out, "summary.md"))
	if err != nil || !strings.Contains(string(md), `| a\|b | 0.8889 | 200 |`) {
		t.Errorf("summary.md: %v\n%s", err, md)
	}
}

// TestPicture checks what the planes show at known places.
func TestPicture(t *testing.T) {
	f, images, out := folders{t.TempDir(), t.TempDir()}, t.TempDir(), t.TempDir()
	truth := blocks(map[uint16][]morph.Box{1: {box(2, 2, 2, 11, 11, 11)}})
	pred := blocks(map[uint16][]morph.Box{1: {box(2, 2, 2, 9, 11, 11), box(15, 5, 11, 16, 6, 11)}})
	f.add(t, "a.nii", pred, truth)
	grey := blocks(nil)
	for i := range grey.Data {
		grey.Data[i] = 100
	}
	writeMap(t, filepath.Join(images, "a.nii"), grey)
	_, res := evaluateFolders(t, f.pred, f.truth, evaluate.Options{})
	if bare, err := res.WriteTo(t.Context(), summary(t, res), out, 1, images); err != nil || len(bare) > 0 {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(out, evaluate.OverlayFolder, "001_a.png"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(file)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	// 20, 36, 48 mm along x, y, z at 8 pixels per mm; the axial plane shows
	// x mirrored (patient's right at the left, RAS x grows to the right side).
	if b := img.Bounds(); b.Dx() != 160+8+160+8+288 || b.Dy() != 384 {
		t.Fatalf("picture of %v", b)
	}
	at := func(x, y int) color.RGBA { // centre of voxel (x, y) of the axial plane
		return color.RGBAModel.Convert(img.At((19-x)*8+4, (17-y)*16+8)).(color.RGBA)
	}
	for _, tt := range []struct {
		what string
		x, y int
		r    func(c color.RGBA) bool
	}{
		{"right", 5, 5, func(c color.RGBA) bool { return c.G > c.R && c.G > c.B }},
		{"missed", 11, 5, func(c color.RGBA) bool { return c.B > c.R && c.B > c.G }},
		{"invented", 15, 5, func(c color.RGBA) bool { return c.R > c.G && c.R > c.B }},
		{"background", 0, 0, func(c color.RGBA) bool { return c.R == c.G && c.R == c.B }},
	} {
		if c := at(tt.x, tt.y); !tt.r(c) {
			t.Errorf("%s at (%d, %d): %v", tt.what, tt.x, tt.y, c)
		}
	}
}

// A picture whose image cannot be used is drawn without it, and named.
func TestPictureWithoutItsImage(t *testing.T) {
	f, images, out := folders{t.TempDir(), t.TempDir()}, t.TempDir(), t.TempDir()
	truth := blocks(map[uint16][]morph.Box{1: {box(2, 2, 2, 11, 11, 11)}})
	for i, name := range []string{"text.nii", "moved.nii", "none.nii"} {
		f.add(t, name, blocks(map[uint16][]morph.Box{1: {box(2, 2, 2, 9+i, 9, 11)}}), truth)
	}
	moved := blocks(nil)
	moved.Affine[0][3] += 5
	writeMap(t, filepath.Join(images, "moved.nii"), moved)
	if err := os.WriteFile(filepath.Join(images, "text.nii"), []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, res := evaluateFolders(t, f.pred, f.truth, evaluate.Options{})
	bare, err := res.WriteTo(t.Context(), summary(t, res), out, 5, images)
	if err != nil || len(bare) != 2 || bare[0].Case != "text" || !strings.Contains(bare[0].Reason, "neither NIfTI nor NRRD") ||
		bare[1].Case != "moved" || !strings.Contains(bare[1].Reason, "another grid") {
		t.Errorf("%v, %v", bare, err)
	}
	for _, name := range []string{"001_text.png", "002_moved.png", "003_none.png"} {
		if _, err := os.Stat(filepath.Join(out, evaluate.OverlayFolder, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := res.WriteTo(t.Context(), summary(t, res), filepath.Join(out, "later"), 5, filepath.Join(images, "none")); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no folder of images: %v", err)
	}
	if _, err := os.Stat(filepath.Join(out, "later")); err == nil {
		t.Error("a folder was made for nothing")
	}
}

func TestAblation(t *testing.T) {
	f := folders{t.TempDir(), t.TempDir()}
	for i, name := range []string{"a", "b", "c", "d", "e", "f"} {
		body := box(2, 2, 2, 11, 11, 11)
		truth := blocks(map[uint16][]morph.Box{1: {body}, 2: {box(14, 14, 2, 17, 17, 3), box(14, 2, 12, 17, 5, 13)}})
		// A false speck in class 1 everywhere; class 2 is truly in two pieces.
		pred := blocks(map[uint16][]morph.Box{1: {body, box(15, 9, 8, 16, 9, 8+i)}, 2: {box(14, 14, 2, 17, 17, 3), box(14, 2, 12, 17, 5, 13)}})
		f.add(t, name+".nii", pred, truth)
	}
	pairs, skipped, err := evaluate.FindPairs(f.pred, f.truth)
	if err != nil {
		t.Fatal(err)
	}
	trials := evaluate.Trials([]float64{10, 100}, nil)
	a, err := evaluate.Ablate(t.Context(), pairs, skipped, trials, evaluate.Options{Classes: []evaluate.Class{{1, "body"}}})
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[uint16]map[string]evaluate.Verdict{}
	for _, c := range a.Classes {
		verdicts[c.Label] = map[string]evaluate.Verdict{}
		for _, r := range c.Trials {
			verdicts[c.Label][r.Name] = r.Verdict
		}
	}
	for _, tt := range []struct {
		label uint16
		rule  string
		want  evaluate.Verdict
	}{
		{1, "largest component, 26-connected", evaluate.Helps},
		{1, "two largest components", evaluate.NoEffect},
		{1, "components from 100 mm³", evaluate.Helps},
		{1, "components from 10 mm³", evaluate.NoEffect}, // the smallest speck has 12 mm³
		{1, "holes filled", evaluate.NoEffect},
		{2, "largest component, 26-connected", evaluate.Harms},
		{2, "two largest components", evaluate.NoEffect},
	} {
		if got := verdicts[tt.label][tt.rule]; got != tt.want {
			t.Errorf("label %d, %s: %q, want %q", tt.label, tt.rule, got, tt.want)
		}
	}
	if a.Cases != 6 || a.Classes[0].Best != "largest component, 26-connected" || a.Classes[1].Best != "" || a.Classes[0].Name != "body" {
		t.Errorf("%d cases, best %q and %q", a.Cases, a.Classes[0].Best, a.Classes[1].Best)
	}
	r := a.Classes[0].Trials[0]
	if r.Better != 6 || *r.HD95.Mean > 0 || *r.Dice.Mean <= 0 {
		t.Errorf("largest component: %+v", r)
	}
}

// TestAblationOfAbsent: removing a class that is not there counts.
func TestAblationOfAbsent(t *testing.T) {
	f := folders{t.TempDir(), t.TempDir()}
	for _, name := range []string{"a.nii", "b.nii", "c.nii", "d.nii", "e.nii", "f.nii"} {
		f.add(t, name, blocks(map[uint16][]morph.Box{2: {box(3, 3, 3, 3, 3, 3)}}), blocks(nil))
	}
	pairs, _, err := evaluate.FindPairs(f.pred, f.truth)
	if err != nil {
		t.Fatal(err)
	}
	a, err := evaluate.Ablate(t.Context(), pairs, nil, evaluate.Trials([]float64{10}, nil), evaluate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := a.Classes[0].Best; got != "components from 10 mm³" {
		t.Errorf("best %q; want the rule that removes 6 mm³", got)
	}
}

func TestCancelled(t *testing.T) {
	f := folders{t.TempDir(), t.TempDir()}
	l := blocks(map[uint16][]morph.Box{1: {box(1, 1, 1, 3, 3, 3)}})
	for _, name := range []string{"a.nii", "b.nii", "c.nii"} {
		f.add(t, name, l, l)
	}
	pairs, _, err := evaluate.FindPairs(f.pred, f.truth)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = evaluate.Cohort(ctx, pairs, nil, evaluate.Options{Progress: func(done, total int) {
		if total != 3 {
			t.Errorf("of %d pairs", total)
		}
		if done == 1 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

// Few cases give no verdict, however clear they are; rules of one effect are
// judged by the same draws.
func TestAblationNeedsCases(t *testing.T) {
	f := folders{t.TempDir(), t.TempDir()}
	body := box(2, 2, 2, 11, 11, 11)
	for i := range 6 {
		truth := blocks(map[uint16][]morph.Box{1: {body}})
		pred := blocks(map[uint16][]morph.Box{1: {body, box(15, 9, 3, 16, 9, 3+i)}})
		if i < 5 {
			pred.Data[0], truth.Data[0] = 2, 2 // label 2 is in five cases only, with specks
			pred.Data[10] = 2
		}
		f.add(t, string(rune('a'+i))+".nii", pred, truth)
	}
	pairs, _, err := evaluate.FindPairs(f.pred, f.truth)
	if err != nil {
		t.Fatal(err)
	}
	a, err := evaluate.Ablate(t.Context(), pairs, nil, evaluate.Trials([]float64{100}, nil), evaluate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	one, two := a.Classes[0].Trials, a.Classes[1]
	if one[0].Verdict != evaluate.Helps || two.Trials[0].Verdict != evaluate.TooFew || two.Trials[0].Better != 5 || two.Best != "" {
		t.Errorf("label 1: %+v\nlabel 2: %+v", one[0], two)
	}
	if x, y := one[0].Dice, one[3].Dice; *x.Mean != *y.Mean || *x.Low != *y.Low || *x.High != *y.High { // both remove the speck
		t.Errorf("%s: %v..%v, %s: %v..%v", one[0].Name, *x.Low, *x.High, one[3].Name, *y.Low, *y.High)
	}
	var b strings.Builder
	if err := a.WriteTable(&b); err != nil || !strings.Contains(b.String(), "no verdict: 5 cases; at least 6 are needed") {
		t.Errorf("%v: %s", err, b.String())
	}
}

// Images taken for label maps are refused, not measured for hours.
func TestTooManyLabels(t *testing.T) {
	f := folders{t.TempDir(), t.TempDir()}
	image := blocks(nil)
	for i := range image.Data {
		image.Data[i] = uint16(i % 1024)
	}
	truth := blocks(map[uint16][]morph.Box{1: {box(1, 1, 1, 3, 3, 3)}, 2000: {box(9, 9, 9, 9, 9, 9)}})
	for dir, l := range map[string]*imaging.LabelMap{f.pred: image, f.truth: truth} {
		v, err := l.Volume(imaging.Uint16)
		if err == nil {
			err = codec.WriteFile(t.Context(), filepath.Join(dir, "a.nii"), v, codec.WriteOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	_, res := evaluateFolders(t, f.pred, f.truth, evaluate.Options{})
	if len(res.Skipped) != 1 || !strings.Contains(res.Skipped[0].Reason, "1025 different labels") {
		t.Errorf("%+v", res.Skipped)
	}
	pairs, _, err := evaluate.FindPairs(f.pred, f.truth)
	if err != nil {
		t.Fatal(err)
	}
	a, err := evaluate.Ablate(t.Context(), pairs, nil, evaluate.Trials(nil, nil), evaluate.Options{})
	if err != nil || len(a.Skipped) != 1 || !strings.Contains(a.Skipped[0].Reason, "1025 different labels") {
		t.Errorf("%+v, %v", a, err)
	}
}

// The longest names that a file system allows have pictures too.
func TestLongNames(t *testing.T) {
	f := folders{t.TempDir(), t.TempDir()}
	name := "éé" + strings.Repeat("äx", 76) // 232 bytes: room for the temporary files' endings
	f.add(t, name+".nii", blocks(nil), blocks(map[uint16][]morph.Box{1: {box(1, 1, 1, 3, 3, 3)}}))
	_, res := evaluateFolders(t, f.pred, f.truth, evaluate.Options{})
	out := t.TempDir()
	if _, err := res.WriteTo(t.Context(), summary(t, res), out, 1, ""); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(out, evaluate.OverlayFolder))
	if err != nil || len(entries) != 1 || !utf8.ValidString(entries[0].Name()) || !strings.HasPrefix(entries[0].Name(), "001_é") {
		t.Errorf("%v, %v", entries, err)
	}
}

// The bootstrap of a large cohort stops with its context.
func TestSummaryCancelled(t *testing.T) {
	f := folders{t.TempDir(), t.TempDir()}
	l := blocks(map[uint16][]morph.Box{1: {box(1, 1, 1, 3, 3, 3)}})
	f.add(t, "a.nii", l, l)
	_, res := evaluateFolders(t, f.pred, f.truth, evaluate.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := res.Summary(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]evaluate.Options{
		"tolerance": {Tolerance: -1}, "overlap": {Overlap: 1.5}, "resamplings": {Resamples: -1}, "connectivity": {Connectivity: 7},
		"bins": {Bins: 1001},
	} {
		if err := o.Check(); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := evaluate.FindPairs(filepath.Join(t.TempDir(), "no"), t.TempDir()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an absent folder: %v", err)
	}
}
