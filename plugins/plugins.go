// Package plugins describes extensions that run as programs of their own.
//
// A Trainer is a command in an app.yaml that learns in place of, or beside, the
// trainer of this program. It speaks JSON lines (docs/trainers.md); an example
// with PyTorch is in plugins/examples/pytorch.
package plugins

import (
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/trainers"
)

// Trainer is an external trainer.
type Trainer struct {
	Name        string            `yaml:"name"`        // as clients see it; "": the model's
	Model       string            `yaml:"model"`       // the model of the app that it starts from
	Description string            `yaml:"description"` // for clients
	Command     []string          `yaml:"command"`     // program and arguments; it runs in the app's folder
	Env         map[string]string `yaml:"env"`         // added to its environment
	Devices     []string          `yaml:"devices"`     // what it can train on: cpu, cuda; none: cpu
}

// Names appear in URLs.
var (
	name   = regexp.MustCompile(`^[A-Za-z0-9_.+-]{1,100}$`)
	envKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// Checked returns t with its defaults in place, or a fault of kind Invalid that
// names the key at fault.
func (t Trainer) Checked() (Trainer, error) {
	if t.Name == "" {
		t.Name = t.Model
	}
	if t.Devices == nil {
		t.Devices = []string{"cpu"}
	}
	bad := func(format string, args ...any) (Trainer, error) {
		return t, fault.New(fault.Invalid, format, args...)
	}
	switch {
	case t.Model == "":
		return bad("model is missing")
	case !name.MatchString(t.Name):
		return bad("name %q may hold letters, digits and _ . + - only", t.Name)
	case len(t.Command) == 0 || t.Command[0] == "":
		return bad("command is empty")
	case slices.ContainsFunc(t.Command, func(s string) bool { return strings.ContainsRune(s, 0) }):
		return bad("command holds a NUL")
	case len(t.Devices) == 0:
		return bad("devices is empty")
	}
	for _, d := range t.Devices {
		if d != "cpu" && d != "cuda" {
			return bad("devices: %q is neither cpu nor cuda", d)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(t.Env)) {
		if !envKey.MatchString(k) || strings.ContainsRune(t.Env[k], 0) {
			return bad("env: %q is no variable", k)
		}
	}
	return t, nil
}

// Process returns the trainer. dir is the folder in which the command runs; nice
// is added to its niceness, as in trainers.Process.
func (t Trainer) Process(dir string, nice int, log *slog.Logger) *trainers.Process {
	p := &trainers.Process{Command: t.Command, Dir: dir, Nice: nice, Logger: log}
	for _, k := range slices.Sorted(maps.Keys(t.Env)) {
		p.Env = append(p.Env, k+"="+t.Env[k])
	}
	return p
}
