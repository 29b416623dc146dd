package evaluate_test

import (
	"bytes"
	"encoding/csv"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/evaluate"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/goldentest"
)

// TestGolden writes the recorded pairs of label maps as files, evaluates the
// folders, and compares the table with the recorded metrics: 26 cases, 14 of
// them perturbed real label maps, 12 corner cases.
func TestGolden(t *testing.T) {
	overlap := goldentest.Read(t, "metrics", "compute_dice, compute_iou")
	pred, truth := t.TempDir(), t.TempDir()
	spacing := map[string][3]float64{}
	for _, c := range goldentest.Read(t, "metrics", surfaceOperation) {
		spacing[strings.TrimSuffix(c.Name, "_surface")] = goldentest.Param(t, c, "spacing", [3]float64{})
	}
	for i, c := range overlap {
		name := strings.TrimSuffix(c.Name, "_overlap")
		ext := []string{".nii.gz", ".nrrd"}[i%2]
		for dir, key := range map[string]string{pred: "prediction", truth: "truth"} {
			data, size := goldentest.Labels(t, c.Input(t, key))
			writeLabels(t, filepath.Join(dir, name+ext), data, size, spacing[name])
		}
	}
	rows, res := evaluateFolders(t, pred, truth, evaluate.Options{})
	if len(res.Cases) != 26 || len(res.Skipped) != 0 {
		t.Fatalf("%d cases, skipped %v; want 26, none", len(res.Cases), res.Skipped)
	}
	n := goldentest.Counts{}
	for _, c := range goldentest.Read(t, "metrics", "compute_dice, compute_iou", surfaceOperation, confusionOperation) {
		t.Run(c.Name, func(t *testing.T) {
			name := c.Name[:strings.LastIndex(c.Name, "_")]
			for class := 1; class < goldentest.Param(t, c, "classes", 0); class++ {
				compareRow(t, c, rows[name+"/"+strconv.Itoa(class)], class)
			}
			n[c.Operation]++
		})
	}
	n.Table(t, 3*26)
}

const (
	surfaceOperation   = "compute_hausdorff_distance, compute_average_surface_distance, compute_surface_dice"
	confusionOperation = "get_confusion_matrix, compute_confusion_matrix_metric, compute_generalized_dice"
)

// recorded names the golden value of a column, and whether its list begins
// with the background.
var recorded = map[string]struct {
	key        string
	background bool
}{
	"dice": {"dice_bg0_ignore1", false}, "iou": {"iou_bg0_ignore1", false},
	"hd95_mm": {"hd95_mm", false}, "assd_mm": {"assd_mm", false}, "hd_mm": {"hd_mm", false}, "asd_mm": {"asd_mm", false}, "nsd": {"nsd1_mm", false},
	"sensitivity": {"sensitivity", true}, "specificity": {"specificity", true}, "precision": {"precision", true},
}

// compareRow compares the columns that a case records. A class that is in no
// map of the cohort has no row.
func compareRow(t *testing.T, c goldentest.Case, row map[string]string, class int) {
	t.Helper()
	compared := 0
	for column, r := range recorded {
		want, ok := c.Expected[r.key]
		if !ok {
			continue
		}
		at := class - 1
		if r.background {
			at = class
		}
		w := c.Numbers(t, want)[at]
		if got := cell(t, row, column); !c.Close(got, w) {
			t.Errorf("class %d, %s = %v, want %v", class, column, got, w)
		}
		compared++
	}
	if compared < 2 {
		t.Errorf("only %d columns were compared", compared)
	}
}

// cell reads a cell of the table: empty is NaN; a fraction has at least six
// decimals.
func cell(t *testing.T, row map[string]string, column string) float64 {
	t.Helper()
	text, ok := row[column]
	switch {
	case !ok:
		t.Fatalf("no column %s in %v", column, slices.Sorted(maps.Keys(row)))
	case text == "":
		return math.NaN()
	case text != "inf" && len(text)-strings.Index(text, ".")-1 < 6:
		t.Errorf("%s = %s has fewer than six decimals", column, text)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// evaluateFolders returns the rows of cases.csv by "case/label".
func evaluateFolders(t *testing.T, pred, truth string, o evaluate.Options) (map[string]map[string]string, *evaluate.Result) {
	t.Helper()
	pairs, skipped, err := evaluate.FindPairs(pred, truth)
	if err != nil {
		t.Fatal(err)
	}
	res, err := evaluate.Cohort(t.Context(), pairs, skipped, o)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if _, err := res.WriteTo(t.Context(), summary(t, res), out, 2, ""); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(out, "cases.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(b, []byte("case,label,name,dice,iou,hd95_mm,assd_mm,")) {
		t.Errorf("the header is %q", bytes.SplitN(b, []byte("\n"), 2)[0])
	}
	all, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]map[string]string{}
	for _, line := range all[1:] {
		row := map[string]string{}
		for i, key := range all[0] {
			row[key] = line[i]
		}
		rows[row["case"]+"/"+row["label"]] = row
	}
	return rows, res
}

// writeLabels writes a label map with voxels of the given size in mm.
func writeLabels(t *testing.T, path string, data []uint16, size [3]int, spacing [3]float64) {
	t.Helper()
	g := imaging.Grid{Size: size, Affine: imaging.Affine{{spacing[0], 0, 0, 5}, {0, spacing[1], 0, -7}, {0, 0, spacing[2], 11}, {0, 0, 0, 1}}}
	writeMap(t, path, &imaging.LabelMap{Grid: g, Data: data})
}

func writeMap(t *testing.T, path string, l *imaging.LabelMap) {
	t.Helper()
	err := atomicfile.Write(path, 0o600, func(w io.Writer) error {
		return codec.WriteLabels(w, codec.Ext(path), l, imaging.Uint8, codec.WriteOptions{})
	})
	if err != nil {
		t.Fatal(err)
	}
}
