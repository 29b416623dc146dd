package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/augment"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/phantom"
)

// phantomFile writes one synthetic image.
func phantomFile(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := phantom.WriteCases(t.Context(), dir, 1, 1); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "phantom_0001.nii.gz")
}

func readImage(t *testing.T, path string) *imaging.Volume {
	t.Helper()
	v, err := codec.Read(t.Context(), path, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// What a file says beyond its voxels stays when they change.
func TestChangedImagesKeepTheirHeader(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "series.nii.gz")
	writeSeries(t, image)
	for out, args := range map[string][]string{
		"corrupted.nii.gz":  {"corrupt", "--image", image, "--kind", "noise", "--severity", "2"},
		"harmonised.nii.gz": {"harmonize", "apply", "--image", image, "--reference", image, "--channel", "3"},
	} {
		path := filepath.Join(dir, out)
		if r := run(t, append(args, "--out", path)...); r.code != 0 {
			t.Errorf("exit %d: %s%s", r.code, r.out, r.errOut)
			continue
		}
		m := load(t, path).NIfTI
		if m.Description != "kept" || m.Step[0] != 1.5 || len(m.Extensions) != 1 || len(m.Dim) != 5 || m.Dim[3] != 2 || m.Dim[4] != 3 {
			t.Errorf("%s: %+v", out, m)
		}
	}
}

// One corruption: same grid and type, other voxels, equal bytes for an equal
// seed, others for another.
func TestCorruptOne(t *testing.T) {
	image, dir := phantomFile(t), t.TempDir()
	before := readImage(t, image)
	bytesOf := map[string][]byte{}
	for _, c := range []struct{ name, seed string }{{"a", "1"}, {"b", "1"}, {"c", "2"}} {
		out := filepath.Join(dir, c.name+".nii.gz")
		r := run(t, "corrupt", "--image", image, "--kind", "noise", "--severity", "3", "--seed", c.seed, "--out", out)
		if r.code != 0 || !strings.Contains(r.out, "noise, severity 3") {
			t.Fatalf("exit %d: %s%s", r.code, r.out, r.errOut)
		}
		after := readImage(t, out)
		if after.Distance(before.Grid) > 1e-6 || after.Data.Type() != before.Data.Type() {
			t.Errorf("grid or type changed: %v, %s", after.Grid, after.Data.Type())
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		bytesOf[c.name] = b
	}
	if !bytes.Equal(bytesOf["a"], bytesOf["b"]) || bytes.Equal(bytesOf["a"], bytesOf["c"]) {
		t.Error("files do not follow the seed")
	}
}

func TestCorruptAll(t *testing.T) {
	image, dir := phantomFile(t), t.TempDir()
	r := run(t, "corrupt", "--image", image, "--all", filepath.Join(dir, "new"), "--json")
	if r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.errOut)
	}
	var done []struct {
		Out      string
		Kind     string
		Severity int
		Change   float64
	}
	if err := json.Unmarshal([]byte(r.out), &done); err != nil {
		t.Fatal(err)
	}
	if want := len(augment.Kinds()) * augment.Severities; len(done) != want {
		t.Errorf("%d files, want %d", len(done), want)
	}
	before := readImage(t, image)
	for _, d := range done {
		want := filepath.Join(dir, "new", d.Kind, string(rune('0'+d.Severity)), "phantom_0001.nii.gz")
		if d.Out != want || d.Change <= 0 {
			t.Errorf("%+v, want %s", d, want)
		}
		if h, err := codec.ReadGrid(t.Context(), d.Out); err != nil || h.Grid.Size != before.Size {
			t.Errorf("%s: %v, %v", d.Out, h.Grid.Size, err)
		}
	}
}

func TestCorruptRefuses(t *testing.T) {
	image, dir := phantomFile(t), t.TempDir()
	broken := filepath.Join(dir, "broken.nii")
	if err := os.WriteFile(broken, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out.nii.gz")
	tests := []struct {
		args string
		code int
		want string
	}{
		{"corrupt", 2, "--image"},
		{"corrupt --image " + image, 2, "--kind"},
		{"corrupt --image " + image + " --kind rust --severity 1 --out " + out, 2, "rust"},
		{"corrupt --image " + image + " --kind noise --out " + out, 2, "--severity 0"},
		{"corrupt --image " + image + " --kind noise --severity 6 --out " + out, 2, "--severity 6"},
		{"corrupt --image " + image + " --kind noise --severity 1", 2, "--out"},
		{"corrupt --image " + image + " --kind noise --severity 1 --out x.png", 2, "x.png"},
		{"corrupt --image " + image + " --kind noise --severity 1 --out x.seg.nrrd", 2, "x.seg.nrrd"},
		{"corrupt --image " + image + " --all x --kind noise", 2, "--all"},
		{"corrupt --image x.nhdr --all x", 2, "x.nhdr"},
		{"corrupt --image " + broken + " --kind noise --severity 1 --out " + out, 1, "broken.nii"},
		{"corrupt --image none.nii --kind noise --severity 1 --out " + out, 1, "none.nii"},
		{"corrupt --image " + image + " --kind noise --severity 1 --out " + filepath.Join(dir, "none", "x.nii"), 1, "folder"},
	}
	for _, tt := range tests {
		r := run(t, strings.Fields(tt.args)...)
		if r.code != tt.code || !strings.Contains(r.errOut, tt.want) || strings.Count(r.errOut, "\n") != 1 {
			t.Errorf("%s: exit %d, %q; want %d and %q", tt.args, r.code, r.errOut, tt.code, tt.want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("files were left: %v, %v", entries, err)
	}
}
