package trainers

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/trainers/native"
)

func TestTrainMakesAModelFolder(t *testing.T) {
	d := &balls{}
	r := ballRequest(t, 8, 3)
	report, events := collect()
	res, err := newTrainer(t, d).Train(t.Context(), r, report)
	if err != nil {
		t.Fatal(err)
	}
	if res.Mean < 0.9 || res.Dice["ball"] < 0.85 || res.Steps != 100 || res.Epochs != 10 || res.Model != r.Out || res.Took <= 0 {
		t.Errorf("result %+v", res)
	}
	if got, want := names(t, r.Out), []string{"manifest.yaml", "model.onnx", "training.json"}; !slices.Equal(got, want) {
		t.Errorf("the folder holds %v instead of %v", got, want)
	}
	if bytes.Equal(readModel(t, r.Out), readModel(t, r.Model)) {
		t.Error("the network has not changed")
	}
	if _, err := os.Stat(r.Work); !os.IsNotExist(err) {
		t.Errorf("the work folder is still there: %v", err)
	}
	manifest, err := os.ReadFile(filepath.Join(r.Out, "manifest.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"# a comment that stays", "parent_author: somebody", "network: small", `parent: "parent"`, "5 cases"} {
		if !strings.Contains(string(manifest), s) {
			t.Errorf("the manifest lacks %q:\n%s", s, manifest)
		}
	}
	var rec Record
	data, err := os.ReadFile(filepath.Join(r.Out, "training.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &rec); err != nil {
		t.Fatal(err)
	}
	if rec.Parent != "parent" || rec.Mean != res.Mean || len(rec.Validation) != 3 || len(rec.Epochs) != 10 || rec.Plan.Steps != 100 ||
		len(rec.Cases) != 8 || rec.Config.Seed != 3 || rec.Config.Optimizer.Name != "adamw" || rec.Library.Version == "" || rec.Code.Go == "" {
		t.Errorf("record %s", data)
	}
	list := *events
	if s := ofKind(list, Started); len(s) != 1 || s[0].Steps != 100 || s[0].Batch != 2 || !slices.Equal(s[0].Patch, []int{12, 12, 12}) {
		t.Errorf("started %+v", s)
	}
	v := ofKind(list, Validated)
	if len(v) != 3 || v[0].Epoch != 4 || v[2].Epoch != 10 || v[0].Dice["shell"] == 0 || !v[0].Best {
		t.Errorf("validated %+v", v)
	}
	if last := list[len(list)-1]; last.Kind != Finished || last.Result == nil || last.Result.Mean != res.Mean {
		t.Errorf("last event %+v", last)
	}
}

// Equal requests give equal networks, wherever and however often they were
// interrupted.
func TestResumeIsBitEqualToTheWhole(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"adamw":           func(*Config) {},
		"sgd, average":    func(c *Config) { c.Optimizer = OptimizerConfig{Name: "sgd", Rate: 0.02, Momentum: 0.9}; c.EMA = 0.9 },
		"scratch":         func(c *Config) { c.From = FromScratch },
		"plateau, batch":  func(c *Config) { c.Schedule = ScheduleConfig{Name: "plateau", Patience: 1}; c.Accumulate = 2 },
		"keep last, file": func(c *Config) { c.Keep = KeepLast; c.Augment = AugmentDefault },
	} {
		t.Run(name, func(t *testing.T) {
			whole := ballRequest(t, 6, 2)
			change(&whole.Config)
			whole.Config.Steps = 40
			if _, err := newTrainer(t, &balls{}).Train(t.Context(), whole, func(Event) {}); err != nil {
				t.Fatal(err)
			}
			parts := whole
			parts.Out, parts.Work = filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "work")
			for _, at := range []int{7, 20, 33} { // in an epoch, before a validation, in the fourth
				stopAt(t, parts, at)
			}
			if _, err := newTrainer(t, &balls{}).Train(t.Context(), parts, func(Event) {}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(readModel(t, whole.Out), readModel(t, parts.Out)) {
				t.Error("the interrupted training made another network")
			}
			a, b := manifestOf(t, whole.Out), manifestOf(t, parts.Out)
			if a != b {
				t.Errorf("other manifests:\n%s\n%s", a, b)
			}
		})
	}
}

func manifestOf(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "manifest.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// stopAt trains until after the given step and stops there.
func stopAt(t *testing.T, r Request, step int) {
	t.Helper()
	stopAtWith(t, r, step, &balls{})
}

func stopAtWith(t *testing.T, r Request, step int, d *balls) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := newTrainer(t, d)
	n.wrap = func(s stepper) stepper { return stopping{s, step, cancel} }
	_, err := n.Train(ctx, r, func(Event) {})
	if fault.KindOf(err) != fault.Canceled {
		t.Fatalf("stopped at step %d: %v", step, err)
	}
	if _, err := os.Stat(r.Out); !os.IsNotExist(err) {
		t.Fatal("a stopped training made a model")
	}
}

// stopping calls stop when a step of the given number is made.
type stopping struct {
	stepper
	at   int
	stop func()
}

func (s stopping) Run(ctx context.Context, b batch, p native.Pace) (float64, error) {
	loss, err := s.stepper.Run(ctx, b, p)
	if b.index+1 == s.at {
		s.stop()
	}
	return loss, err
}

func TestCancelIsQuick(t *testing.T) {
	r := ballRequest(t, 4, 2)
	r.Config.Steps = 1 << 20
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var at time.Time
	d := &balls{onCase: func(n int) {
		if n == 3 { // in the middle of the second validation
			at = time.Now()
			cancel()
		}
	}}
	report, events := collect()
	_, err := newTrainer(t, d).Train(ctx, r, report)
	if took := time.Since(at); took > time.Second {
		t.Errorf("the training stopped after %v", took)
	}
	if fault.KindOf(err) != fault.Canceled {
		t.Errorf("error %v", err)
	}
	list := *events
	if last := list[len(list)-1]; last.Kind != Broke || last.Fault != "canceled" {
		t.Errorf("last event %+v", last)
	}
	if n := len(list); list[n-2].Kind != Checkpoint || list[n-2].Step != 80 {
		t.Errorf("no checkpoint at the end: %+v", list[n-2])
	}
}
