package infer

import (
	"io/fs"
	"os"
	"path"
	"strings"
)

// Sent is a model folder of which a client sent some files: they lie anywhere
// on disk, the further files that the manifest names come from the folder Base.
// What a version has for itself (training.json, its self-test) never comes from
// Base.
type Sent struct {
	Base  fs.FS
	Files map[string]string // name in the folder → path on disk
}

// SentFile reports whether a client may send a file of this name: a plain name,
// and none of those that the registry writes.
func SentFile(name string) bool {
	return name == path.Base(name) && !strings.HasPrefix(name, ".") && name != versionFile && fs.ValidPath(name) && len(name) <= 100
}

// Open implements fs.FS.
func (s Sent) Open(name string) (fs.File, error) {
	if p, ok := s.Files[name]; ok {
		return os.Open(p) //nolint:gosec // a temp file of the caller
	}
	if own, err := path.Match(keptPattern, name); err != nil || own || name == TrainingFile || s.Base == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return s.Base.Open(name)
}

// Glob implements fs.GlobFS over the sent files.
func (s Sent) Glob(pattern string) ([]string, error) {
	var out []string
	for name := range s.Files {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, name)
		}
	}
	return out, nil
}

var _ fs.GlobFS = Sent{}
