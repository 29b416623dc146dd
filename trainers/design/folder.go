package design

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/voxloop/voxloop/internal/fault"
)

// Names of the files of a model folder.
const (
	NetworkFile     = "model.onnx"
	ManifestFile    = "manifest.yaml"
	FingerprintFile = "fingerprint.json"
	PlanFile        = "plan.json"
)

// File is one file of a folder that is written as a whole.
type File struct {
	Name string
	Data []byte
}

// Files are the contents of a new model's folder: network, manifest,
// fingerprint and plan. The same fingerprint, plan and labelling give the same
// bytes.
func (p *Plan) Files(f *Fingerprint, l Labelling) ([]File, error) {
	m, err := p.Network.Build(l.Seed)
	if err != nil {
		return nil, err
	}
	text, err := p.Manifest(f, l)
	if err != nil {
		return nil, err
	}
	drawn, err := indented(f)
	if err != nil {
		return nil, err
	}
	plan, err := indented(p)
	if err != nil {
		return nil, err
	}
	return []File{{NetworkFile, m.Bytes()}, {ManifestFile, text}, {FingerprintFile, drawn}, {PlanFile, plan}}, nil
}

func indented(v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	return append(data, '\n'), err
}

// WriteFolder makes a folder with the files; it must not exist, or be empty.
// The folder appears complete or not at all. Errors are of kind fault.Conflict
// when something is in the way, fault.NoSpace or Invalid when it cannot be
// written.
func WriteFolder(dir string, files []File) (err error) {
	name := filepath.Base(dir)
	if err := free(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // models are no secret
		return writeFault(err, name)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+name+"-*")
	if err != nil {
		return writeFault(err, name)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(tmp) // the first error counts
		}
	}()
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(tmp, f.Name), f.Data, 0o644); err != nil { //nolint:gosec // models are no secret
			return writeFault(err, name)
		}
	}
	if err := os.Chmod(tmp, 0o755); err != nil { //nolint:gosec // models are no secret
		return writeFault(err, name)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return writeFault(err, name)
	}
	return nil
}

// free reports whether dir may be made.
func free(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(entries) == 0:
		return nil
	case err != nil:
		return fault.Wrap(fault.Conflict, err, "%s is in the way: it is no folder", filepath.Base(dir))
	}
	return fault.New(fault.Conflict, "folder %s is in the way: it exists and is not empty", filepath.Base(dir))
}

func writeFault(err error, name string) error {
	kind := fault.Invalid
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		kind = fault.NoSpace
	}
	return fault.Wrap(kind, err, "folder %s cannot be written", name)
}
