package apps

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/testkit"
	"github.com/voxloop/voxloop/trainers/trainertest"
)

// A trainer of app.yaml stands beside the native one, runs in the app's folder
// and makes candidates of its model.
func TestTrainerOfTheApp(t *testing.T) {
	python := testkit.NeedTool(t, "python3", "install python3 (make test-deps)")
	root := testkit.Root(t)
	s := openSchool(t, phantoms(t, 2, 2), trainertest.Script{Steps: 1}, func(o *Options) {
		for from, to := range map[string]string{
			"testdata/copy_model.py": "trainers/copy_model.py", "examples/pytorch/voxloop_trainer.py": "trainers/voxloop_trainer.py",
		} {
			b, err := os.ReadFile(filepath.Join(root, "plugins", filepath.FromSlash(from)))
			if err == nil {
				err = os.MkdirAll(filepath.Join(o.Dir, "trainers"), 0o750)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(o.Dir, filepath.FromSlash(to)), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		text := "name: n\nversion: '1'\nmodels:\n  - path: hippocampus\ntrainers:\n" +
			"  - {name: copier, model: hippocampus, description: Copies, command: [" + python + ", trainers/copy_model.py], devices: [cuda, cpu]}\n"
		if err := os.WriteFile(filepath.Join(o.Dir, FileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	info := s.Info()
	if k := strings.Join(info.Sub("trainers").Keys(), " "); k != "hippocampus copier" {
		t.Errorf("trainers %s", k)
	}
	c := info.Sub("trainers").Sub("copier")
	if b, err := ordered.Marshal(value(c.Sub("config"), "device")); err != nil || string(b) != `["cuda","cpu"]` || c.String("description") != "Copies" || c.Sub("labels").Len() != 2 {
		t.Errorf("%s %v, %v", b, c, err)
	}
	task := s.start(ordered.Of("model", "copier", "device", "cpu", "config", ordered.Of("steps", 3)))
	done := s.finished(task.ID)
	if done.Status != jobs.Done || !has(done, "finished: 3 steps, mean Dice 0.500 (a 0.500); model hippocampus/"+task.ID) || !has(done, "training train_01 on cpu") {
		t.Errorf("%+v\n%s", done, s.log.String())
	}
	if got := files(t, filepath.Join(s.StateDir(), "candidates", "hippocampus", task.ID)); !strings.Contains(got, "model.onnx training.json") {
		t.Errorf("candidate: %s", got)
	}
	if st := s.Info().Sub("train_stats"); st.Sub("copier").Len() == 0 || st.Sub("hippocampus").Len() != 0 {
		t.Errorf("train_stats %v", st.Keys())
	}
}

// One with a model's name takes the native trainer's place.
func TestTrainerInPlaceOfTheNativeOne(t *testing.T) {
	s := openSchool(t, phantoms(t, 1, 1), trainertest.Script{Steps: 1}, func(o *Options) {
		text := "name: n\nmodels:\n  - path: hippocampus\ntrainers:\n  - {model: hippocampus, command: [no-such-trainer]}\n"
		if err := os.WriteFile(filepath.Join(o.Dir, FileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	if k := strings.Join(s.Info().Sub("trainers").Keys(), " "); k != "hippocampus" {
		t.Errorf("trainers %s", k)
	}
	done := s.finished(s.start(nil).ID)
	if done.Status != jobs.Failed || !has(done, "the program no-such-trainer is not installed") {
		t.Errorf("%+v", done)
	}
}

func TestTrainersOfAnAppFileAreChecked(t *testing.T) {
	const head = "name: a\nmodels:\n  - path: m\ntrainers:\n"
	for text, want := range map[string]string{
		"  - {model: m}\n":                             "trainers[0].command is empty",
		"  - {command: [x]}\n":                         "trainers[0].model is missing",
		"  - {model: n, command: [x]}\n":               `trainers[0].model "n" is no model of this app`,
		"  - {model: m, command: [x], devices: [a]}\n": "trainers[0].devices",
		"  - {model: m, command: [x]}\n  - {name: m, model: m, command: [y]}\n": `trainers[1].name "m" is used twice`,
		"  - {model: m, comand: [x]}\n":                                         "field comand not found",
	} {
		if _, err := ParseFile([]byte(head + text)); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
