package infer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
)

// Shelf holds the versions of one model on disk and remembers which of them
// is in service:
//
//	<hash>/          one version: model.onnx, manifest.yaml, the files that the
//	                 manifest names, training.json, selftest.*.npy, version.json
//	service.json     what is in service, what was before, what is pinned
//	history.jsonl    every swap, appended
//
// A folder appears complete under its name or not at all. Whoever opens a
// shelf holds the lock of the state folder, unless only to read. Methods may
// be called from many goroutines.
type Shelf struct {
	dir string

	mu sync.Mutex
	p  *pointer
}

// Litter of a kill: folders under way in and out.
const (
	comingPrefix = ".new-"
	goingPrefix  = ".gone-"
)

// ShelfDir returns the folder of a model's versions below a folder for all
// models. Names of models have letters, digits and _.+- only; a leading dot is
// rewritten.
func ShelfDir(models, name string) string {
	if rest, dotted := strings.CutPrefix(name, "."); dotted {
		name = "%2E" + rest
	}
	return filepath.Join(models, name)
}

// OpenShelf opens a model's versions; the folder need not be there. warning
// says what was damaged and how it was mended.
func OpenShelf(dir string) (s *Shelf, warning string, err error) {
	p, damaged, err := readPointer(dir)
	if err != nil {
		return nil, "", shelfFault(err, "reading the model's versions")
	}
	if damaged {
		warning = fmt.Sprintf("%s could not be read; by the history, version %s is in service", pointerFile, p.Version)
	}
	return &Shelf{dir: dir, p: p}, warning, nil
}

// Tidy removes what a kill left half done, and adds to the history the swap
// that it may lack. Only the holder of the state folder's lock calls it.
func (s *Shelf) Tidy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return shelfFault(err, "reading the model's versions")
	}
	litter, err := filepath.Glob(filepath.Join(s.dir, "*", ".*.tmp")) // of a self-test
	if err != nil {
		return shelfFault(err, "tidying the model's versions")
	}
	for _, e := range entries {
		if n := e.Name(); strings.HasPrefix(n, comingPrefix) || strings.HasPrefix(n, goingPrefix) || strings.HasSuffix(n, ".tmp") {
			litter = append(litter, filepath.Join(s.dir, n))
		}
	}
	for _, path := range litter {
		if err := os.RemoveAll(path); err != nil {
			return shelfFault(err, "tidying the model's versions")
		}
	}
	swaps, err := readHistory(s.dir)
	if err == nil && s.p.Last != nil && !slices.ContainsFunc(swaps, func(w Swap) bool { return w.Refused == "" && w.N == s.p.Last.N }) {
		err = appendHistory(s.dir, *s.p.Last)
	}
	return shelfFault(err, "mending the history of the model")
}

// folder returns a version's files.
func (s *Shelf) folder(id string) string { return filepath.Join(s.dir, id) }

// records returns what is known of the versions that are there, newest first.
func (s *Shelf) records() ([]record, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, shelfFault(err, "reading the model's versions")
	}
	var out []record
	for _, e := range entries {
		if !e.IsDir() || !isID(e.Name()) {
			continue
		}
		out = append(out, s.record(e.Name()))
	}
	slices.SortStableFunc(out, func(a, b record) int { return b.Created.Compare(a.Created) })
	return out, nil
}

// record reads a version's version.json; what cannot be read is zero.
func (s *Shelf) record(id string) record {
	var r record
	data, err := os.ReadFile(filepath.Join(s.folder(id), versionFile))
	if err != nil || json.Unmarshal(data, &r) != nil {
		r = record{}
	}
	r.ID = id
	return r
}

// isID reports whether a name is a version's.
func isID(name string) bool {
	return len(name) == 32 && strings.Trim(name, "0123456789abcdef") == ""
}

// Versions returns the versions on the shelf, newest first. Their states are
// those of a model that nobody has loaded.
func (s *Shelf) Versions() ([]Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	records, err := s.records()
	if err != nil {
		return nil, err
	}
	out := make([]Version, 0, len(records))
	for _, r := range records {
		v := Version{
			ID: r.ID, Parent: r.Parent, Created: r.Created, Cause: r.Cause, Checksum: r.Checksum, Bytes: r.Bytes,
			State: Unavailable, Why: "not loaded", InService: s.p.Version == r.ID,
			Previous: len(s.p.Previous) > 0 && s.p.Previous[0] == r.ID, Pinned: slices.Contains(s.p.Pinned, r.ID),
		}
		if why := s.p.Refused[r.ID]; why != "" {
			v.Why = why
		}
		v.Training = s.training(r.ID)
		out = append(out, v)
	}
	return out, nil
}

// All is Versions with the app's own at the end.
func (s *Shelf) All() ([]Version, error) {
	out, err := s.Versions()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(out, Version{
		ID: AppVersion, Cause: Cause{Origin: OriginApp}, State: Unavailable, Why: "not loaded", App: true,
		InService: s.p.Version == AppVersion, Previous: len(s.p.Previous) > 0 && s.p.Previous[0] == AppVersion,
		Pinned: slices.Contains(s.p.Pinned, AppVersion),
	}), nil
}

func (s *Shelf) training(id string) json.RawMessage {
	data, err := os.ReadFile(filepath.Join(s.folder(id), TrainingFile))
	if err != nil || !json.Valid(data) {
		return nil
	}
	return data
}

// InService returns the id of the version that the pointer names; AppVersion
// for the app's own.
func (s *Shelf) InService() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p.Version
}

// History returns the swaps, oldest first.
func (s *Shelf) History() ([]Swap, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	swaps, err := readHistory(s.dir)
	return swaps, shelfFault(err, "reading the history of the model")
}

// Find returns the id of the version that a text means: a whole id, the start
// of one (at least four digits), or AppVersion.
func (s *Shelf) Find(text string) (string, error) {
	if text == AppVersion {
		return AppVersion, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	records, err := s.records()
	if err != nil {
		return "", err
	}
	var found []string
	for _, r := range records {
		if len(text) >= 4 && strings.HasPrefix(r.ID, text) {
			found = append(found, r.ID)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fault.New(fault.NotFound, "the model has no version %q", shorten(text))
	}
	return "", fault.New(fault.Invalid, "%d versions begin with %q; give more digits", len(found), text)
}

func shorten(text string) string {
	if len(text) > 40 {
		return strings.ToValidUTF8(text[:40], "") + "…"
	}
	return text
}

// Pin keeps a version for ever, or no longer.
func (s *Shelf) Pin(text string, on bool) error {
	id, err := s.Find(text)
	if err != nil {
		return err
	}
	return s.change(func(p *pointer) {
		p.Pinned = slices.DeleteFunc(p.Pinned, func(x string) bool { return x == id })
		if on {
			p.Pinned = append(p.Pinned, id)
		}
	})
}

// refuse remembers why a version failed; "" forgets it.
func (s *Shelf) refuse(id, why string) error {
	s.mu.Lock()
	same := s.p.Refused[id] == why
	s.mu.Unlock()
	if id == AppVersion || same {
		return nil
	}
	return s.change(func(p *pointer) {
		delete(p.Refused, id)
		if why != "" {
			p.Refused[id] = why
		}
	})
}

// change replaces the pointer by a changed one.
func (s *Shelf) change(edit func(*pointer)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.p.clone()
	edit(p)
	if err := os.MkdirAll(s.dir, 0o755); err != nil { //nolint:gosec // models are no secret
		return shelfFault(err, "making the folder of the model's versions")
	}
	if err := p.write(s.dir); err != nil {
		return shelfFault(err, "writing what is in service")
	}
	s.p = p
	return nil
}

// point makes a swap durable: first the pointer, then the history. An error
// means that nothing has changed; a line that the history lacks is added by
// the next Tidy.
func (s *Shelf) point(w Swap, back bool) (Swap, error) {
	err := s.change(func(p *pointer) {
		w.N = 1
		if p.Last != nil {
			w.N = p.Last.N + 1
		}
		if back {
			p.back(w.To)
		} else {
			p.forward(w.To)
		}
		delete(p.Refused, w.To)
		p.Last = &w
	})
	return w, err
}

// note adds a swap to the history.
func (s *Shelf) note(w Swap) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.N == 0 && s.p.Last != nil {
		w.N = s.p.Last.N
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil { //nolint:gosec // models are no secret
		return shelfFault(err, "making the folder of the model's versions")
	}
	return shelfFault(appendHistory(s.dir, w), "writing the history of the model")
}

// pointers returns what is in service and what was before, latest first.
func (s *Shelf) pointers() (current string, previous []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p.Version, slices.Clone(s.p.Previous)
}

func (s *Shelf) pinned(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.p.Pinned, id)
}

// shelfFault gives an error of the file system a kind.
func shelfFault(err error, doing string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Wrap(fault.NoSpace, err, "%s: the server's disk is full", doing)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fault.Wrap(fault.Unavailable, err, "%s: the state folder cannot be written or read", doing)
	}
	return fault.Wrap(fault.Internal, err, "%s failed; the log says why", doing)
}

// now is the time as it is recorded.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
