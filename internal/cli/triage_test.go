package cli_test

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/phantom"
)

// TestTriage ranks phantoms with the starting model; a labelled one and one that
// cannot be read stand in no place.
func TestTriage(t *testing.T) {
	orttest.Runtime(t)
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "ranking")
	if err := phantom.WriteCases(t.Context(), dir, 4, 1); err != nil {
		t.Fatal(err)
	}
	labels := filepath.Join(dir, "labels", "final")
	if err := os.MkdirAll(labels, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, phantom.TruthDir, phantom.Name(2)), filepath.Join(labels, phantom.Name(2))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "broken.nii.gz"), []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, "triage", "--studies", dir, "--model", "hippocampus", "--out", out, "--flips", ",x", "--device", "cpu", "--strategy", "tta-dice", "--json")
	if r.code != 1 || !strings.Contains(r.errOut, "skipped broken:") || !strings.Contains(r.errOut, "1 of 5 images were left out") {
		t.Fatalf("%d %s", r.code, r.errOut)
	}
	var doc struct {
		Passes string
		Images []struct {
			ID          string
			Explanation struct{ Score float64 }
			Slice       struct{ Axis, Index int }
		}
	}
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i, img := range doc.Images {
		ids = append(ids, img.ID)
		if i > 0 && img.Explanation.Score > doc.Images[i-1].Explanation.Score || img.Slice.Axis != 2 || img.Slice.Index < 1 {
			t.Errorf("place %d: %+v", i+1, img)
		}
	}
	slices.Sort(ids)
	if doc.Passes != "2 of tta" || !slices.Equal(ids, []string{"phantom_0001", "phantom_0003", "phantom_0004"}) {
		t.Errorf("%s of %v", doc.Passes, ids)
	}
	f, err := os.Open(filepath.Join(out, "ranking.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) != 4 || lines[1][1] != doc.Images[0].ID {
		t.Errorf("%v %v", lines, err)
	}
	if page, err := os.ReadFile(filepath.Join(out, "ranking.html")); err != nil || strings.Count(string(page), "data:image/png;base64,") != 3 {
		t.Errorf("the page: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == ".voxloop" }) {
		t.Errorf("something was written to the studies: %v %v", entries, err)
	}
}

func TestTriageUsage(t *testing.T) {
	dir := t.TempDir()
	for args, want := range map[string]string{
		"triage":                  "--studies",
		"triage --studies " + dir: "--model",
		"triage --studies x -m y": "--out",
		"triage --studies x -m y --out z --device tpu":                     "tpu",
		"triage --studies x -m y --out z --threads -1":                     "--threads",
		"triage --studies x -m y --out z --strategy none":                  "none",
		"triage --studies x -m y --out z --strategy random":                "random",
		"triage --studies x -m y --out z --sampling guess":                 "selection.sampling",
		"triage --studies x -m y --out z --aggregation guess":              "selection.aggregation",
		"triage --studies x -m y --out z --strategy bald --sampling tta":   "--sampling tta",
		"triage --studies x -m y --out z --strategy tta --sampling single": "--sampling single",
	} {
		if r := run(t, strings.Fields(args)...); r.code != 2 || !strings.Contains(r.errOut, want) {
			t.Errorf("%s: %d %s", args, r.code, r.errOut)
		}
	}
	if r := run(t, "triage", "--studies", filepath.Join(dir, "none"), "-m", "hippocampus", "--out", dir); r.code != 1 || !strings.Contains(r.errOut, "is not there") {
		t.Errorf("%d %s", r.code, r.errOut)
	}
}
