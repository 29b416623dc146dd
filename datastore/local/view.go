package local

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/datastore"
)

// view is a look at the visible folders: a listing made at once, or the disk
// itself.
type view interface {
	image(name string) (fileState, bool)
	label(tag, name string) (fileState, bool)
	tags() []string // folders of labels, sorted
}

// stat returns the state of a regular file. A symbolic link counts as the file
// it leads to, as long as that lies below the studies or state folder.
func (s *Store) stat(path string) (fileState, bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return fileState{}, false
	}
	return s.accept(path, info)
}

func (s *Store) accept(path string, info fs.FileInfo) (fileState, bool) {
	if info.Mode()&fs.ModeSymlink != 0 {
		if !s.inside(path) {
			return fileState{}, false
		}
		var err error
		if info, err = os.Stat(path); err != nil {
			return fileState{}, false
		}
	}
	return stateOf(info), info.Mode().IsRegular()
}

// inside reports whether path, all links followed, lies below the studies or
// the state folder.
func (s *Store) inside(path string) bool {
	target, err := filepath.EvalSymlinks(path)
	return err == nil && (within(s.studies, target) || within(s.state, target))
}

func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// disk looks at the folders anew with every call.
type disk struct{ s *Store }

func (d disk) image(name string) (fileState, bool) {
	return d.s.stat(filepath.Join(d.s.images, name))
}

func (d disk) label(tag, name string) (fileState, bool) {
	if !d.s.tagFolder(tag) {
		return fileState{}, false
	}
	return d.s.stat(filepath.Join(d.s.labels, tag, name))
}

func (d disk) tags() []string { return d.s.tagFolders() }

// tagFolder reports whether the folder of a tag exists and lies inside.
func (s *Store) tagFolder(tag string) bool {
	dir := filepath.Join(s.labels, tag)
	info, err := os.Lstat(dir)
	if err != nil {
		return false
	}
	return info.IsDir() || info.Mode()&fs.ModeSymlink != 0 && s.inside(dir)
}

func (s *Store) tagFolders() []string {
	entries, err := os.ReadDir(s.labels)
	if err != nil {
		return nil
	}
	var tags []string
	for _, e := range entries {
		if datastore.CheckTag(e.Name()) == nil && s.tagFolder(e.Name()) {
			tags = append(tags, e.Name())
		}
	}
	return tags
}

// listing is a look at all folders at one time.
type listing struct {
	images    map[string]fileState
	names     []string                        // of the images, sorted
	labels    map[string]map[string]fileState // tag → name
	tagNames  []string
	readError error
}

func (l *listing) image(name string) (fileState, bool) { st, ok := l.images[name]; return st, ok }

func (l *listing) label(tag, name string) (fileState, bool) {
	st, ok := l.labels[tag][name]
	return st, ok
}

func (l *listing) tags() []string { return l.tagNames }

// list reads all folders. A folder that cannot be read is told in readError:
// its files must not be taken for deleted.
func (s *Store) list() *listing {
	l := &listing{labels: make(map[string]map[string]fileState)}
	if l.images, l.readError = s.listDir(s.images); l.readError != nil {
		return l
	}
	l.names = make([]string, 0, len(l.images))
	for n := range l.images {
		l.names = append(l.names, n)
	}
	slices.Sort(l.names)
	l.tagNames = s.tagFolders()
	for _, tag := range l.tagNames {
		files, err := s.listDir(filepath.Join(s.labels, tag))
		if err != nil {
			l.readError = err
			return l
		}
		l.labels[tag] = files
	}
	return l
}

func (s *Store) listDir(dir string) (map[string]fileState, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := make(map[string]fileState, len(entries))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.IsDir() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // deleted meanwhile
		}
		if st, ok := s.accept(filepath.Join(dir, e.Name()), info); ok {
			files[e.Name()] = st
		}
	}
	return files, nil
}
