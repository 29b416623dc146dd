package design_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/phantom"
	"github.com/voxloop/voxloop/internal/testkit"
	"github.com/voxloop/voxloop/trainers/design"
)

// fingerprint is a set like phantoms, or a CT.
func fingerprint(ct bool) *design.Fingerprint {
	f := &design.Fingerprint{
		Channels: 1, CT: ct, Kept: 1, OneSpacing: !ct, Size: [3]float64{36, 50, 36}, Spacing: [3]float64{1, 1, 1},
		Foreground: []design.Intensity{{Mean: 100, Std: 40, Low: -50, High: 250}}, Whole: []design.Intensity{{Min: 0, Max: 500}},
		Classes: []design.Class{{Name: "anterior", Value: 1}, {Name: "posterior", Value: 2}},
	}
	f.Cases = []design.CaseFingerprint{{ID: "a", Size: [3]int{36, 50, 36}, Cropped: [3]int{36, 50, 36}, Spacing: f.Spacing}}
	return f
}

func filesOf(t *testing.T, f *design.Fingerprint, o design.Options) []design.File {
	t.Helper()
	p, err := design.NewPlan(f, o)
	if err != nil {
		t.Fatal(err)
	}
	files, err := p.Files(f, design.Labelling{Name: "test", Seed: 4})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Folders of every kind load on every device of this machine, pass the
// self-test there, and segment: not well, but on the image's grid.
func TestRegistryRunsFolders(t *testing.T) {
	rt := orttest.Runtime(t)
	thin := fingerprint(false)
	thin.Size[2], thin.Cases[0].Cropped[2], thin.Spacing[2], thin.Cases[0].Spacing[2], thin.OneSpacing = 2, 2, 12, 12, false
	masked := fingerprint(false)
	masked.Kept = 0.5
	budget := design.Options{Cores: 2, Minutes: 4, Dropout: 0.1}
	with := func(change func(*design.Options)) design.Options {
		o := budget
		change(&o)
		return o
	}
	tests := []struct {
		name string
		f    *design.Fingerprint
		o    design.Options
	}{
		{"plain", fingerprint(false), budget},
		{"residual with heads", fingerprint(false), with(func(o *design.Options) { o.Type, o.DeepSupervision = design.Residual, true })},
		{"full resolution", fingerprint(false), with(func(o *design.Options) { o.Features, o.Minutes, o.Patch = 8, 1000, []int{32, 32, 32} })},
		{"CT", fingerprint(true), budget},
		{"slices", thin, budget},
		{"masked", masked, budget},
	}
	for _, device := range []string{ort.CPU, ort.OpenVINO} {
		for _, tt := range tests {
			if device == ort.OpenVINO && tt.name != "plain" && tt.name != "residual with heads" {
				continue // compiling takes seconds
			}
			t.Run(device+" "+tt.name, func(t *testing.T) {
				if err := rt.ProviderError(device); err != nil {
					testkit.SkipOrFail(t, "the device does not load here: "+err.Error())
				}
				dir := filepath.Join(t.TempDir(), "models", "new")
				if err := design.WriteFolder(dir, filesOf(t, tt.f, tt.o)); err != nil {
					t.Fatal(err)
				}
				log := &testkit.Log{}
				r := infer.NewRegistry(infer.RegistryOptions{
					Runtime: func(context.Context) (*ort.Runtime, error) { return rt, nil },
					Device:  device, CacheDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(log, nil)),
				})
				defer func() { _ = r.Close() }()
				if err := r.Add("new", dir); err != nil {
					t.Fatal(err)
				}
				img, _ := phantom.Case(1)
				out, err := r.Infer(t.Context(), "new", infer.Input{Volumes: []*imaging.Volume{img}}, infer.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if out.Labels.Grid.Distance(img.Grid) > 1e-4 || out.Labels.Max() > 2 {
					t.Errorf("the label map is off the grid or has value %d", out.Labels.Max())
				}
				if text := log.String(); strings.Contains(text, "level=WARN") {
					t.Errorf("loading warns: %s", text)
				}
			})
		}
	}
}

func TestSameFilesAgain(t *testing.T) {
	a, b := filesOf(t, fingerprint(true), design.Options{}), filesOf(t, fingerprint(true), design.Options{})
	for i := range a {
		if a[i].Name != b[i].Name || !bytes.Equal(a[i].Data, b[i].Data) {
			t.Errorf("%s differs", a[i].Name)
		}
	}
}

// Manifests say what the data asks for.
func TestManifests(t *testing.T) {
	masked := fingerprint(false)
	masked.Kept = 0.5
	for name, tt := range map[string]struct {
		f    *design.Fingerprint
		want []string
	}{
		"MR":     {fingerprint(false), []string{"modality: MR", "spacing: native", "nnunet_zscore:", "mask: none", "image[MR]"}},
		"CT":     {fingerprint(true), []string{"modality: CT", "spacing: [1, 1, 1]", "lower: -50", "upper: 250", "mean: 100", "std: 40"}},
		"masked": {masked, []string{"mask: nonzero", "when: before_normalize"}},
	} {
		for _, f := range filesOf(t, tt.f, design.Options{}) {
			if f.Name != design.ManifestFile {
				continue
			}
			for _, w := range tt.want {
				if !strings.Contains(string(f.Data), w) {
					t.Errorf("%s: %q is missing:\n%s", name, w, f.Data)
				}
			}
		}
	}
}

// A folder is there as a whole or not at all.
func TestWriteFolder(t *testing.T) {
	parent := t.TempDir()
	files := []design.File{{Name: "a", Data: []byte("1")}, {Name: "b", Data: []byte("2")}}
	dir := filepath.Join(parent, "m")
	if err := design.WriteFolder(dir, files); err != nil {
		t.Fatal(err)
	}
	if err := design.WriteFolder(dir, files); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a folder that is there: %v", err)
	}
	if err := design.WriteFolder(filepath.Join(dir, "a"), files); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a file that is there: %v", err)
	}
	broken := append(slices.Clone(files), design.File{Name: "no/such/folder", Data: nil})
	if err := design.WriteFolder(filepath.Join(parent, "n"), broken); err == nil {
		t.Error("a file that cannot be written is none")
	}
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v is left (%v)", entries, err)
	}
}
