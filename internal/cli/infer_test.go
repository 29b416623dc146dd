package cli_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/cli"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/phantom"
)

func readLabels(t *testing.T, path string) *imaging.LabelMap {
	t.Helper()
	v, err := codec.Read(t.Context(), path, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := imaging.LabelMapOf(v)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// agreement is the share of truth's foreground voxels that got has right.
func agreement(got, truth *imaging.LabelMap) float64 {
	var right, all float64
	for i, v := range truth.Data {
		if v != 0 {
			all++
			if got.Data[i] == v {
				right++
			}
		}
	}
	return right / all
}

func TestInfer(t *testing.T) {
	orttest.Runtime(t)
	dir := studies(t)
	img, truth := phantom.Case(phantom.Seed(1, 1))
	image := filepath.Join(dir, phantom.Name(1))
	raw, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	app := filepath.Join(t.TempDir(), "app")
	if r := run(t, "app", "init", app); r.code != 0 {
		t.Fatal(r.errOut)
	}
	tests := []struct {
		name, out string
		stdin     []byte
		args      []string
	}{
		{"built-in model", "a.nii.gz", nil, []string{"--model", "hippocampus", "--image", image}},
		{"model folder", "b.nrrd", nil, []string{"--model", filepath.Join(app, "models", "hippocampus"), "--image", image}},
		{"own app", "c.nii", nil, []string{"--app", app, "--model", "hippocampus", "--image", image}},
		{"standard input", "d.seg.nrrd", raw, []string{"--model", "hippocampus", "--image", "-"}},
	}
	var first *imaging.LabelMap
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), tt.out)
			var stdout, stderr bytes.Buffer
			args := append([]string{"infer", "--out", out, "--device", "cpu", "--json"}, tt.args...)
			if code := cli.Run(t.Context(), args, bytes.NewReader(tt.stdin), &stdout, &stderr); code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr.String())
			}
			got := readLabels(t, out)
			if d := got.Grid.Distance(img.Grid); d > 1e-4 {
				t.Errorf("the label map lies %g voxels off the image's grid", d)
			}
			if a := agreement(got, truth); a < 0.6 {
				t.Errorf("%.2f of the structures' voxels are right, want 0.6", a)
			}
			if first == nil {
				first = got
			}
			if !equal(got, first) {
				t.Error("the labels differ from those of the built-in model")
			}
			checkReport(t, stdout.Bytes(), out, got)
		})
	}
}

func equal(a, b *imaging.LabelMap) bool {
	for i := range a.Data {
		if a.Data[i] != b.Data[i] {
			return false
		}
	}
	return a.Size == b.Size
}

func checkReport(t *testing.T, text []byte, out string, l *imaging.LabelMap) {
	t.Helper()
	var rep struct {
		Out, Device string
		Windows     int
		Labels      []struct {
			Name          string
			Value, Voxels int
			ML            float64
		}
		Seconds map[string]float64
	}
	if err := json.Unmarshal(text, &rep); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if rep.Out != out || rep.Device != "cpu" || rep.Windows < 1 || len(rep.Labels) != 2 || rep.Seconds["network"] <= 0 {
		t.Errorf("report = %+v", rep)
	}
	for _, r := range rep.Labels {
		n := 0
		for _, v := range l.Data {
			if int(v) == r.Value {
				n++
			}
		}
		if r.Voxels != n || math.Abs(r.ML-float64(n)/1000) > 1e-9 {
			t.Errorf("%s: %d voxels, %g ml; the file has %d voxels of 1 mm³", r.Name, r.Voxels, r.ML, n)
		}
	}
}

// A failure must leave an earlier result alone and nothing half-written.
func TestInferFailureLeavesEarlierFile(t *testing.T) {
	dir := t.TempDir()
	out, broken := filepath.Join(dir, "out.nii.gz"), filepath.Join(dir, "broken.nii.gz")
	if err := phantom.WriteCases(t.Context(), dir, 1, 1); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, phantom.Name(1)))
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{out: []byte("earlier"), broken: raw[:len(raw)/2]} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := run(t, "infer", "--model", "hippocampus", "--image", broken, "--out", out)
	if r.code != 1 || !strings.Contains(r.errOut, "broken.nii.gz") || strings.Count(r.errOut, "\n") != 1 {
		t.Errorf("exit code %d, %q", r.code, r.errOut)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != "earlier" {
		t.Errorf("the earlier file holds %q, %v", got, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("the folder holds %v, %v; want the four files from before", entries, err)
	}
}

func TestInferUnknownModel(t *testing.T) {
	image := filepath.Join(studies(t), phantom.Name(1))
	for model, want := range map[string]string{"nonsense": "hippocampus", t.TempDir(): "manifest.yaml", "models/none": "manifest.yaml"} {
		r := run(t, "infer", "--model", model, "--image", image, "--out", filepath.Join(t.TempDir(), "x.nii"))
		if r.code != 1 || !strings.Contains(r.errOut, want) {
			t.Errorf("--model %s: exit code %d, %q; want 1 and %s named", model, r.code, r.errOut, want)
		}
	}
}

func TestRuntimeShow(t *testing.T) {
	orttest.Runtime(t)
	r := run(t, "runtime", "show", "--json")
	var info struct {
		Path, Version, Variant string
		Devices                []string
	}
	if err := json.Unmarshal([]byte(r.out), &info); err != nil || r.code != 0 {
		t.Fatalf("exit code %d, %q, %q", r.code, r.out, r.errOut)
	}
	if _, err := os.Stat(info.Path); err != nil || !strings.HasPrefix(info.Version, "1.") || len(info.Devices) == 0 {
		t.Errorf("runtime = %+v", info)
	}
	if again := run(t, "runtime", "install", "--json"); again.code != 0 || again.out != r.out {
		t.Errorf("install prints %q, show %q", again.out, r.out)
	}
}
