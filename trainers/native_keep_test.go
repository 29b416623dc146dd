package trainers

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/trainers/native"
)

// graded gives the n-th network that is scored, from 1, the n-th mark.
func graded(marks ...float64) *balls {
	return &balls{mark: func(n int) float64 { return marks[min(n, len(marks))-1] }}
}

func recordOf(t *testing.T, r Request, d *balls) Record {
	t.Helper()
	if _, err := newTrainer(t, d).Train(t.Context(), r, func(Event) {}); err != nil {
		t.Fatal(err)
	}
	rec, err := ReadRecord(r.Out)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// The best model is kept over an interruption, and so is everything on record.
func TestBestModelSurvivesResume(t *testing.T) {
	r := ballRequest(t, 5, 2)
	r.Config.Steps = 60
	r.Config.ValidateEvery = 1
	whole := recordOf(t, r, graded(0.5, 0.9, 0.6, 0.7, 0.8, 0.1))
	if whole.KeptStep != 20 || whole.Mean != 0.9 || whole.Kept != "best weights" {
		t.Fatalf("kept %s of step %d, %g", whole.Kept, whole.KeptStep, whole.Mean)
	}
	parts := r
	parts.Out, parts.Work = filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "work")
	stopAtWith(t, parts, 35, graded(0.5, 0.9, 0.6))
	if got, want := names(t, parts.Work), []string{"best-20.ckpt", "last.ckpt", "lock"}; !slices.Equal(got, want) {
		t.Errorf("the work folder holds %v instead of %v", got, want)
	}
	resumed := recordOf(t, parts, graded(0.7, 0.8, 0.1))
	if !bytes.Equal(readModel(t, r.Out), readModel(t, parts.Out)) {
		t.Error("another model was kept")
	}
	for i := range whole.Epochs {
		whole.Epochs[i].Seconds, resumed.Epochs[i].Seconds = 0, 0
	}
	if !reflect.DeepEqual(whole.Epochs, resumed.Epochs) || !reflect.DeepEqual(whole.Validation, resumed.Validation) || whole.KeptStep != resumed.KeptStep {
		t.Errorf("records differ:\n%+v\n%+v", whole.Epochs, resumed.Epochs)
	}
	last := r
	last.Out, last.Config.Keep = filepath.Join(t.TempDir(), "out"), KeepLast
	if rec := recordOf(t, last, graded(0.5, 0.9, 0.6, 0.7, 0.8, 0.1)); rec.KeptStep != 60 || rec.Mean != 0.1 || rec.Kept != "last weights" {
		t.Errorf("kept %s of step %d, %g", rec.Kept, rec.KeptStep, rec.Mean)
	}
	if bytes.Equal(readModel(t, r.Out), readModel(t, last.Out)) {
		t.Error("the best model is the last one")
	}
}

func TestPatience(t *testing.T) {
	r := ballRequest(t, 4, 1)
	r.Config.Steps, r.Config.ValidateEvery, r.Config.Patience = 100, 1, 2
	rec := recordOf(t, r, graded(0.5, 0.4, 0.6, 0.6, 0.3))
	if rec.Steps != 50 || rec.StoppedBy != "patience" || rec.KeptStep != 30 || rec.Plan.Steps != 100 {
		t.Errorf("%d steps, stopped by %q, kept step %d", rec.Steps, rec.StoppedBy, rec.KeptStep)
	}
}

// Weights and their average are judged, weights first; the better one is kept.
func TestAverageIsKeptWhereItIsBetter(t *testing.T) {
	r := ballRequest(t, 4, 1)
	r.Config.Steps, r.Config.ValidateEvery, r.Config.EMA = 20, 2, 0.8
	average := recordOf(t, r, graded(0.3, 0.6))
	if average.Kept != "best average" || average.Mean != 0.6 || average.Other == nil || *average.Other != 0.3 {
		t.Errorf("kept %s with %g", average.Kept, average.Mean)
	}
	plain := r
	plain.Out = filepath.Join(t.TempDir(), "out")
	if rec := recordOf(t, plain, graded(0.6, 0.3)); rec.Kept != "best weights" || rec.Mean != 0.6 || *rec.Other != 0.3 {
		t.Errorf("kept %s with %g", rec.Kept, rec.Mean)
	}
	none := r
	none.Out, none.Config.EMA = filepath.Join(t.TempDir(), "out"), 0
	recordOf(t, none, graded(0.5))
	if bytes.Equal(readModel(t, r.Out), readModel(t, plain.Out)) || !bytes.Equal(readModel(t, plain.Out), readModel(t, none.Out)) {
		t.Error("the average is not the other model, or keeping one changes the weights")
	}
}

func TestFrozenParametersStay(t *testing.T) {
	r := ballRequest(t, 4, 1)
	r.Config.Steps, r.Config.Freeze, r.Config.From = 5, []string{"first.*"}, FromScratch
	recordOf(t, r, &balls{})
	before := tinyNetwork()
	after, err := onnx.Parse(readModel(t, r.Out))
	if err != nil {
		t.Fatal(err)
	}
	for name, same := range map[string]bool{"first.weight": true, "first.bias": true, "middle.weight": false} {
		if slices.Equal(floatsOf(t, before, name), floatsOf(t, after, name)) != same {
			t.Errorf("%s: unchanged is %v", name, !same)
		}
	}
}

func TestStepOptions(t *testing.T) {
	c := Config{
		Seed: 5, Batch: 3, Accumulate: 2, Patch: [3]int{1, 8, 9}, IgnoreLabel: 7, Heads: []float64{1, 2}, Freeze: []string{"x"}, BatchStatistics: true,
		ClipNorm: 4, EMA: 0.5, Dropout: 0.3, Loss: LossConfig{Name: "tversky", Alpha: 1, Beta: 2, ClassWeights: []float64{1, 3}},
		Optimizer: OptimizerConfig{Name: "sgd", Momentum: 0.5, Decay: 0.1},
	}
	want := native.Options{
		Shape: []int64{3, 2, 8, 9}, Accumulate: 2, IgnoreLabel: 7, HeadWeights: []float64{1, 2}, Frozen: []string{"x"}, BatchStatistics: true,
		ClipNorm: 4, Average: native.Averaging{Decay: 0.5, WarmUp: true}, Dropout: native.Dropout{Ratio: 0.3, Seed: 5},
		Loss:      native.Tversky{Alpha: 1, Beta: 2, Weights: []float64{1, 3}},
		Optimizer: native.SGD{Momentum: 0.5, Nesterov: true, Decay: 0.1},
	}
	if got := c.stepOptions(Spec{Channels: 2, Dimension: 2, Outputs: 2}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\ninstead of\n%+v", got, want)
	}
	w := []float64{1, 2}
	for name, want := range map[string]native.Loss{
		"dice_ce":          native.Combined{{Weight: 1, Loss: native.Dice{Sigmoid: true, Weights: w}}, {Weight: 1, Loss: native.CrossEntropy{Weights: w}}},
		"dice":             native.Dice{Sigmoid: true, Weights: w},
		"dice_focal":       native.Combined{{Weight: 1, Loss: native.Dice{Sigmoid: true, Weights: w}}, {Weight: 1, Loss: native.Focal{Sigmoid: true, Gamma: 3, Weights: w}}},
		"generalized_dice": native.GeneralizedDice{Sigmoid: true, Weights: w},
		"top_k":            native.TopK{Percent: 20, Weights: w},
	} {
		if got := (LossConfig{Name: name, ClassWeights: w, Gamma: 3, Percent: 20}).build(true); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A file that the manifest names goes with the model; others do not.
func TestAttachedFilesGoAlong(t *testing.T) {
	r := ballRequest(t, 3, 1)
	r.Config.Steps = 2
	manifest := tinyManifest + "inputs: [{normalize: [{harmonize: {file: harmonize.json}}]}]\n"
	for name, text := range map[string]string{"manifest.yaml": manifest, "harmonize.json": "scale", "training.json": "the parent's", "selftest.npy": "x"} {
		if err := os.WriteFile(filepath.Join(r.Model, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rec := recordOf(t, r, &balls{})
	if got, want := names(t, r.Out), []string{"harmonize.json", "manifest.yaml", "model.onnx", "training.json"}; !slices.Equal(got, want) {
		t.Errorf("the folder holds %v instead of %v", got, want)
	}
	if len(rec.Model) != 3 || rec.Model["harmonize.json"] == "" {
		t.Errorf("files on record: %v", rec.Model)
	}
}
