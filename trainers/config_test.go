package trainers

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
)

func TestConfigFromText(t *testing.T) {
	c, err := ChangedConfig([]byte("seed: 7\noptimizer: {name: sgd, rate: 0.1}\npatch: [8, 8, 8]\n"),
		"optimizer.rate=2e-3", "patch=[40, 56, 40]", "loss.name=tversky", "freeze=[\"a.*\"]", "batch_statistics=true", "augment=none")
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Seed: 7, Patch: [3]int{40, 56, 40}, Optimizer: OptimizerConfig{Name: "sgd", Rate: 2e-3}, Loss: LossConfig{Name: "tversky"},
		Freeze: []string{"a.*"}, BatchStatistics: true, Augment: "none",
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("%+v", c)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ParseConfig(text); err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("through JSON: %+v, %v", again, err)
	}
	if empty, err := ParseConfig(nil); err != nil || !reflect.DeepEqual(empty, Config{}) {
		t.Errorf("an empty text: %+v, %v", empty, err)
	}
}

func TestConfigNamesTheKey(t *testing.T) {
	for setting, says := range map[string]string{
		"steps=-1":                  "steps",
		"steps=many":                "int",
		"minutes=.nan":              "minutes",
		"batch=100000":              "batch",
		"patch=[1, 2]":              "array",
		"patch=[8, 8, -8]":          "patch[2]",
		"from=nowhere":              "from",
		"optimizer.name=magic":      "optimizer.name",
		"optimizer.momentum=1":      "optimizer.momentum",
		"optimizer.speed=1":         "speed",
		"optimiser.rate=1":          "optimiser",
		"schedule.name=never":       "schedule.name",
		"schedule.factor=1.5":       "schedule.factor",
		"loss.name=hope":            "loss.name",
		"loss.class_weights=[1,-1]": "loss.class_weights[1]",
		"ema=1":                     "ema",
		"dropout=1":                 "dropout",
		"augment=sometimes":         "augment",
		"oversample=2":              "oversample",
		"val_split=1":               "val_split",
		"folds=1":                   "fold",
		"fold=-1":                   "fold",
		"keep=all":                  "keep",
		"freeze=[\"[\"]":            "freeze",
		"heads=[-1]":                "heads[0]",
		"clip_norm=.inf":            "clip_norm",
		"nonsense":                  "key=value",
		"seed={":                    "seed",
	} {
		_, err := ChangedConfig(nil, setting)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", setting, err)
		}
	}
	for _, text := range []string{"a: b: c", "seed: 1\n---\nseed: 2", "- 1", strings.Repeat(" ", maxConfig+1)} {
		if _, err := ParseConfig([]byte(text)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	s := Spec{Window: [3]int{40, 0, 40}, Dimension: 3}
	c := Config{}.WithDefaults(s, 195)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.Minutes != 10 || c.Batch != 2 || c.Patch != [3]int{40, 64, 40} || c.StepsPerEpoch != 98 || c.ClipNorm != 12 || c.Optimizer.Rate != rateAdamModel || c.Augment != AugmentFull {
		t.Errorf("%+v", c)
	}
	if again := c.WithDefaults(s, 7); !reflect.DeepEqual(again, c) {
		t.Errorf("defaults on defaults changed them: %+v", again)
	}
	c = Config{From: FromScratch, Epochs: 3, Batch: 4, Accumulate: 2}.WithDefaults(Spec{Dimension: 2}, 10)
	if c.Minutes != 0 || c.Patch != [3]int{1, 256, 256} || c.StepsPerEpoch != 2 || c.Optimizer.Rate != rateAdamFew || c.Augment != AugmentGentle {
		t.Errorf("%+v", c)
	}
	for cases, want := range map[int]float64{1: rateAdamFew, 40: rateAdamFew, 41: rateAdamScratch} {
		if c := (Config{From: FromScratch, Augment: AugmentNone}).WithDefaults(s, cases); c.Optimizer.Rate != want || c.Augment != AugmentNone {
			t.Errorf("%d cases: %+v", cases, c)
		}
	}
	for _, word := range Augmentations() {
		c := Config{Augment: word}.WithDefaults(s, 12)
		r, err := c.recipe()
		if err != nil || (r == nil) != (word == AugmentNone) || c.Validate() != nil {
			t.Errorf("%s: %v, %v", word, r, err)
		}
		if r != nil && r.Validate() != nil {
			t.Errorf("%s: %v", word, r.Validate())
		}
	}
	o := Config{ClipNorm: -1, Optimizer: OptimizerConfig{Name: "sgd", Momentum: -1, Decay: -1}}.WithDefaults(s, 1).stepOptions(s)
	if o.ClipNorm != 0 {
		t.Errorf("%+v", o)
	}
}
