package phantom_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/phantom"
)

func TestSameSeedSameFiles(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	for i, seed := range []int64{7, 7, 8} {
		if err := phantom.WriteCases(t.Context(), dirs[i], 2, seed); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{phantom.Name(1), phantom.Name(2), filepath.Join(phantom.TruthDir, phantom.Name(1))} {
		var files [3][]byte
		for i, dir := range dirs {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			files[i] = b
		}
		if !bytes.Equal(files[0], files[1]) {
			t.Errorf("%s differs between two runs with one seed", name)
		}
		if bytes.Equal(files[0], files[2]) {
			t.Errorf("%s is the same with another seed", name)
		}
	}
}

// Neighbouring sets must not share cases.
func TestSeedsDiffer(t *testing.T) {
	seen := map[int64]bool{}
	for set := range int64(50) {
		for i := 1; i <= 1000; i++ {
			s := phantom.Seed(set, i)
			if seen[s] {
				t.Fatalf("case %d of set %d repeats a seed", i, set)
			}
			seen[s] = true
		}
	}
}

func TestOnlyImagesAreVisible(t *testing.T) {
	dir := t.TempDir()
	if err := phantom.WriteCases(t.Context(), dir, 3, 1); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{phantom.TruthDir, "phantom_0001.nii.gz", "phantom_0002.nii.gz", "phantom_0003.nii.gz"}
	if len(names) != len(want) {
		t.Fatalf("the folder holds %v, want %v", names, want)
	}
	for i := range want {
		if names[i] != want[i] {
			t.Errorf("entry %d is %s, want %s", i, names[i], want[i])
		}
	}
}

// Sizes, volumes and positions are those of the crops that the starting model
// was trained on; the two structures touch.
func TestAnatomy(t *testing.T) {
	for i := range 30 {
		img, truth := phantom.Case(int64(i))
		if err := img.Validate(); err != nil {
			t.Fatal(err)
		}
		if img.Grid != truth.Grid || img.Orientation() != "RAS" || img.Spacing() != [3]float64{1, 1, 1} {
			t.Fatalf("seed %d: grid %v, %s, %v mm", i, img.Grid, img.Orientation(), img.Spacing())
		}
		for axis, r := range [3][2]int{{31, 43}, {40, 59}, {24, 47}} {
			if img.Size[axis] < r[0] || img.Size[axis] > r[1] {
				t.Errorf("seed %d: size %v is outside the data's range", i, img.Size)
			}
		}
		var count [3]int
		touching := 0
		for k, l := range truth.Data {
			count[l]++
			if step := img.Size[0]; l == phantom.Posterior && k+step < len(truth.Data) && truth.Data[k+step] == phantom.Anterior {
				touching++
			}
		}
		for _, l := range []int{phantom.Anterior, phantom.Posterior} {
			if count[l] < 900 || count[l] > 2200 {
				t.Errorf("seed %d: label %d has %d voxels, want 900..2200", i, l, count[l])
			}
		}
		if touching < 40 {
			t.Errorf("seed %d: the structures touch in %d voxels only", i, touching)
		}
		if m := contrast(img, truth); m < 100 {
			t.Errorf("seed %d: the structures are only %g darker than the rest", i, m)
		}
	}
}

// contrast returns mean(outside) - mean(inside).
func contrast(img *imaging.Volume, truth *imaging.LabelMap) float64 {
	var sum, n [2]float64
	for i, l := range truth.Data {
		k := min(int(l), 1)
		sum[k] += img.Data.At(i)
		n[k]++
	}
	return sum[0]/n[0] - sum[1]/n[1]
}

func TestWrittenFilesReadBack(t *testing.T) {
	dir := t.TempDir()
	if err := phantom.WriteCases(t.Context(), dir, 1, 3); err != nil {
		t.Fatal(err)
	}
	img, truth := phantom.Case(phantom.Seed(3, 1))
	got, err := codec.Read(t.Context(), filepath.Join(dir, phantom.Name(1)), codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Grid.Distance(img.Grid) > 1e-6 || got.Data.Type() != imaging.Int16 {
		t.Errorf("image: grid %v, type %s; want %v, int16", got.Grid, got.Data.Type(), img.Grid)
	}
	for i := range img.Data.Len() {
		if got.Data.At(i) != img.Data.At(i) {
			t.Fatalf("voxel %d is %g, want %g", i, got.Data.At(i), img.Data.At(i))
		}
	}
	label, err := codec.Read(t.Context(), filepath.Join(dir, phantom.TruthDir, phantom.Name(1)), codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range truth.Data {
		if label.Data.At(i) != float64(l) {
			t.Fatalf("label %d is %g, want %d", i, label.Data.At(i), l)
		}
	}
}

func TestStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if err := phantom.WriteCases(ctx, dir, 1000, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want that the work was stopped", err)
	}
	if _, err := os.Stat(filepath.Join(dir, phantom.Name(1))); err == nil {
		t.Error("a case was written after the end")
	}
}

func TestUnwritableFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := phantom.WriteCases(t.Context(), file, 1, 1); err == nil {
		t.Error("a file was taken for a folder")
	}
}
