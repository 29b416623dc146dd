package apps

import (
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/datastore/local"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/ordered"
)

// studiesFolder has all sorts of images: a and b labelled, c not, d's label
// elsewhere, e broken, f of two channels, labels of an image that is gone.
func studiesFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	final := func(name string) string { return filepath.Join(dir, "labels", "final", name) }
	for _, name := range []string{"a.nii.gz", "b.nrrd", "c.nii.gz", "d.nii.gz", "e.nii.gz", "f_0000.nii.gz", "f_0001.nii.gz"} {
		writeImage(t, filepath.Join(dir, name), nil)
	}
	moved := madeGrid
	moved.Affine[0][3] = 3
	for name, g := range map[string]imaging.Grid{
		"a.nii.gz": madeGrid, "b.nii.gz": madeGrid, "d.nii.gz": moved, "e.nii.gz": madeGrid, "f.nii.gz": madeGrid, "gone.nii.gz": madeGrid,
	} {
		writeLabel(t, final(name), g, map[int]uint16{3: 1})
	}
	writeFile(t, final("e.nii.gz"), []byte("no label"))
	writeFile(t, filepath.Join(dir, "notes.txt"), []byte("not an image"))
	return dir
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// tree lists all files of a folder with their content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out[path] = string(read(t, path))
		} else if err == nil {
			out[path] = "folder"
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestStudiesWithoutAServer(t *testing.T) {
	dir := studiesFolder(t)
	before := tree(t, dir)
	got, err := StudiesCases(t.Context(), StudiesOptions{Studies: dir, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, c := range got.Cases {
		ids = append(ids, c.ID)
		if c.LabelVersion != 0 || len(c.LabelSum) != 64 || filepath.Base(c.Label) != c.ID+".nii.gz" {
			t.Errorf("%+v", c)
		}
	}
	if !slices.Equal(ids, []string{"a", "b", "f"}) || got.Unlabelled != 1 {
		t.Errorf("cases %v, %d unlabelled", ids, got.Unlabelled)
	}
	if n := len(got.Cases[2].Images); n != 2 {
		t.Errorf("f has %d images", n)
	}
	want := []string{"case d: the label does not lie on the image's grid", "case e: ", "the label gone.nii.gz belongs to no image"}
	for i, w := range want {
		if len(got.Warnings) != len(want) || !strings.HasPrefix(got.Warnings[i], w) {
			t.Errorf("warnings %q", got.Warnings)
		}
	}
	if !maps.Equal(before, tree(t, dir)) {
		t.Error("the studies folder was changed")
	}
}

// A server's state tells versions, subjects and what is quarantined; while one
// runs, the files alone count.
func TestStudiesOfAServer(t *testing.T) {
	dir := studiesFolder(t)
	o := StudiesOptions{Studies: dir, Logger: quiet()}
	store, err := local.Open(t.Context(), local.Options{Studies: dir, Logger: quiet(), Extensions: storeExtensions(nil)})
	if err != nil {
		t.Fatal(err)
	}
	label := read(t, filepath.Join(dir, "labels", "final", "a.nii.gz"))
	if _, err := store.SaveLabel(t.Context(), "a", datastore.TagFinal, datastore.LabelFile{
		Ext: ".nii.gz", Write: func(w io.Writer) error { _, err := w.Write(label); return err },
	}); err != nil {
		t.Fatal(err)
	}
	if err := store.UpdateImageInfo(t.Context(), "b", ordered.Of("subject", "patient 12")); err != nil {
		t.Fatal(err)
	}
	if err := store.Quarantine(t.Context(), "f", "too dark"); err != nil {
		t.Fatal(err)
	}
	running, err := StudiesCases(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(running.Cases) != 3 || running.Cases[0].LabelVersion != 0 {
		t.Errorf("while a server runs: %+v", running.Cases)
	}
	app := &App{store: store, opts: Options{Studies: dir}}
	served, err := app.TrainingCases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	stopped, err := StudiesCases(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]LabelledCases{"running": served, "stopped": stopped} {
		if len(got.Cases) != 2 || got.Cases[0].LabelVersion < 1 || got.Cases[1].Subject != "patient 12" {
			t.Errorf("%s: %+v", name, got.Cases)
		}
		if !slices.Contains(got.Warnings, "case f: the image is quarantined: too dark") {
			t.Errorf("%s: warnings %q", name, got.Warnings)
		}
	}
	if served.Cases[0].LabelVersion != stopped.Cases[0].LabelVersion {
		t.Errorf("label versions %d and %d", served.Cases[0].LabelVersion, stopped.Cases[0].LabelVersion)
	}
}

func TestStudiesThatAreNotThere(t *testing.T) {
	if _, err := StudiesCases(t.Context(), StudiesOptions{Logger: quiet()}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no folder named: %v", err)
	}
	gone := filepath.Join(t.TempDir(), "gone")
	if _, err := StudiesCases(t.Context(), StudiesOptions{Studies: gone, Logger: quiet()}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("folder gone: %v", err)
	}
	if _, err := os.Stat(gone); err == nil {
		t.Error("the folder was made")
	}
	empty, err := StudiesCases(t.Context(), StudiesOptions{Studies: t.TempDir(), Logger: quiet()})
	if err != nil || len(empty.Cases)+len(empty.Warnings) != 0 {
		t.Errorf("empty folder: %+v, %v", empty, err)
	}
}
