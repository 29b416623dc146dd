package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/phantom"
)

// labelled makes phantoms whose true label maps are final labels.
func labelled(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	if err := phantom.WriteCases(t.Context(), dir, n, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "labels"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, phantom.TruthDir), filepath.Join(dir, "labels", "final")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// From an empty folder to a model that infer and train take, and from that to
// one with other classes.
func TestModelNew(t *testing.T) {
	orttest.Runtime(t)
	dir := labelled(t, 3)
	model := filepath.Join(t.TempDir(), "fresh")
	r := run(t, "model", "new", "--studies", dir, "--labels", "anterior=1,posterior=2", "--minutes", "3", "--cores", "2", "--out", model)
	if r.code != 0 {
		t.Fatal(r.errOut)
	}
	for _, want := range []string{"3, 0 left out", "anterior, in 3 cases", "40×", "voxloop train --studies", "--scratch"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not said:\n%s", want, r.out)
		}
	}
	infer := func(model string) {
		t.Helper()
		out := filepath.Join(t.TempDir(), "out.nii.gz")
		if r := run(t, "infer", "--model", model, "--image", filepath.Join(dir, phantom.Name(1)), "--out", out, "--device", "cpu"); r.code != 0 {
			t.Fatal(r.errOut)
		}
		if l := readLabels(t, out); l.Max() > 7 {
			t.Errorf("label value %d", l.Max())
		}
	}
	infer(model)
	trained := filepath.Join(t.TempDir(), "trained")
	if r := run(t, "train", "--studies", dir, "--model", model, "--scratch", "--steps", "2", "--set", "patch=[16,16,16]", "--out", trained); r.code != 0 {
		t.Fatal(r.errOut)
	}
	infer(trained)
	more := filepath.Join(t.TempDir(), "more")
	r = run(t, "model", "new", "--from", trained, "--labels", "posterior=2,amygdala=7,anterior=1", "--out", more, "--json")
	if r.code != 0 {
		t.Fatal(r.errOut)
	}
	var said struct{ Kept, New, Gone []string }
	if err := json.Unmarshal([]byte(r.out), &said); err != nil || len(said.Kept) != 2 || len(said.New) != 1 || len(said.Gone) != 0 {
		t.Errorf("%s (%v)", r.out, err)
	}
	infer(more)
}

// The same images and flags give the same files; JSON tells what was planned.
func TestModelNewAgain(t *testing.T) {
	dir := labelled(t, 2)
	var sums [2]string
	for i := range sums {
		out := filepath.Join(t.TempDir(), "m")
		r := run(t, "model", "new", "--studies", dir, "--cores", "2", "--minutes", "2", "--type", "residual", "--seed", "9", "--json", "--out", out)
		if r.code != 0 {
			t.Fatal(r.errOut)
		}
		var said struct {
			LabelsFrom string `json:"labels_from"`
			Plan       struct {
				Network struct{ Type string }
				Batch   int
			}
			Fingerprint struct{ Classes []struct{ Name string } }
		}
		if err := json.Unmarshal([]byte(r.out), &said); err != nil {
			t.Fatal(err)
		}
		if said.Plan.Network.Type != "residual" || said.Plan.Batch < 2 || said.Fingerprint.Classes[1].Name != "label_2" || !strings.Contains(said.LabelsFrom, "values found") {
			t.Errorf("%+v", said)
		}
		for _, name := range []string{"model.onnx", "manifest.yaml", "fingerprint.json", "plan.json"} {
			data, err := os.ReadFile(filepath.Join(out, name))
			if err != nil {
				t.Fatal(err)
			}
			sums[i] += string(data)
		}
	}
	if sums[0] != sums[1] {
		t.Error("the files differ")
	}
}

func TestModelNewRefuses(t *testing.T) {
	dir := labelled(t, 1)
	out := filepath.Join(t.TempDir(), "m")
	base := []string{"model", "new", "--out", out}
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nothing", []string{"--labels", "a=1"}, 2, "--studies"},
		{"both", []string{"--studies", dir, "--from", dir}, 2, "give one of them"},
		{"labels", []string{"--studies", dir, "--labels", "anterior"}, 2, "NAME=VALUE"},
		{"label twice", []string{"--studies", dir, "--labels", "a=1,a=2"}, 2, "twice"},
		{"memory", []string{"--studies", dir, "--memory", "lots"}, 2, "--memory"},
		{"patch", []string{"--studies", dir, "--patch", "40,x"}, 2, "--patch"},
		{"spacing", []string{"--studies", dir, "--spacing", "1,1"}, 2, "--spacing"},
		{"type", []string{"--studies", dir, "--type", "dense"}, 2, "dense"},
		{"minutes", []string{"--studies", dir, "--minutes", "0"}, 2, "--minutes"},
		{"flag of a design", []string{"--from", dir, "--labels", "a=1", "--patch", "8,8,8"}, 2, "--patch changes nothing"},
		{"from without labels", []string{"--from", dir}, 2, "--labels"},
		{"from no model", []string{"--from", dir, "--labels", "a=1"}, 1, "manifest.yaml"},
		{"no studies", []string{"--studies", filepath.Join(dir, "absent")}, 1, "absent"},
		{"no labels", []string{"--studies", t.TempDir()}, 1, "labels/final"},
		{"unknown value", []string{"--studies", dir, "--labels", "a=1"}, 1, "label value 2"},
		{"small budget", []string{"--studies", dir, "--memory", "1MB"}, 1, "smallest network"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, append(base, tt.args...)...)
			if r.code != tt.code || !strings.Contains(r.errOut, tt.want) || strings.Count(r.errOut, "\n") != 1 {
				t.Errorf("exit code %d, %q; want %d, %q", r.code, r.errOut, tt.code, tt.want)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("a folder was made")
			}
		})
	}
	if r := run(t, "model"); r.code != 2 || !strings.Contains(r.errOut, "new") {
		t.Errorf("exit code %d, %q", r.code, r.errOut)
	}
}
