package radiology_test

import (
	"context"
	"io/fs"
	"log/slog"
	"testing"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/apps/radiology"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/phantom"
)

// The app's files are what the program can serve.
func TestAppIsSound(t *testing.T) {
	f, err := apps.ReadFile(radiology.FS())
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Models) != 1 || f.Models[0].Name != "hippocampus" {
		t.Fatalf("models = %+v, want hippocampus", f.Models)
	}
	text, err := fs.ReadFile(radiology.FS(), f.Models[0].Path+"/"+infer.ManifestFile)
	if err != nil {
		t.Fatal(err)
	}
	m, err := infer.ParseManifest(text)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"anterior", "posterior"} {
		if l := m.Labels[i]; l.Name != want || l.Value != i+1 || l.Color == nil {
			t.Errorf("label %d = %+v, want %s", i+1, l, want)
		}
	}
}

// The starting model finds both structures of the demo's synthetic cases.
func TestModelFindsPhantoms(t *testing.T) {
	rt := orttest.Runtime(t)
	f, err := apps.ReadFile(radiology.FS())
	if err != nil {
		t.Fatal(err)
	}
	sub, err := fs.Sub(radiology.FS(), f.Models[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	r := infer.NewRegistry(infer.RegistryOptions{
		Runtime:  func(context.Context) (*ort.Runtime, error) { return rt, nil },
		CacheDir: t.TempDir(),
		Logger:   slog.New(slog.DiscardHandler),
	})
	defer r.Close()
	if err := r.AddFS("hippocampus", sub); err != nil {
		t.Fatal(err)
	}
	const cases = 12
	var sum float64
	for i := 1; i <= cases; i++ {
		img, truth := phantom.Case(phantom.Seed(1, i))
		out, err := r.Infer(t.Context(), "hippocampus", infer.Input{Volumes: []*imaging.Volume{img}}, infer.Options{})
		if err != nil {
			t.Fatal(err)
		}
		a, p := dice(out.Labels, truth, phantom.Anterior), dice(out.Labels, truth, phantom.Posterior)
		if a < 0.4 || p < 0.4 {
			t.Errorf("case %d: Dice %.3f anterior, %.3f posterior; each must be at least 0.4", i, a, p)
		}
		sum += (a + p) / 2
	}
	if mean := sum / cases; mean < 0.6 {
		t.Errorf("mean Dice %.3f over %d cases, want at least 0.6", mean, cases)
	} else {
		t.Logf("mean Dice %.3f over %d cases", mean, cases)
	}
}

// dice is 2|A∩B| / (|A|+|B|) of one label.
func dice(a, b *imaging.LabelMap, label uint16) float64 {
	var both, sum float64
	for i := range a.Data {
		inA, inB := a.Data[i] == label, b.Data[i] == label
		if inA && inB {
			both++
		}
		if inA {
			sum++
		}
		if inB {
			sum++
		}
	}
	return 2 * both / sum
}
