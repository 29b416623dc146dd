package infer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

const maxTraining = 16 << 20 // bytes of a training.json

// Record puts a copy of a model folder on the shelf and returns its version.
// Only files that belong to a version are taken. Content that is there already
// stays as it was recorded first. parent is what the model was made from,
// unless its training.json says so itself.
//
// Errors: fault.Invalid or fault.NotFound for a folder that is no model, or
// whose manifest does not suit its network.
func (s *Shelf) Record(fsys fs.FS, parent string, c Cause) (_ Version, err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil { //nolint:gosec // models are no secret
		return Version{}, shelfFault(err, "making the folder of the model's versions")
	}
	tmp, err := os.MkdirTemp(s.dir, comingPrefix)
	if err != nil {
		return Version{}, shelfFault(err, "recording the model")
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := copyModel(fsys, tmp); err != nil {
		return Version{}, err
	}
	r, err := describe(tmp)
	if err != nil {
		return Version{}, err
	}
	r.Parent, r.Created, r.Cause = parentOf(tmp, parent), now(), c
	if r.Parent == r.ID {
		r.Parent = ""
	}
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return Version{}, err
	}
	if err := writeSynced(filepath.Join(tmp, versionFile), bytes.NewReader(append(data, '\n'))); err != nil {
		return Version{}, shelfFault(err, "recording the model")
	}
	if err := s.place(tmp, r.ID); err != nil {
		return Version{}, shelfFault(err, "recording the model")
	}
	all, err := s.Versions()
	if err != nil {
		return Version{}, err
	}
	if i := slices.IndexFunc(all, func(v Version) bool { return v.ID == r.ID }); i >= 0 {
		return all[i], nil
	}
	return Version{}, fault.New(fault.Conflict, "version %s was retired while it was being recorded", r.ID)
}

// place moves a complete folder to its name. A damaged folder of that name is
// replaced; a whole one stays.
func (s *Shelf) place(tmp, id string) error {
	if err := syncDir(tmp); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.folder(id)
	if _, err := os.Stat(to); err == nil {
		if r, err := describe(to); err == nil && r.ID == id {
			return nil
		}
		if err := s.discard(id); err != nil {
			return err
		}
	}
	if err := os.Chmod(tmp, 0o755); err != nil { //nolint:gosec // models are no secret
		return err
	}
	if err := os.Rename(tmp, to); err != nil {
		return err
	}
	return syncDir(s.dir)
}

// discard removes a version's folder; its name is gone at once.
func (s *Shelf) discard(id string) error {
	going, err := os.MkdirTemp(s.dir, goingPrefix)
	if err != nil {
		return err
	}
	if err := os.Rename(s.folder(id), filepath.Join(going, id)); err != nil {
		return errors.Join(err, os.Remove(going))
	}
	if err := syncDir(s.dir); err != nil {
		return err
	}
	return os.RemoveAll(going)
}

// copyModel copies the files of a model folder and syncs each.
func copyModel(fsys fs.FS, dir string) error {
	names, err := modelFiles(fsys)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyFile(fsys, name, dir); err != nil {
			return err
		}
	}
	return nil
}

// ModelFiles returns the paths of those files of a model folder on disk that
// make a version.
func ModelFiles(dir string) ([]string, error) {
	names, err := modelFiles(os.DirFS(dir))
	for i := range names {
		names[i] = filepath.Join(dir, names[i])
	}
	return names, err
}

// modelFiles checks the manifest and returns the names of the files that make a
// version.
func modelFiles(fsys fs.FS) ([]string, error) {
	m, _, err := readModel(fsys)
	if err != nil {
		return nil, err
	}
	names := append([]string{ManifestFile, NetworkFile}, m.attachedFiles()...)
	if info, err := fs.Stat(fsys, TrainingFile); err == nil && info.Mode().IsRegular() {
		if info.Size() > maxTraining {
			return nil, fault.New(fault.TooLarge, "%s has %d bytes; at most %d are kept", TrainingFile, info.Size(), maxTraining)
		}
		names = append(names, TrainingFile)
	}
	kept, err := fs.Glob(fsys, keptPattern)
	return append(names, kept...), err
}

func copyFile(fsys fs.FS, name, dir string) (err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "%s cannot be read", name)
	}
	defer f.Close()
	return shelfFault(writeSynced(filepath.Join(dir, name), f), "copying "+name)
}

// writeSynced makes a file.
func writeSynced(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) //nolint:gosec // a new file in a folder of ours
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// attachedFiles are the further files that the manifest names.
func (m *Manifest) attachedFiles() []string {
	var names []string
	for i := range m.Inputs {
		for _, s := range m.Inputs[i].Normalize {
			if s.Harmonize != nil && !slices.Contains(names, s.Harmonize.File) {
				names = append(names, s.Harmonize.File)
			}
		}
	}
	return names
}

// describe reads a model folder, checks that manifest and network suit each
// other, and returns what its files say about it.
func describe(dir string) (record, error) {
	fsys := os.DirFS(dir)
	m, manifest, err := readModel(fsys)
	if err != nil {
		return record{}, err
	}
	data, err := fs.ReadFile(fsys, NetworkFile)
	if err != nil {
		return record{}, fault.Wrap(fault.Invalid, err, "%s cannot be read", NetworkFile)
	}
	graph, err := onnx.Parse(data)
	if err != nil {
		return record{}, fault.Wrap(fault.Invalid, err, "%s is no readable network", NetworkFile)
	}
	if _, err := bind(m, graph); err != nil {
		return record{}, err
	}
	sum := sha256.Sum256(data)
	return record{Format: 1, ID: contentID(data, manifest, m.attached), Checksum: hex.EncodeToString(sum[:]), Bytes: int64(len(data))}, nil
}

// parentOf returns the parent that a training.json names, else parent.
func parentOf(dir, parent string) string {
	data, err := os.ReadFile(filepath.Join(dir, TrainingFile)) //nolint:gosec // a fixed name in a folder of ours
	if err != nil {
		return parent
	}
	var t struct {
		Parent any `json:"parent"`
	}
	if json.Unmarshal(data, &t) == nil {
		if id, ok := t.Parent.(string); ok && isID(strings.ToLower(id)) {
			return strings.ToLower(id)
		}
	}
	return parent
}
