package apps

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/plugins"
	"github.com/voxloop/voxloop/strategies"
)

// FileName is the file that makes a folder an app.
const FileName = "app.yaml"

// File is the content of an app.yaml.
type File struct {
	Name        string     `yaml:"name"`
	Description string     `yaml:"description"`
	Version     string     `yaml:"version"`
	Labels      []string   `yaml:"labels"`
	Models      []ModelRef `yaml:"models"`
	Strategies  []string   `yaml:"strategies"` // those offered; absent: all
	Scoring     []string   `yaml:"scoring"`    // methods offered; absent: all

	Tuned []strategies.Spec `yaml:"tuned_strategies"` // strategies with parameters; one may take the name of a kind

	Trainers []plugins.Trainer `yaml:"trainers"` // programs that train in place of, or beside, this one
}

// ModelRef names a model folder of an app.
type ModelRef struct {
	Name string `yaml:"name"`
	Path string `yaml:"path"` // slash-separated, below the app's folder
}

// Model names appear in URLs, where a space or a slash cannot be sent by every
// client.
var modelName = regexp.MustCompile(`^[A-Za-z0-9_.+-]{1,100}$`)

// ReadFile reads and checks the app.yaml in the root of fsys. Errors are
// faults of kind Invalid, NotFound when the file is absent.
func ReadFile(fsys fs.FS) (File, error) {
	data, err := fs.ReadFile(fsys, FileName)
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, fault.Wrap(fault.NotFound, err, "the app's folder has no %s", FileName)
	}
	if err != nil {
		return File{}, fault.Wrap(fault.Invalid, err, "%s cannot be read", FileName)
	}
	return ParseFile(data)
}

// ParseFile decodes an app.yaml. Every error names the key.
func ParseFile(data []byte) (File, error) {
	var f File
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil {
		if errors.Is(err, io.EOF) {
			return File{}, fault.New(fault.Invalid, "%s is empty", FileName)
		}
		return File{}, fault.New(fault.Invalid, "%s: %v", FileName, err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return File{}, fault.New(fault.Invalid, "%s holds more than one document", FileName)
	}
	return f, f.check()
}

func (f *File) check() error {
	if f.Name == "" {
		return fault.New(fault.Invalid, "%s: name is missing", FileName)
	}
	if len(f.Models) == 0 {
		return fault.New(fault.Invalid, "%s: models is empty; an app serves at least one", FileName)
	}
	seen := map[string]bool{}
	for i := range f.Models {
		m := &f.Models[i]
		if m.Path == "." || !fs.ValidPath(m.Path) {
			return fault.New(fault.Invalid, "%s: models[%d].path %q is not a folder below the app's folder", FileName, i, m.Path)
		}
		if m.Name == "" {
			m.Name = path.Base(m.Path)
		}
		if !modelName.MatchString(m.Name) {
			return fault.New(fault.Invalid, "%s: models[%d].name %q may hold letters, digits and _ . + - only", FileName, i, m.Name)
		}
		if seen[m.Name] {
			return fault.New(fault.Invalid, "%s: models[%d].name %q is used twice", FileName, i, m.Name)
		}
		seen[m.Name] = true
	}
	if err := f.checkStrategies(); err != nil {
		return err
	}
	return f.checkTrainers(seen)
}

// checkStrategies fills in the names of strategies with parameters. Whether the
// parameters make sense is checked where the strategies are made.
func (f *File) checkStrategies() error {
	seen := map[string]bool{"random": true, "first": true, "last": true}
	for i := range f.Tuned {
		s := &f.Tuned[i]
		if s.Name == "" {
			s.Name = string(s.Kind)
		}
		if !modelName.MatchString(s.Name) {
			return fault.New(fault.Invalid, "%s: tuned_strategies[%d].name %q may hold letters, digits and _ . + - only", FileName, i, s.Name)
		}
		if seen[s.Name] {
			return fault.New(fault.Invalid, "%s: tuned_strategies[%d].name %q is taken", FileName, i, s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

// checkTrainers fills in the defaults of the external trainers.
func (f *File) checkTrainers(models map[string]bool) error {
	seen := map[string]bool{}
	for i := range f.Trainers {
		t, err := f.Trainers[i].Checked()
		if err != nil {
			return fault.Wrap(fault.Invalid, err, "%s: trainers[%d].%v", FileName, i, err)
		}
		if !models[t.Model] {
			return fault.New(fault.Invalid, "%s: trainers[%d].model %q is no model of this app", FileName, i, t.Model)
		}
		if seen[t.Name] {
			return fault.New(fault.Invalid, "%s: trainers[%d].name %q is used twice", FileName, i, t.Name)
		}
		seen[t.Name], f.Trainers[i] = true, t
	}
	return nil
}
