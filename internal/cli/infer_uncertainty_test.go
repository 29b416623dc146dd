package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/phantom"
	"github.com/voxloop/voxloop/internal/testkit"
)

// otherWeights writes a copy of a model folder whose last bias differs.
func otherWeights(t *testing.T, from, to string, by float32) {
	t.Helper()
	manifest, err := os.ReadFile(filepath.Join(from, "manifest.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(from, "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	changed := false
	for _, n := range m.Graph.Nodes {
		w := m.Graph.Initializer(n.Input(1))
		if !n.Is("Conv") || w == nil {
			continue
		}
		v, err := w.Float32()
		if err != nil {
			t.Fatal(err)
		}
		for i := range v {
			v[i] *= by
		}
		w.SetFloat32(v)
		changed = true
		break
	}
	if !changed {
		t.Fatal("no convolution was found")
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"manifest.yaml": manifest, "model.onnx": m.Bytes()} {
		if err := os.WriteFile(filepath.Join(to, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Folders become an ensemble, whose members disagree where mirrored passes do
// not; the map lies on the image's grid.
func TestInferUncertainty(t *testing.T) {
	orttest.Runtime(t)
	image := filepath.Join(studies(t), phantom.Name(1))
	dir := t.TempDir()
	// A network without dropout, which finds phantoms uncertain.
	one, two, both := filepath.Join(testkit.ReferenceApp(t), "models", "hippocampus"), filepath.Join(dir, "two"), filepath.Join(dir, "both")
	otherWeights(t, one, two, 1.3)
	if r := run(t, "model", "ensemble", "--out", both, one, two); r.code != 0 || !strings.Contains(r.out, "2 members") {
		t.Fatalf("%d, %s%s", r.code, r.out, r.errOut)
	}
	if r := run(t, "model", "ensemble", "--out", both, one, two); r.code != 1 {
		t.Errorf("an existing folder is written over: %d, %s", r.code, r.out)
	}
	for sampling, passes := range map[string]int{"tta": 4, "ensemble": 2, "single": 1} {
		out, volume := filepath.Join(t.TempDir(), "l.nii.gz"), filepath.Join(t.TempDir(), "m.nrrd")
		args := []string{"infer", "--model", both, "--image", image, "--out", out, "--device", "cpu", "--json", "--uncertainty", sampling, "--map", "entropy", "--map-out", volume}
		if sampling == "tta" {
			args = append(args, "--flips", ",x,y,xy")
		}
		r := run(t, args...)
		if r.code != 0 {
			t.Fatal(r.errOut)
		}
		var rep struct {
			Uncertainty struct {
				Sampling string
				Passes   int
				Scores   map[string]float64
				Regions  []struct {
					Min, Max [3]int
					Volume   float64 `json:"volume_mm3"`
				}
			}
		}
		if err := json.Unmarshal([]byte(r.out), &rep); err != nil {
			t.Fatal(err)
		}
		u := rep.Uncertainty
		if u.Sampling != sampling || u.Passes != passes || !(u.Scores["entropy"] > 0.01) || len(u.Regions) == 0 || u.Regions[0].Volume < 20 {
			t.Errorf("%s: %+v", sampling, u)
		}
		if _, ok := u.Scores["bald"]; ok != (sampling == "ensemble") {
			t.Errorf("%s: scores %v", sampling, u.Scores)
		}
		m, err := codec.Read(t.Context(), volume, codec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		labels := readLabels(t, out)
		if m.Size != labels.Size || m.Distance(labels.Grid) > 1e-4 {
			t.Errorf("%s: the map has the grid %v", sampling, m.Grid)
		}
	}
	r := run(t, "infer", "--model", both, "--image", image, "--out", filepath.Join(dir, "x.nii"), "--device", "cpu", "--uncertainty", "mc", "--passes", "3")
	if r.code != 1 || !strings.Contains(r.errOut, "no dropout") {
		t.Errorf("a network without dropout: %d, %s", r.code, r.errOut)
	}
	for _, args := range [][]string{
		{"--map", "entropy", "--map-out", "m.nii"},
		{"--uncertainty", "tta", "--map", "entropy"},
		{"--uncertainty", "tta", "--map", "entrpy", "--map-out", "m.nii"},
		{"--uncertainty", "tta", "--map", "entropy", "--map-out", "m.seg.nrrd"},
		{"--uncertainty", "tta", "--passes", "3"},
		{"--uncertainty", "mc", "--flips", "x"},
	} {
		r := run(t, append([]string{"infer", "--model", both, "--image", image, "--out", filepath.Join(dir, "x.nii")}, args...)...)
		if r.code != 2 {
			t.Errorf("%v: exit code %d, %s", args, r.code, r.errOut)
		}
	}
}
