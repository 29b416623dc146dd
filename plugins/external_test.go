package plugins

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/phantom"
	"github.com/voxloop/voxloop/internal/testkit"
	"github.com/voxloop/voxloop/trainers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const needPython = "install python3 (make test-deps)"

// lesson is a request with n labelled phantoms, the last of them for validation.
func lesson(t *testing.T, n int) trainers.Request {
	t.Helper()
	dir := t.TempDir()
	if err := phantom.WriteCases(t.Context(), dir, n, 4); err != nil {
		t.Fatal(err)
	}
	r := trainers.Request{
		Protocol: trainers.ProtocolVersion, Model: filepath.Join(testkit.Root(t), "apps", "radiology", "models", "hippocampus"),
		Out: filepath.Join(dir, "out"), Work: filepath.Join(dir, "work"), Device: "cpu", Threads: 2,
		Config: trainers.Config{Steps: 6, Batch: 2, Seed: 3},
	}
	for i := 1; i <= n; i++ {
		name := phantom.Name(i)
		c := trainers.Case{
			ID: strings.TrimSuffix(name, ".nii.gz"), Images: []string{filepath.Join(dir, name)},
			Label: filepath.Join(dir, phantom.TruthDir, name), Role: trainers.Train,
		}
		if i == n {
			c.Role = trainers.Validate
		}
		r.Cases = append(r.Cases, c)
	}
	return r
}

// learn runs a declared trainer and returns what it told.
func learn(ctx context.Context, t *testing.T, x Trainer, dir string, r trainers.Request, each func(trainers.Event)) (res trainers.Result, events, log string, err error) {
	t.Helper()
	x, err = x.Checked()
	if err != nil {
		t.Fatal(err)
	}
	l := &testkit.Log{}
	var all strings.Builder
	res, err = x.Process(dir, 0, slog.New(slog.NewTextHandler(l, nil))).Train(ctx, r, func(e trainers.Event) {
		b, jerr := json.Marshal(e)
		if jerr != nil {
			t.Error(jerr)
		}
		fmt.Fprintln(&all, string(b))
		if each != nil {
			each(e)
		}
	})
	return res, all.String(), l.String(), err
}

func networkOf(t *testing.T, folder string) [32]byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, infer.NetworkFile))
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

// A program in Python speaks the protocol with the example's module alone.
func TestTrainerInPython(t *testing.T) {
	python := testkit.NeedTool(t, "python3", needPython)
	x := Trainer{Model: "hippocampus", Command: []string{python, "copy_model.py"}}
	r := lesson(t, 3)
	res, events, log, err := learn(t.Context(), t, x, "testdata", r, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if res.Model != r.Out || res.Steps != 6 || res.Epochs != 1 || res.Mean != 0.5 || res.Dice["a"] != 0.5 {
		t.Errorf("%+v", res)
	}
	for _, want := range []string{
		`"event":"started","steps":6,"epochs":1,"batch":2,"patch":[8,8,8]`, `"event":"progress","step":6`,
		`3 cases, and ä pröblem`, `"event":"finished"`,
	} {
		if !strings.Contains(events, want) {
			t.Errorf("the events lack %s:\n%s", want, events)
		}
	}
	if !strings.Contains(log, "a library says hello") || strings.Contains(log, "no event") {
		t.Errorf("what a library printed: %s", log)
	}
	if networkOf(t, r.Out) != networkOf(t, r.Model) {
		t.Error("the model was not copied")
	}
}

func TestTrainerInPythonFails(t *testing.T) {
	python := testkit.NeedTool(t, "python3", needPython)
	for mood, want := range map[string]struct {
		kind fault.Kind
		msg  string
	}{
		"bad":    {fault.Invalid, "I do not like these images"},
		"broken": {fault.Internal, "the trainer has a defect; the log says where"},
		"full":   {fault.NoSpace, "the disk is full"},
	} {
		x := Trainer{Model: "m", Command: []string{python, "copy_model.py"}, Env: map[string]string{"MOOD": mood}}
		_, _, log, err := learn(t.Context(), t, x, "testdata", lesson(t, 1), nil)
		if msg, _ := fault.Message(err); fault.KindOf(err) != want.kind || msg != want.msg {
			t.Errorf("%s: %v", mood, err)
		}
		if mood != "bad" && !strings.Contains(log, "Traceback") {
			t.Errorf("%s: the log has no traceback: %s", mood, log)
		}
	}
	r := lesson(t, 1)
	r.Protocol = 2
	x := Trainer{Model: "m", Command: []string{python, "copy_model.py"}}
	if _, _, _, err := learn(t.Context(), t, x, "testdata", r, nil); !strings.Contains(fmt.Sprint(err), "protocol 2, this trainer speaks 1") {
		t.Errorf("%v", err)
	}
}

func TestTrainerInPythonStops(t *testing.T) {
	python := testkit.NeedTool(t, "python3", needPython)
	r := lesson(t, 1)
	r.Config.Steps = 100_000
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stop time.Time
	x := Trainer{Model: "m", Command: []string{python, "copy_model.py"}}
	_, events, _, err := learn(ctx, t, x, "testdata", r, func(e trainers.Event) {
		if e.Step == 3 {
			stop = time.Now()
			cancel()
		}
	})
	if d := time.Since(stop); fault.KindOf(err) != fault.Canceled || d > 2*time.Second || !strings.Contains(events, `"fault":"canceled"`) {
		t.Errorf("%v after %v", err, d)
	}
}

// Without its libraries the example says which it needs. -S keeps installed
// ones out of sight, so that the answer is the same on every machine.
func TestExampleSaysWhatItNeeds(t *testing.T) {
	python := testkit.NeedTool(t, "python3", needPython)
	x := Trainer{Model: "hippocampus", Command: []string{python, "-S", "-E", "-s", "train.py"}}
	_, _, _, err := learn(t.Context(), t, x, filepath.Join("examples", "pytorch"), lesson(t, 1), nil)
	if msg, _ := fault.Message(err); fault.KindOf(err) != fault.Unavailable || !strings.Contains(msg, "pip install torch monai nibabel onnx pyyaml") {
		t.Errorf("%v", err)
	}
}

// torch returns a Python that has what the example needs: VOXLOOP_TEST_PYTHON,
// or python3. The libraries are gigabytes, so that no CI has to have them: the
// test is skipped without, everywhere.
func torch(t *testing.T) string {
	t.Helper()
	for _, p := range []string{os.Getenv("VOXLOOP_TEST_PYTHON"), "python3"} {
		if p != "" && exec.CommandContext(t.Context(), p, "-c", "import torch, monai, nibabel, onnx, yaml").Run() == nil {
			return p
		}
	}
	t.Skip("no Python with torch, monai, nibabel, onnx and yaml: name one in VOXLOOP_TEST_PYTHON to try the example")
	return ""
}

// The example trains, validates, is stopped, goes on from its checkpoint, and
// leaves a model that this program's pipeline takes.
func TestExampleTrains(t *testing.T) {
	x := Trainer{Model: "hippocampus", Command: []string{torch(t), "train.py"}}
	dir := filepath.Join("examples", "pytorch")
	r := lesson(t, 4)
	r.Config.Steps, r.Config.From = 8, trainers.FromScratch
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, _, log, err := learn(ctx, t, x, dir, r, func(e trainers.Event) {
		if e.Kind == trainers.Progress && e.Step >= 3 {
			cancel()
		}
	})
	if fault.KindOf(err) != fault.Canceled {
		t.Fatalf("%v\n%s", err, log)
	}
	res, events, log, err := learn(t.Context(), t, x, dir, r, nil)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, events, log)
	}
	if !strings.Contains(events, `"event":"started","step":`) {
		t.Errorf("it did not go on from its checkpoint:\n%s", events)
	}
	if res.Steps != 8 || len(res.Dice) != 2 || !strings.Contains(events, `"event":"validated"`) {
		t.Errorf("%+v\n%s", res, events)
	}
	p, err := infer.OpenPipeline(os.DirFS(r.Out), infer.PipelineOptions{})
	if err != nil {
		t.Fatalf("the model cannot be used: %v", err)
	}
	if p.Outputs() != 3 || networkOf(t, r.Out) == networkOf(t, r.Model) {
		t.Errorf("%d outputs; the network must be another one", p.Outputs())
	}
	t.Logf("mean Dice %.3f after %d steps in %v", res.Mean, res.Steps, res.Took.Round(time.Second))
}
