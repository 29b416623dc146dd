package cli_test

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// writeBall writes a label map with a ball of label 1, and a speck beside it.
func writeBall(t *testing.T, path string, radius int, speck bool) {
	t.Helper()
	l := imaging.NewLabelMap(imaging.Grid{Size: [3]int{16, 16, 16}, Affine: imaging.Identity()})
	for i := range l.Data {
		x, y, z := i%16-8, i/16%16-8, i/256-8
		if x*x+y*y+z*z <= radius*radius {
			l.Data[i] = 1
		}
	}
	if speck {
		l.Data[0] = 1
	}
	err := atomicfile.Write(path, 0o600, func(w io.Writer) error {
		return codec.WriteLabels(w, codec.Ext(path), l, imaging.Uint8, codec.WriteOptions{})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// cohort makes two folders with three cases, predictions with a false speck.
func cohort(t *testing.T) (pred, truth string) {
	t.Helper()
	pred, truth = t.TempDir(), t.TempDir()
	for i, name := range []string{"a.nii.gz", "b.nrrd", "c.nii"} {
		writeBall(t, filepath.Join(truth, name), 5, false)
		writeBall(t, filepath.Join(pred, name), 5-i, true)
	}
	return pred, truth
}

// larger adds as many cases, so that rules can be judged.
func larger(t *testing.T, pred, truth string) {
	t.Helper()
	for i, name := range []string{"d.nii", "e.nii", "f.nii"} {
		writeBall(t, filepath.Join(truth, name), 5, false)
		writeBall(t, filepath.Join(pred, name), 5-i, true)
	}
}

func TestEvaluate(t *testing.T) {
	pred, truth := cohort(t)
	out := filepath.Join(t.TempDir(), "new", "folder")
	manifest := filepath.Join("..", "..", "apps", "radiology", "models", "hippocampus", "manifest.yaml")
	if _, err := os.Stat(manifest); err != nil {
		t.Fatal(err)
	}
	r := run(t, "evaluate", "--pred", pred, "--truth", truth, "--out", out, "--manifest", manifest, "--worst", "2")
	if r.code != 0 || r.errOut != "" || !strings.Contains(r.out, "3 cases evaluated, 0 skipped") {
		t.Fatalf("exit %d: %s%s", r.code, r.out, r.errOut)
	}
	b, err := os.ReadFile(filepath.Join(out, "cases.csv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) != 1+3*2 || !strings.HasPrefix(lines[0], "case,label,name,dice,iou,hd95_mm,assd_mm,") || !strings.HasPrefix(lines[1], "a,1,anterior,0.999030068,0.998062016,") {
		t.Errorf("cases.csv:\n%s", b)
	}
	for _, name := range []string{"summary.json", "summary.md", "overlays/001_c.png", "overlays/002_b.png"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "overlays", "003_a.png")); err == nil {
		t.Error("a third picture in spite of --worst 2")
	}
}

// Names of files cannot command a terminal.
func TestEvaluateNames(t *testing.T) {
	pred, truth := cohort(t)
	for _, name := range []string{"x\x1b[2Jy\nz.nii", "c1\u009b.nii", "bytes\xff.nii"} {
		if err := os.WriteFile(filepath.Join(truth, name), nil, 0o600); err != nil {
			t.Skip("this file system takes no such names: ", err)
		}
	}
	r := run(t, "evaluate", "--pred", pred, "--truth", truth, "--out", t.TempDir())
	lines := strings.Split(strings.TrimSpace(r.errOut), "\n")
	if r.code != 1 || len(lines) != 4 || strings.ContainsAny(r.errOut, "\x1b\u009b") || lines[2] != "voxloop: skipped x·[2Jy·z: there is no prediction for x·[2Jy·z.nii" {
		t.Errorf("exit %d: %q", r.code, r.errOut)
	}
}

func TestEvaluateSkips(t *testing.T) {
	pred, truth := cohort(t)
	writeBall(t, filepath.Join(truth, "d.nii"), 3, false)
	if err := os.WriteFile(filepath.Join(pred, "c.nii"), []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	r := run(t, "evaluate", "--pred", pred, "--truth", truth, "--out", out, "--json")
	lines := strings.Split(strings.TrimSpace(r.errOut), "\n")
	if r.code != 1 || len(lines) != 3 || !strings.HasPrefix(lines[0], "voxloop: skipped c: ") ||
		lines[1] != "voxloop: skipped d: there is no prediction for d.nii" || lines[2] != "voxloop: 2 of 4 cases could not be used" {
		t.Errorf("exit %d: %s", r.code, r.errOut)
	}
	var s struct{ Cases int }
	if err := json.Unmarshal([]byte(r.out), &s); err != nil || s.Cases != 2 {
		t.Errorf("%v, %d cases: %s", err, s.Cases, r.out)
	}
	if _, err := os.Stat(filepath.Join(out, "cases.csv")); err != nil {
		t.Error(err)
	}
}

// Probabilities make a calibration; a case without them is named.
func TestEvaluateProbabilities(t *testing.T) {
	pred, truth := cohort(t)
	probabilities, out := t.TempDir(), t.TempDir()
	for i, name := range []string{"a.nii.gz", "b.nrrd"} {
		writeBall(t, filepath.Join(probabilities, name), 5-i, false) // of 0 and 1: sure of itself
	}
	r := run(t, "evaluate", "--pred", pred, "--truth", truth, "--out", out, "--probabilities", probabilities, "--bins", "10")
	want := "voxloop: c is not in the calibration: there are no probabilities of this name\nvoxloop: the probabilities of 1 cases could not be used\n"
	if r.code != 1 || r.errOut != want || !strings.Contains(r.out, "calibration of 2 cases: ECE 0.0") || !strings.Contains(r.out, "3 cases evaluated") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.errOut)
	}
	b, err := os.ReadFile(filepath.Join(out, "calibration.csv"))
	if err != nil || !strings.Contains(string(b), "\na,4096,0.000000000,0.000000000,0.000000000,") || strings.Count(string(b), "\n") != 3 {
		t.Errorf("%v: %s", err, b)
	}
	if md, err := os.ReadFile(filepath.Join(out, "summary.md")); err != nil || !strings.Contains(string(md), "| ECE | 0.0") {
		t.Errorf("%v: %s", err, md)
	}
	none := filepath.Join(out, "none")
	if r := run(t, "evaluate", "--pred", pred, "--truth", truth, "--out", none, "--probabilities", none); r.code != 1 || !strings.Contains(r.errOut, "none") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.errOut)
	}
	if r := run(t, "evaluate", "--pred", pred, "--truth", truth, "--out", out); r.code != 0 {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.errOut)
	}
	if _, err := os.Stat(filepath.Join(out, "calibration.csv")); err == nil {
		t.Error("an earlier calibration stays beside another evaluation")
	}
}

// What would end the work is found before it, what spoils a picture is named.
func TestEvaluateFolders(t *testing.T) {
	pred, truth := cohort(t)
	images, none := t.TempDir(), filepath.Join(t.TempDir(), "none")
	if err := os.WriteFile(filepath.Join(images, "c.nii"), []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, "evaluate", "--pred", pred, "--truth", truth, "--out", t.TempDir(), "--images", images)
	if lines := strings.Split(strings.TrimSpace(r.errOut), "\n"); r.code != 1 || len(lines) != 2 || !strings.Contains(r.out, "3 cases evaluated") ||
		!strings.HasPrefix(lines[0], "voxloop: the picture of c lacks its image: ") || lines[1] != "voxloop: 1 images could not be used" {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.errOut)
	}
	for _, args := range [][]string{
		{"evaluate", "--pred", pred, "--truth", truth, "--out", none, "--images", none},
		{"postprocess-ablation", "--pred", pred, "--truth", truth, "--out", filepath.Join(none, "a.json")},
		{"harmonize", "fit", "--studies", truth, "--method", "nyul", "--out", filepath.Join(none, "a.json")},
	} {
		if r := run(t, args...); r.code != 1 || r.out != "" || strings.Count(r.errOut, "\n") != 1 || !strings.Contains(r.errOut, "none") {
			t.Errorf("%s: exit %d: %s%s", args[0], r.code, r.out, r.errOut)
		}
		if _, err := os.Stat(none); err == nil {
			t.Errorf("%s made a folder", args[0])
		}
	}
}

func TestPostprocessAblation(t *testing.T) {
	pred, truth := cohort(t)
	larger(t, pred, truth)
	file := filepath.Join(t.TempDir(), "rules.json")
	r := run(t, "postprocess-ablation", "--pred", pred, "--truth", truth, "--out", file, "--volumes", "2,5000")
	for _, want := range []string{"label 1: Dice 0.", "components from 2 mm³", "components from 5000 mm³", "best: largest component, 26-connected", "6 cases, 0 skipped"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("exit %d, no %q in:\n%s%s", r.code, want, r.out, r.errOut)
		}
	}
	var a struct {
		Classes []struct {
			Trials []struct{ Rule, Verdict string }
		}
	}
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[string]string{}
	for _, v := range a.Classes[0].Trials {
		verdicts[v.Rule] = v.Verdict
	}
	for rule, want := range map[string]string{
		"components from 2 mm³": "helps", "components from 5000 mm³": "harms", "holes filled": "no effect", "two largest components": "no effect",
	} {
		if verdicts[rule] != want {
			t.Errorf("%s: %q, want %q", rule, verdicts[rule], want)
		}
	}
}

func TestEvaluateUsage(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"evaluate", 2, "--pred DIR and --truth DIR"},
		{"evaluate --pred x --truth y", 2, "--out DIR"},
		{"evaluate --pred x --truth y --out z --empty none", 2, "--empty"},
		{"evaluate --pred x --truth y --out z --tolerance 0", 2, "--tolerance 0"},
		{"evaluate --pred x --truth y --out z --connectivity 7", 2, "--connectivity"},
		{"evaluate --pred x --truth y --out z --lesion-overlap 2", 2, "overlap of 2"},
		{"evaluate --pred x --truth y --out z --resamples 0", 2, "--resamples 0"},
		{"evaluate --pred x --truth y --out z --nsd volume", 2, "--nsd"},
		{"evaluate --pred x --truth y --out z --bins 0", 2, "--bins 0"},
		{"evaluate --pred x --truth y --out z --bins 5000", 2, "5000 bins"},
		{"evaluate --pred x --truth y --out z --generalised-weight cube", 2, "--generalised-weight"},
		{"evaluate --pred " + dir + " --truth " + dir + " --out z --probabilities none", 1, "no label map"},
		{"evaluate --pred x --truth y --out z --worst -1", 2, "--worst -1"},
		{"evaluate --pred x --truth y --out z extra", 2, `"extra"`},
		{"evaluate --pred no/such --truth " + dir + " --out z", 1, "no/such"},
		{"evaluate --pred " + dir + " --truth " + dir + " --out z", 1, "no label map"},
		{"evaluate --pred " + dir + " --truth " + dir + " --out z --manifest none.yaml", 1, "none.yaml"},
		{"postprocess-ablation --pred x", 2, "--truth DIR"},
		{"postprocess-ablation --pred x --truth y --volumes 0", 2, "--volumes"},
		{"postprocess-ablation --pred no/such --truth y", 1, "no/such"},
	} {
		r := run(t, strings.Fields(tt.args)...)
		if r.code != tt.code || !strings.Contains(r.errOut, tt.want) || strings.Count(r.errOut, "\n") != 1 {
			t.Errorf("%s: exit %d, %q; want %d and %q", tt.args, r.code, r.errOut, tt.code, tt.want)
		}
	}
}
