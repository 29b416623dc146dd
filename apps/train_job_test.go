package apps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/phantom"
	"github.com/voxloop/voxloop/internal/testkit"
	"github.com/voxloop/voxloop/trainers"
	"github.com/voxloop/voxloop/trainers/trainertest"
)

// TestActAsTrainer is not a test: it is the program that trains in the others.
func TestActAsTrainer(*testing.T) { trainertest.Act() }

// noInference is an engine whose models are ready and answer nothing.
type noInference []infer.Info

func (e noInference) Models() []infer.Info { return e }
func (e noInference) Model(name string) (infer.Info, bool) {
	for _, m := range e {
		if m.Name == name {
			return m, true
		}
	}
	return infer.Info{}, false
}
func (noInference) Wait(context.Context, string) error { return nil }
func (noInference) Close() error                       { return nil }
func (noInference) Infer(context.Context, string, infer.Input, infer.Options) (*infer.Output, error) {
	return nil, errors.New("no inference here")
}

// phantoms makes a studies folder of n synthetic cases, labelled of them with
// their truth as the final label.
func phantoms(t *testing.T, n, labelled int) string {
	t.Helper()
	dir := t.TempDir()
	if err := phantom.WriteCases(t.Context(), dir, n, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "labels", "final"), 0o750); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= labelled; i++ {
		from := filepath.Join(dir, phantom.TruthDir, phantom.Name(i))
		if err := os.Rename(from, filepath.Join(dir, "labels", "final", phantom.Name(i))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// school is an app whose trainer is acted by this test binary.
type school struct {
	*App
	t   *testing.T
	log *testkit.Log
}

// openSchool opens an app with the starting model on studies.
func openSchool(t *testing.T, studies string, s trainertest.Script, change func(*Options)) *school {
	t.Helper()
	model := filepath.Join(testkit.Root(t), "apps", "radiology", "models", "hippocampus")
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "hippocampus"), os.DirFS(model)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{infer.TrainingFile, "version.json"} { // of the version in service
		if err := os.WriteFile(filepath.Join(dir, "hippocampus", name), []byte(`{"parent":"another"}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte("name: n\nversion: '1'\nmodels:\n  - path: hippocampus\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &testkit.Log{}
	o := Options{
		Dir: dir, Studies: studies, Logger: slog.New(slog.NewTextHandler(log, nil)),
		Engine: noInference{{
			Name: "hippocampus", Type: "segmentation", Description: "two parts", Dimension: 3, State: infer.Ready, Version: "v1",
			Labels: []infer.Label{{Name: "anterior", Value: 1}, {Name: "posterior", Value: 2}},
		}},
		Training: TrainingOptions{Enabled: true, Resume: true, Command: trainertest.Command(t, "TestActAsTrainer", s)},
	}
	if change != nil {
		change(&o)
	}
	app, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := app.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &school{App: app, t: t, log: log}
}

func (s *school) start(body *ordered.Map) jobs.Task {
	s.t.Helper()
	request := ordered.Of("model", "hippocampus").Merge(body)
	if err := s.CheckTraining(s.t.Context(), request); err != nil {
		s.t.Fatal(err)
	}
	task, err := s.Tasks().Train.Start(request, true)
	if err != nil {
		s.t.Fatal(err)
	}
	return task
}

// until waits for a task to satisfy a condition.
func (s *school) until(id string, what string, ok func(jobs.Task) bool) jobs.Task {
	s.t.Helper()
	var last jobs.Task
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		for _, task := range s.Tasks().Train.All() {
			if task.ID == id {
				last = task
			}
		}
		if ok(last) {
			return last
		}
	}
	s.t.Fatalf("the task never was %s: %+v\n%s", what, last, s.log.String())
	return last
}

func (s *school) finished(id string) jobs.Task {
	s.t.Helper()
	return s.until(id, "finished", jobs.Task.Finished)
}

// at is the step that a training has told last.
func at(task jobs.Task) (step int) {
	for _, m := range stepTold.FindAllStringSubmatch(strings.Join(task.Details, "\n"), -1) {
		step, _ = strconv.Atoi(m[1])
	}
	return step
}

var stepTold = regexp.MustCompile(`step (\d+) of \d+`)

func has(task jobs.Task, text string) bool {
	return strings.Contains(strings.Join(task.Details, "\n"), text)
}

func readJSON(t *testing.T, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// files lists the files below a folder.
func files(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func TestTrainingFromRequestToCandidate(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := openSchool(t, phantoms(t, 4, 3), trainertest.Script{Steps: 6, Warn: "case phantom_0003 was left out", Babble: "a line of the log"}, func(o *Options) {
		o.Metrics, o.Training.Threads, o.Training.Library = reg, 3, "/lib/x.so"
	})
	task := s.start(ordered.Of("max_epochs", "2", "val_split", json.Number("0.5"), "train_batch_size", json.Number("4"), "seed", 7,
		"name", "first", "multi_gpu", true, "dataset", "Dataset", "client_id", "u"))
	done := s.finished(task.ID)
	if done.Status != jobs.Done {
		t.Fatalf("%+v\n%s", done, s.log.String())
	}
	var r trainers.Request
	readJSON(t, filepath.Join(s.StateDir(), "training", task.ID, requestFile), &r)
	c := r.Config
	if r.Protocol != 1 || r.Device != "cpu" || r.Threads != 3 || r.Library != "/lib/x.so" || c.Epochs != 2 || c.Batch != 4 || c.Seed != 7 ||
		c.ValSplit != 0.5 || c.From != trainers.FromModel || c.Patience != 0 || c.Minutes != 0 {
		t.Errorf("request %+v", r)
	}
	if len(r.Cases) != 3 || r.Cases[0].ID != "phantom_0001" || r.Cases[0].LabelSum == "" || r.Cases[0].Role == "" || !filepath.IsAbs(r.Cases[0].Images[0]) {
		t.Errorf("cases %+v", r.Cases)
	}
	for _, want := range []string{
		"training first on cpu: cases: 1 to learn from, 2 to validate, 6 steps, 2 epochs, batches of 4, patches of 8x8x8 voxels",
		"epoch 2 of 2, step 6 of 6, loss 0.1667, 12.5 samples/s", "case phantom_0003 was left out",
		"epoch 2 validated: mean Dice 0.625 (anterior 0.500, posterior 0.750), the best so far",
		"finished: 6 steps, mean Dice 0.625", "model hippocampus/" + task.ID, "it is a candidate, not in service",
	} {
		if !has(done, want) {
			t.Errorf("the details lack %q: %q", want, done.Details)
		}
	}
	// Progress lines replace each other: one before the warning, one after it.
	if n := strings.Count(strings.Join(done.Details, "\n"), "samples/s"); n != 2 {
		t.Errorf("%d progress lines are left: %q", n, done.Details)
	}
	if got := files(t, filepath.Join(s.StateDir(), "candidates", "hippocampus", task.ID)); got != "README.md manifest.yaml model.onnx training.json" {
		t.Errorf("candidate: %s", got)
	}
	if got := files(t, filepath.Join(s.StateDir(), "training", task.ID)); got != "request.json task.json" {
		t.Errorf("left of the training: %s", got)
	}
	if l := s.log.String(); !strings.Contains(l, "a line of the log") || !strings.Contains(l, `options="multi_gpu, dataset"`) {
		t.Errorf("log %s", l)
	}
	s.checkTold(task.ID)
	m := scrape(t, reg)
	for _, want := range []string{`voxloop_trainings_total{ok,hippocampus} 1`, `voxloop_training_running{} 0`, `voxloop_training_mean_dice{hippocampus} 0.625`} {
		if !strings.Contains(m, want) {
			t.Errorf("metrics lack %s:\n%s", want, m)
		}
	}
}

// checkTold looks at training.json and at what clients are told.
func (s *school) checkTold(task string) {
	s.t.Helper()
	var record map[string]any
	readJSON(s.t, filepath.Join(s.StateDir(), "candidates", "hippocampus", task, infer.TrainingFile), &record)
	if record["parent"] != "v1" || record["run"] != "first" || strings.Contains(fmt.Sprint(record["cases"]), "/") {
		s.t.Errorf("training.json %v", record)
	}
	info := s.Info()
	trainer := info.Sub("trainers").Sub("hippocampus")
	if k := strings.Join(trainer.Keys(), " "); k != "description config labels" {
		s.t.Errorf("trainer %s", k)
	}
	if k := strings.Join(trainer.Sub("config").Keys(), " "); k != "name pretrained device max_epochs early_stop_patience val_split train_batch_size minutes seed" {
		s.t.Errorf("config %s", k)
	}
	b, err := ordered.Marshal(info.Sub("train_stats").Sub("hippocampus"))
	if err != nil {
		s.t.Fatal(err)
	}
	var st struct {
		Epoch  int     `json:"epoch"`
		Epochs int     `json:"total_epochs"`
		Steps  int     `json:"total_iterations"`
		Best   float64 `json:"best_metric"`
		Total  string  `json:"total_time"`
		Eval   struct {
			Metrics map[string]float64 `json:"metrics"`
			At      int                `json:"best_metric_epoch"`
		} `json:"eval"`
	}
	if err := json.Unmarshal(b, &st); err != nil || st.Epoch != 2 || st.Epochs != 2 || st.Steps != 6 || st.Best != 0.625 || st.Total == "" ||
		st.Eval.At != 2 || st.Eval.Metrics["val_posterior_dice"] != 0.75 || strings.Contains(string(b), "null") {
		s.t.Errorf("train_stats %s, %v", b, err)
	}
}

// scrape writes metrics as name{label values} value.
func scrape(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range all {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			fmt.Fprintf(&b, "%s{%s} %g\n", f.GetName(), strings.Join(labels, ","), m.GetGauge().GetValue()+m.GetCounter().GetValue())
		}
	}
	return b.String()
}

func TestTrainingThatFails(t *testing.T) {
	for name, tt := range map[string]struct {
		script trainertest.Script
		want   string
	}{
		"out of disk":   {trainertest.Script{Steps: 2, Fail: "the disk is full", Fault: "no space"}, "the disk is full"},
		"out of memory": {trainertest.Script{Steps: 3, Crash: 2}, "probably because memory ran out"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openSchool(t, phantoms(t, 2, 2), tt.script, nil)
			task := s.start(nil)
			done := s.finished(task.ID)
			if done.Status != jobs.Failed || !strings.Contains(done.Details[len(done.Details)-1], tt.want) {
				t.Errorf("%+v", done)
			}
			if got := files(t, filepath.Join(s.StateDir(), "candidates")); got != "" {
				t.Errorf("a candidate is left: %s", got)
			}
			if got := files(t, filepath.Join(s.StateDir(), "training", task.ID)); got != "request.json task.json" {
				t.Errorf("left of the training: %s", got)
			}
			// The next one starts afresh.
			if again := s.finished(s.start(nil).ID); again.Status != jobs.Failed || has(again, "going on") {
				t.Errorf("%+v", again)
			}
		})
	}
}

func TestTrainingIsStopped(t *testing.T) {
	s := openSchool(t, phantoms(t, 2, 2), trainertest.Script{Steps: 1000, Pause: 20 * time.Millisecond}, nil)
	task := s.start(nil)
	s.until(task.ID, "at work", func(t jobs.Task) bool { return has(t, "step") })
	if st := s.Info().Sub("train_stats").Sub("hippocampus"); value(st, "current_time") == nil || value(st, "total_time") != nil {
		t.Errorf("train_stats of a running training: %v", st.Keys())
	}
	begin := time.Now()
	stopped, ok := s.Tasks().Train.Stop(t.Context())
	if d := time.Since(begin); !ok || stopped.Status != jobs.Stopped || d > 2*time.Second {
		t.Errorf("%+v after %v", stopped, d)
	}
	if got := files(t, filepath.Join(s.StateDir(), "training", task.ID)); got != "request.json task.json" {
		t.Errorf("left of the training: %s", got)
	}
}

// A server that stops, or is killed, takes its training up again: the same id,
// the same cases, labels and model, from the last checkpoint.
func TestTrainingGoesOnAfterARestart(t *testing.T) {
	studies := phantoms(t, 3, 2)
	script := trainertest.Script{Steps: 40, Pause: 10 * time.Millisecond}
	s := openSchool(t, studies, script, nil)
	task := s.start(ordered.Of("name", "long"))
	s.until(task.ID, "at work", func(t jobs.Task) bool { return at(t) >= 3 })
	dir := filepath.Join(s.StateDir(), "training", task.ID)
	before, err := os.ReadFile(filepath.Join(dir, requestFile))
	if err != nil {
		t.Fatal(err)
	}
	var r trainers.Request
	readJSON(t, filepath.Join(dir, requestFile), &r)
	if got := r.Cases[0].Label; got != filepath.Join(dir, labelsDir, phantom.Name(1)) {
		t.Errorf("the label is read from %s: a later save would change the training", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); !strings.Contains(got, "work/step") || !strings.Contains(got, "model/model.onnx") || !strings.Contains(got, "labels/phantom_0001.nii.gz") {
		t.Errorf("kept: %s", got)
	}
	// What a killed server may leave, and a label that changed since.
	if err := os.MkdirAll(filepath.Join(s.StateDir(), "candidates", "hippocampus", task.ID, "half"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(studies, "labels", "final", phantom.Name(1))); err != nil {
		t.Fatal(err)
	}
	s = openSchool(t, studies, script, nil)
	done := s.finished(task.ID)
	if done.Status != jobs.Done || !has(done, "going on after step") || !has(done, "taken up again") || !has(done, "training long on") {
		t.Errorf("%+v\n%s", done, s.log.String())
	}
	after, err := os.ReadFile(filepath.Join(dir, requestFile))
	if err != nil || string(after) != string(before) {
		t.Errorf("the request changed: %v\n%s", err, after)
	}
	if got := files(t, filepath.Join(s.StateDir(), "candidates", "hippocampus", task.ID)); got != "README.md manifest.yaml model.onnx training.json" {
		t.Errorf("candidate: %s", got)
	}
	// A third server knows the finished task and its numbers.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openSchool(t, studies, script, nil)
	if last, ok := s.Tasks().Train.Latest(); !ok || last.ID != task.ID || last.Status != jobs.Done {
		t.Errorf("%+v", last)
	}
	if st := s.Info().Sub("train_stats").Sub("hippocampus"); st.String("total_time") == "" {
		t.Errorf("train_stats %v", st)
	}
}

func TestTrainingIsNotTakenUpWhenToldSo(t *testing.T) {
	studies := phantoms(t, 2, 2)
	script := trainertest.Script{Steps: 1000, Pause: 10 * time.Millisecond}
	s := openSchool(t, studies, script, nil)
	task := s.start(nil)
	s.until(task.ID, "at work", func(t jobs.Task) bool { return at(t) >= 2 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openSchool(t, studies, script, func(o *Options) { o.Training.Resume = false })
	if done := s.finished(task.ID); done.Status != jobs.Stopped {
		t.Errorf("%+v", done)
	}
}

func TestTrainingIsRefused(t *testing.T) {
	s := openSchool(t, phantoms(t, 2, 0), trainertest.Script{Steps: 1}, nil)
	check := func(body *ordered.Map) error {
		return s.CheckTraining(t.Context(), ordered.Of("model", "hippocampus").Merge(body))
	}
	if err := check(nil); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "no image has a final label") {
		t.Errorf("nothing labelled: %v", err)
	}
	if err := check(ordered.Of("max_epochs", "many")); fault.KindOf(err) != fault.Missing || !strings.HasPrefix(err.Error(), "max_epochs must be") {
		t.Errorf("%v", err)
	}
	if err := check(ordered.Of("model", "made up")); err != nil {
		t.Errorf("an unknown trainer ends as a task: %v", err)
	}
	if _, err := s.Tasks().Train.Do(t.Context(), ordered.Of("model", "made up"), false); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an unknown trainer: %v", err)
	}
	if _, err := s.Tasks().Train.Do(t.Context(), ordered.Of("model", "hippocampus"), false); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a task with nothing to learn from: %v", err)
	}
}

// Only the newest candidates are kept, and a publisher decides their fate.
func TestCandidatesArePublishedAndPruned(t *testing.T) {
	var seen []Candidate
	s := openSchool(t, phantoms(t, 1, 1), trainertest.Script{Steps: 1}, func(o *Options) {
		o.Training.Keep = 2
		o.Training.Publish = func(_ context.Context, c Candidate) (string, error) {
			seen = append(seen, c)
			if len(seen) == 2 {
				return "", fault.New(fault.Conflict, "the gate is shut")
			}
			return "published as version x", nil
		}
	})
	var ids []string
	for range 4 {
		task := s.finished(s.start(nil).ID)
		ids = append(ids, task.ID)
		want := "published as version x"
		if len(ids) == 2 {
			want = "it is a candidate, not in service: the gate is shut"
		}
		if task.Status != jobs.Done || !has(task, want) {
			t.Errorf("training %d: %+v", len(ids), task)
		}
	}
	if c := seen[0]; c.Model != "hippocampus" || c.Trainer != "hippocampus" || c.Task != ids[0] || c.Result.Mean != 0.625 || filepath.Base(c.Dir) != ids[0] {
		t.Errorf("%+v", c)
	}
	left, err := os.ReadDir(filepath.Join(s.StateDir(), "candidates", "hippocampus"))
	if err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
	if _, err := os.Stat(seen[3].Dir); err != nil {
		t.Errorf("the newest candidate is gone: %v", err)
	}
}
