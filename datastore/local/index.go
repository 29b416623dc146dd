package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/ordered"
)

// indexName is MONAI Label's index file in the studies folder.
const indexName = "datastore_v2.json"

// maxIndex bounds the index file that is read, in bytes.
const maxIndex = 1 << 30

// print identifies one content of the index file without reading it.
type filePrint struct {
	Size  int64  `json:"size"`
	MTime int64  `json:"mtime"` // Unix nanoseconds
	Inode uint64 `json:"inode"`
}

// indexRecord remembers which index files are our own work. Next is stored
// before a new file is renamed into place, so that a kill between the two
// leaves nothing that looks like somebody else's edit.
type indexRecord struct {
	Current filePrint `json:"current"`
	Next    filePrint `json:"next"`
}

func (r indexRecord) ours(p filePrint) bool { return p == r.Current || p == r.Next }

// foreign is what somebody else's datastore_v2.json says.
type foreign struct {
	top     *ordered.Map // all keys; "objects" is emptied
	order   []string     // ids in the file's order
	objects map[string]foreignObject
}

type foreignObject struct {
	ext               string
	files             []string
	info              []byte
	imageExtra, extra []byte
	labels            []label // without file state, version and seq
}

func emptyTop() *ordered.Map {
	return ordered.Of("name", "new-dataset", "description", "New Dataset", "images_dir", ".", "labels_dir", "labels",
		"objects", &ordered.Map{})
}

// printOf returns the print of the index file; zero when there is none.
func printOf(path string) filePrint {
	info, err := os.Stat(path)
	if err != nil {
		return filePrint{}
	}
	return filePrint{Size: info.Size(), MTime: info.ModTime().UnixNano(), Inode: inode(info)}
}

// readForeign reads an index file. Entries with impossible ids or tags are
// left out: nothing could be stored under them.
func readForeign(path string) (*foreign, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxIndex {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", indexName, info.Size(), maxIndex)
	}
	raw, err := os.ReadFile(path) //nolint:gosec // a fixed name in the studies folder
	if err != nil {
		return nil, err
	}
	top, err := ordered.Parse(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")))
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", indexName, err)
	}
	f := &foreign{top: top, objects: make(map[string]foreignObject)}
	for id, v := range top.Sub("objects").All() {
		obj, ok := v.(*ordered.Map)
		if !ok || datastore.CheckID(id) != nil {
			continue
		}
		o, err := readObject(obj)
		if err != nil {
			return nil, err
		}
		f.order = append(f.order, id)
		f.objects[id] = o
	}
	top.Set("objects", &ordered.Map{})
	return f, nil
}

func readObject(obj *ordered.Map) (o foreignObject, err error) {
	image := obj.Sub("image")
	o.ext = cleanExt(image.String("ext"))
	o.files = fileNames(image)
	if o.info, err = rawInfo(image); err != nil {
		return o, err
	}
	known := []string{"ext", "info"}
	if o.files != nil {
		known = append(known, "files")
	}
	if o.imageExtra, err = rest(image, known...); err != nil {
		return o, err
	}
	if o.extra, err = rest(obj, "image", "labels"); err != nil {
		return o, err
	}
	for tag, v := range obj.Sub("labels").All() {
		m, ok := v.(*ordered.Map)
		if !ok || datastore.CheckTag(tag) != nil {
			continue
		}
		l := label{tag: tag, ext: cleanExt(m.String("ext"))}
		if l.info, err = rawInfo(m); err != nil {
			return o, err
		}
		if l.extra, err = rest(m, "ext", "info"); err != nil {
			return o, err
		}
		l.mismatch = flagged(m.Sub("info"))
		o.labels = append(o.labels, l)
	}
	return o, nil
}

// cleanExt drops an extension that could lead out of the folder.
func cleanExt(ext string) string {
	if !extPattern.MatchString(ext) {
		return ""
	}
	return ext
}

// mismatchKey in a label's info keeps the grid flag where only the index file
// is left.
const mismatchKey = "grid_mismatch"

func flagged(info *ordered.Map) bool {
	v, _ := info.Get(mismatchKey)
	return v == true
}

// fileNames reads the names of channel files that we wrote.
func fileNames(image *ordered.Map) []string {
	v, _ := image.Get("files")
	list, ok := v.([]any)
	if !ok || len(list) < 2 {
		return nil
	}
	var names []string
	for _, item := range list {
		name, ok := item.(string)
		if !ok || datastore.CheckID(name) != nil {
			return nil
		}
		names = append(names, name)
	}
	return names
}

func rawInfo(m *ordered.Map) ([]byte, error) {
	info := m.Sub("info")
	if info == nil {
		return []byte("{}"), nil
	}
	return ordered.Marshal(info)
}

// rest encodes the keys of m other than known; nil when there are none.
func rest(m *ordered.Map, known ...string) ([]byte, error) {
	r := &ordered.Map{}
	for k, v := range m.All() {
		if !slices.Contains(known, k) {
			r.Set(k, v)
		}
	}
	if r.Len() == 0 {
		return nil, nil
	}
	return ordered.Marshal(r)
}

func (s *Store) loadTop(raw []byte) *ordered.Map {
	top, err := ordered.Parse(raw)
	if err != nil || top.Sub("objects") == nil {
		return emptyTop()
	}
	return top
}

func (s *Store) loadIndexRecord() error {
	raw, err := s.db.value(indexKey)
	if err != nil || raw == nil {
		return err
	}
	return json.Unmarshal(raw, &s.index)
}
