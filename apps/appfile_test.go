package apps

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/strategies"
)

func TestParseFile(t *testing.T) {
	f, err := ParseFile([]byte("name: Lab\ndescription: d\nversion: '2'\nlabels: [a, b]\nmodels:\n  - path: models/one\n  - {path: two, name: GMM+GraphCut}\nstrategies: [first]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if f.Name != "Lab" || len(f.Models) != 2 || f.Models[0].Name != "one" || f.Models[1].Name != "GMM+GraphCut" || f.Strategies[0] != "first" || len(f.Labels) != 2 {
		t.Errorf("%+v", f)
	}
}

func TestParseFileRefusesAndNamesTheKey(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "empty"},
		{"name: a\nmodel: []\n", "field model not found"},
		{"name: a\nmodels:\n  - {path: m, pth: x}\n", "field pth not found"},
		{"models:\n  - path: m\n", "name is missing"},
		{"name: a\n", "models is empty"},
		{"name: a\nmodels:\n  - path: ../m\n", "models[0].path"},
		{"name: a\nmodels:\n  - path: /etc\n", "models[0].path"},
		{"name: a\nmodels:\n  - path: .\n", "models[0].path"},
		{"name: a\nmodels:\n  - name: x\n", "models[0].path"},
		{"name: a\nmodels:\n  - {path: m, name: a b}\n", "models[0].name"},
		{"name: a\nmodels:\n  - path: m\n  - path: other/m\n", "models[1].name"},
		{"name: [a]\nmodels: []\n", "line 1"},
		{"name: a\nmodels:\n  - path: m\ntuned_strategies:\n  - {kind: tta, measur: js}\n", "field measur not found"},
		{"name: a\nmodels:\n  - path: m\ntuned_strategies:\n  - {kind: tta, name: first}\n", "tuned_strategies[0].name"},
		{"name: a\nmodels:\n  - path: m\ntuned_strategies:\n  - {kind: tta, name: a/b}\n", "tuned_strategies[0].name"},
		{"name: a\nmodels:\n  - path: m\ntuned_strategies:\n  - kind: tta\n  - kind: tta\n", "tuned_strategies[1].name"},
		{"name: a\nmodels:\n  - path: m\n---\nname: b\n", "more than one document"},
	} {
		_, err := ParseFile([]byte(tt.text))
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), FileName) {
			t.Errorf("%q: %v", tt.text, err)
		}
	}
	if _, err := ReadFile(fstest.MapFS{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no file: %v", err)
	}
}

// TestTunedStrategies: strategies with parameters stand beside the others or in
// the place of the one whose name they have.
func TestTunedStrategies(t *testing.T) {
	f, err := ParseFile([]byte("name: a\nmodels:\n  - path: m\ntuned_strategies:\n  - {kind: tta, measure: js}\n  - {name: calm, kind: powerbald, beta: 4, seed: 9}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var o SelectionOptions
	plain, err := o.offered(strategies.NewIndex(), "m", nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := o.offered(strategies.NewIndex(), "m", f.Tuned)
	if err != nil || len(all) != len(plain)+1 {
		t.Fatalf("%d strategies, want %d: %v", len(all), len(plain)+1, err)
	}
	for i, s := range all[:len(plain)] {
		if s.Name() != plain[i].Name() {
			t.Errorf("place %d: %s, want %s", i, s.Name(), plain[i].Name())
		}
		if s.Name() == "tta" && s.(strategies.Configured).Parameters().String("measure") != "js" {
			t.Error("tta was not replaced")
		}
	}
	if got := all[len(plain)].(strategies.Configured).Parameters(); all[len(plain)].Name() != "calm" || got.String("measure") != "bald" {
		t.Errorf("%s %v", all[len(plain)].Name(), got)
	}
	for want, s := range map[string]strategies.Spec{
		"tuned_strategies[0]: strategy x: measure": {Name: "x", Kind: strategies.KindTTA, Measure: "none"},
		"tuned_strategies[0].model":                {Name: "x", Kind: strategies.KindTTA, Model: "other"},
	} {
		if _, err := o.offered(strategies.NewIndex(), "m", []strategies.Spec{s}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
}

func TestChooseModels(t *testing.T) {
	f := File{Models: []ModelRef{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
	for _, tt := range []struct {
		conf string
		want string
	}{{"", "a b c"}, {"all", "a b c"}, {"c, a", "a c"}, {"b", "b"}} {
		o, err := Options{Studies: "x", FS: fstest.MapFS{}, Conf: map[string]string{"models": tt.conf}}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		refs, err := o.choose(f)
		var names []string
		for _, r := range refs {
			names = append(names, r.Name)
		}
		if err != nil || strings.Join(names, " ") != tt.want {
			t.Errorf("%q: %v, %v", tt.conf, names, err)
		}
	}
	if _, err := (Options{Models: []string{"z"}}).choose(f); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "a, b, c") {
		t.Errorf("an unknown model: %v", err)
	}
}

func TestOptionsNeedStudiesAndApp(t *testing.T) {
	for _, o := range []Options{{Dir: "x"}, {Studies: "x"}} {
		if _, err := o.withDefaults(); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
