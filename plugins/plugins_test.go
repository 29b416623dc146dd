package plugins

import (
	"reflect"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
)

func TestCheckedFillsIn(t *testing.T) {
	got, err := Trainer{Model: "heart", Command: []string{"python3", "train.py"}}.Checked()
	if err != nil || got.Name != "heart" || !reflect.DeepEqual(got.Devices, []string{"cpu"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCheckedRefusesAndNamesTheKey(t *testing.T) {
	ok := Trainer{Model: "m", Command: []string{"x"}}
	for want, change := range map[string]func(*Trainer){
		"model is missing": func(t *Trainer) { t.Model = "" },
		"name \"a b\"":     func(t *Trainer) { t.Name = "a b" },
		"command is empty": func(t *Trainer) { t.Command = nil },
		"command holds":    func(t *Trainer) { t.Command = []string{"x", "\x00"} },
		"devices is empty": func(t *Trainer) { t.Devices = []string{} },
		"devices: \"tpu\"": func(t *Trainer) { t.Devices = []string{"cpu", "tpu"} },
		"env: \"A B\"":     func(t *Trainer) { t.Env = map[string]string{"A B": ""} },
	} {
		x := ok
		change(&x)
		if _, err := x.Checked(); fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestProcessTakesTheDeclaration(t *testing.T) {
	p := Trainer{Command: []string{"x", "y"}, Env: map[string]string{"B": "2", "A": "1"}}.Process("dir", 5, nil)
	if p.Dir != "dir" || p.Nice != 5 || strings.Join(p.Command, " ") != "x y" || strings.Join(p.Env, " ") != "A=1 B=2" {
		t.Errorf("%+v", p)
	}
}
