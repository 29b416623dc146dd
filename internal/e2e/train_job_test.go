package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/phantom"
	"github.com/voxloop/voxloop/internal/testkit"
)

// labelledPhantoms makes a studies folder of n synthetic cases; all but the last
// have their truth as the final label.
func labelledPhantoms(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	if err := phantom.WriteCases(t.Context(), dir, n, 7); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "labels", "final"), 0o750); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < n; i++ {
		if err := os.Rename(filepath.Join(dir, phantom.TruthDir, phantom.Name(i)), filepath.Join(dir, "labels", "final", phantom.Name(i))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// trainTask is a training as clients see it.
type trainTask struct {
	ID, Status string
	Details    []string
}

var sendsJSON = []string{"content-type: application/json"}

func (s *server) task(a answer) trainTask {
	s.t.Helper()
	var task trainTask
	if err := json.Unmarshal(a.body, &task); err != nil || task.ID == "" {
		s.t.Fatalf("no task: %s", a.body)
	}
	return task
}

// train starts a training once the models are ready.
func (s *server) train(body string) trainTask {
	s.t.Helper()
	s.must(200, "GET", "/readyz?models=1", nil, nil)
	return s.task(s.must(200, "POST", "/train/hippocampus", sendsJSON, []byte(body)))
}

// until polls the latest training, as Slicer does.
func (s *server) until(what string, ok func(trainTask) bool) trainTask {
	s.t.Helper()
	var task trainTask
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if task = s.task(s.must(200, "GET", "/train/", nil, nil)); ok(task) {
			return task
		}
	}
	s.t.Fatalf("the training never was %s: %+v", what, task)
	return task
}

func (s *server) trained() trainTask {
	s.t.Helper()
	task := s.until("done", func(x trainTask) bool { return x.Status != "SUBMITTED" && x.Status != "RUNNING" })
	if task.Status != "DONE" {
		s.t.Fatalf("%+v", task)
	}
	return task
}

// atWork says that a training makes steps.
func atWork(x trainTask) bool {
	return x.Status == "RUNNING" && strings.Contains(strings.Join(x.Details, "\n"), "step ")
}

// children are the processes that a process started.
func children(t testing.TB, pid int) []int {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // a thread that has ended
		}
		for w := range strings.FieldsSeq(string(b)) {
			n, err := strconv.Atoi(w)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, n)
		}
	}
	return out
}

func ended(pids []int) bool {
	for _, p := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err == nil && !bytes.Contains(stat, []byte(") Z ")) || err != nil && syscall.Kill(p, 0) == nil {
			return false
		}
	}
	return true
}

func candidate(studies, id string) string {
	return filepath.Join(studies, ".voxloop", "candidates", "hippocampus", id)
}

func networkSum(t testing.TB, folder string) [32]byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

// TestTrainingJob trains from a client's request to a model that infer takes.
// Meanwhile the server answers inferences. A second training is stopped.
func TestTrainingJob(t *testing.T) {
	studies := labelledPhantoms(t, 7)
	s := start(t, studies, "--app", testkit.ReferenceApp(t))
	started := s.train(`{"max_epochs":6,"val_split":0.3,"client_id":"e2e"}`)
	s.until("at work", atWork)
	h, body := form(map[string]any{"result_extension": ".nrrd"}, "", "", nil)
	begin := time.Now()
	s.must(200, "POST", "/infer/hippocampus?image=phantom_0007&output=image", h, body)
	t.Logf("an inference during the training took %v", time.Since(begin).Round(time.Millisecond))
	s.must(429, "POST", "/train/hippocampus", sendsJSON, []byte(`{}`))
	done := s.trained()
	if done.ID != started.ID || !strings.Contains(strings.Join(done.Details, "\n"), "mean Dice") {
		t.Errorf("%+v", done)
	}
	var info struct {
		Stats map[string]struct {
			Epoch int     `json:"epoch"`
			Best  float64 `json:"best_metric"`
			Total string  `json:"total_time"`
		} `json:"train_stats"`
	}
	if err := json.Unmarshal(s.must(200, "GET", "/info/", nil, nil).body, &info); err != nil {
		t.Fatal(err)
	}
	if st := info.Stats["hippocampus"]; st.Epoch != 6 || st.Best < 0.7 || st.Total == "" {
		t.Errorf("train_stats %+v", st)
	}
	out := filepath.Join(t.TempDir(), "label.nii.gz")
	cmd := exec.CommandContext(t.Context(), binary(t), "infer", "--model", candidate(studies, done.ID), "--image", filepath.Join(studies, phantom.Name(7)), "--out", out)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the candidate cannot be used: %v\n%s", err, b)
	}
	s.stopTraining(t)
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// stopTraining starts a long training and stops it.
func (s *server) stopTraining(t *testing.T) {
	t.Helper()
	s.train(`{"minutes":10}`)
	s.until("at work", atWork)
	pids := children(t, s.cmd.Process.Pid)
	if len(pids) == 0 {
		t.Error("no child process trains")
	}
	begin := time.Now()
	stopped := s.task(s.must(200, "DELETE", "/train/", nil, nil))
	if d := time.Since(begin); stopped.Status != "STOPPED" || len(stopped.Details) == 0 || d > 2*time.Second { // one second and a loaded machine
		t.Errorf("stopped after %v: %+v", d, stopped)
	}
	if !ended(pids) {
		t.Error("the process that trained is still there")
	}
	s.must(404, "GET", "/train/?check_if_running=true", nil, nil)
	if a := s.must(200, "DELETE", "/train/", nil, nil); string(a.body) != "null" {
		t.Errorf("nothing to stop: %s", a.body)
	}
}

// TestTrainingSurvivesKill kills the server during a training, after one of its
// labels was deleted and another one corrected. No process is left behind; the
// next server goes on under the same id, and the result is the one of an
// uninterrupted training with the labels as they were, bit for bit.
func TestTrainingSurvivesKill(t *testing.T) {
	const request = `{"max_epochs":10,"val_split":0.3,"seed":5}`
	studies := labelledPhantoms(t, 6)
	s := start(t, studies)
	s.train(request)
	whole := s.trained()
	again := s.train(request)
	s.until("past a checkpoint", func(x trainTask) bool {
		return x.Status == "RUNNING" && strings.Contains(strings.Join(x.Details, "\n"), "epoch 4 ")
	})
	s.must(200, "DELETE", "/datastore/label?id=phantom_0001&tag=final", nil, nil)
	truth, err := os.ReadFile(filepath.Join(studies, "labels", "final", phantom.Name(2)))
	if err != nil {
		t.Fatal(err)
	}
	header, body := form(map[string]any{}, "label", "phantom_0003.nii.gz", truth)
	s.must(200, "PUT", "/datastore/label?image=phantom_0003", header, body)
	pids := children(t, s.cmd.Process.Pid)
	s.kill()
	for deadline := time.Now().Add(5 * time.Second); !ended(pids); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%v train on without a server", pids)
		}
	}
	s = start(t, studies)
	done := s.trained()
	details := strings.Join(done.Details, "\n")
	if done.ID != again.ID || !strings.Contains(details, "going on after step") {
		t.Errorf("%+v", done)
	}
	if networkSum(t, candidate(studies, whole.ID)) != networkSum(t, candidate(studies, done.ID)) {
		t.Error("the interrupted training made another network than the uninterrupted one")
	}
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestTrainingsGiveMemoryBack trains again and again: the server's memory stays
// where it was. VOXLOOP_TRAININGS sets how often.
func TestTrainingsGiveMemoryBack(t *testing.T) {
	n := count(t, "VOXLOOP_TRAININGS", 2)
	s := start(t, labelledPhantoms(t, 4))
	h, body := form(map[string]any{}, "", "", nil)
	once := func() {
		s.train(`{"max_epochs":1}`)
		s.trained()
		s.must(200, "POST", "/infer/hippocampus?image=phantom_0004&output=image", h, body)
	}
	for range 3 { // what the first trainings, judgements, inferences and scores need for good
		once()
	}
	// The labelled images are looked at once, in the background, by a session of its own.
	for deadline := time.Now().Add(time.Minute); !strings.Contains(s.log.String(), "scores are current"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the images are never scored")
		}
	}
	once() // which gives back what scoring held for a moment
	before := s.residentMB()
	for range n {
		once()
	}
	after := s.residentMB()
	t.Logf("resident memory: %d MB, after %d more trainings %d MB", before, n, after)
	if after > before+before/10+16 {
		t.Errorf("resident memory grew from %d MB to %d MB in %d trainings", before, after, n)
	}
	s.stop()
}

// residentMB is the smallest resident size within a second.
func (s *server) residentMB() int {
	s.t.Helper()
	least := 1 << 30
	for range 10 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
		if err != nil {
			s.t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "VmRSS:")
		kb, err := strconv.Atoi(strings.Fields(rest)[0])
		if err != nil {
			s.t.Fatal(err)
		}
		least = min(least, kb/1024)
		time.Sleep(100 * time.Millisecond)
	}
	return least
}
