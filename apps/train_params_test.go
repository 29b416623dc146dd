package apps

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/testkit"
	"github.com/voxloop/voxloop/trainers"
)

func parseBody(t *testing.T, text string) (wanted, error) {
	t.Helper()
	m, err := ordered.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return parseTraining(m)
}

func TestTrainingOptions(t *testing.T) {
	type want struct {
		name, device, from             string
		epochs, steps, batch, patience int
		minutes, split                 float64
		seed                           uint64
		ignored                        string
		rate                           float64
	}
	def := want{name: "train_01", from: "model", epochs: 50, batch: 1, split: 0.2}
	with := func(change func(*want)) want { w := def; change(&w); return w }
	for _, tt := range []struct {
		body string
		want want
	}{
		{`{}`, def},
		// What Slicer sends: the form's values, numbers as text or not.
		{
			`{"name":"train_01","pretrained":true,"device":"cpu","max_epochs":50,"early_stop_patience":-1,"val_split":0.2,"train_batch_size":1,"minutes":0,"seed":0,"client_id":"user-xyz"}`,
			with(func(w *want) { w.device = "cpu" }),
		},
		{
			`{"max_epochs":"2","val_split":"0.5","train_batch_size":"4","early_stop_patience":"3","pretrained":"false","seed":"12"}`,
			with(func(w *want) { w.epochs, w.split, w.batch, w.patience, w.from, w.seed = 2, 0.5, 4, 3, "scratch", 12 }),
		},
		{`{"device":["CUDA","cpu"],"max_epochs":"","minutes":null}`, with(func(w *want) { w.device = "cuda" })},
		{`{"minutes":2.5,"max_epochs":50}`, with(func(w *want) { w.minutes, w.epochs = 2.5, 0 })},
		{`{"val_split":0}`, with(func(w *want) { w.split = -1 })},
		{
			`{"multi_gpu":true,"gpus":"all","dataset":"SmartCacheDataset","dataloader":"ThreadDataLoader","tracking":"mlflow","tracking_uri":"","tracking_experiment_name":"","val_batch_size":1}`,
			with(func(w *want) {
				w.ignored = "val_batch_size multi_gpu gpus dataset dataloader tracking tracking_uri tracking_experiment_name"
			}),
		},
		{
			`{"config":{"optimizer":{"rate":0.001},"steps":30,"batch":3,"from":"scratch","val_split":0.3}}`,
			with(func(w *want) { w.rate, w.steps, w.epochs, w.batch, w.from, w.split = 0.001, 30, 0, 3, "scratch", 0.3 }),
		},
		{`{"config":{"steps":30,"batch":3},"max_epochs":4,"train_batch_size":2}`, with(func(w *want) { w.epochs, w.batch = 4, 2 })},
	} {
		w, err := parseBody(t, tt.body)
		if err != nil {
			t.Errorf("%s: %v", tt.body, err)
			continue
		}
		c := w.config
		got := want{
			w.name, w.device, c.From, c.Epochs, c.Steps, c.Batch, c.Patience, c.Minutes, c.ValSplit, c.Seed, strings.Join(w.ignored, " "),
			c.Optimizer.Rate,
		}
		if got != tt.want {
			t.Errorf("%s\n got %+v\nwant %+v", tt.body, got, tt.want)
		}
	}
}

func TestTrainingOptionsThatCannotBeUsed(t *testing.T) {
	for body, want := range map[string]string{
		`{"max_epochs":0}`:                            "max_epochs must be a number from 1",
		`{"max_epochs":1.5}`:                          "max_epochs must be a whole number",
		`{"max_epochs":[1]}`:                          "max_epochs must be",
		`{"max_epochs":1e300}`:                        "max_epochs must be",
		`{"train_batch_size":0}`:                      "train_batch_size must be",
		`{"train_batch_size":100000}`:                 "train_batch_size must be",
		`{"val_split":1}`:                             "val_split must be a number from 0 to 0.95",
		`{"val_split":"NaN"}`:                         "val_split must be",
		`{"minutes":-1}`:                              "minutes must be",
		`{"seed":-1}`:                                 "seed must be",
		`{"seed":"x"}`:                                "seed must be",
		`{"early_stop_patience":-2}`:                  "early_stop_patience must be",
		`{"pretrained":{}}`:                           "pretrained must be true or false",
		`{"name":7}`:                                  "name must be a text",
		`{"name":"a\nb"}`:                             "name must be a text",
		`{"name":"` + strings.Repeat("x", 101) + `"}`: "name must be a text",
		`{"device":{}}`:                               "device must be",
		`{"config":[]}`:                               "config must be an object",
		`{"config":{"epoch":1}}`:                      "config: ",
		`{"config":{"optimizer":{"name":"lion"}}}`:    "config: training configuration: optimizer.name",
	} {
		if _, err := parseBody(t, body); fault.KindOf(err) != fault.Missing || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}

func TestTrainingDevice(t *testing.T) {
	tr := trainer{devices: []string{"cuda", "cpu"}}
	for asked, want := range map[string]string{"": "cuda", "cpu": "cpu", "cuda": "cuda", "cuda:1": "cuda", "NVIDIA A100": "cuda"} {
		if got, note := tr.chooseDevice(asked); got != want || (note != "") != (asked == "NVIDIA A100") {
			t.Errorf("%q: %q, %q", asked, got, note)
		}
	}
	if got, note := (trainer{devices: []string{"cpu"}}).chooseDevice("cuda"); got != "cpu" || !strings.Contains(note, "training on cpu") {
		t.Errorf("%q, %q", got, note)
	}
}

// The form's own values are what an empty request means.
func TestTrainingFormHoldsTheDefaults(t *testing.T) {
	form := trainingForm([]string{"cpu"})
	form.Set("device", "cpu") // a client sends the first of a list
	b, err := ordered.Marshal(form)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := parseBody(t, string(b))
	if err != nil {
		t.Fatal(err)
	}
	empty, err := parseBody(t, "{}")
	if err != nil {
		t.Fatal(err)
	}
	a, c := trainers.Request{Config: shown.config}, trainers.Request{Config: empty.config}
	if a.Config.Epochs != c.Config.Epochs || a.Config.Batch != c.Config.Batch || a.Config.ValSplit != c.Config.ValSplit ||
		a.Config.Patience != c.Config.Patience || a.Config.From != c.Config.From || a.Config.Seed != c.Config.Seed || shown.name != empty.name {
		t.Errorf("form %+v\nempty %+v", shown, empty)
	}
}

func TestPageNamesEveryTrainingOption(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "trainers.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range append(trainingForm([]string{"cpu"}).Keys(), "config") {
		if !strings.Contains(string(b), "| `"+k+"` |") {
			t.Errorf("docs/trainers.md has no row for %s", k)
		}
	}
}
