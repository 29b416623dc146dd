package local

import (
	"bytes"
	"path/filepath"
	"slices"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/ordered"
)

// fileState tells whether a file is still the one we knew.
type fileState struct {
	Size  int64 `json:"size"`
	MTime int64 `json:"mtime"` // Unix nanoseconds
}

// join folds the state of several files into one.
func (f fileState) join(g fileState) fileState {
	return fileState{Size: f.Size + g.Size, MTime: f.MTime*31 + g.MTime}
}

// label is the current label of one tag. Labels are never changed in place.
type label struct {
	tag, ext string
	seq      uint64 // place among the labels of the entry
	version  int
	file     fileState
	mismatch bool
	info     []byte // compact JSON object
	extra    []byte // keys of the label's object that are not ours, as a compact JSON object; nil when none
}

func (l label) equal(m label) bool {
	return l.tag == m.tag && l.ext == m.ext && l.seq == m.seq && l.version == m.version && l.file == m.file &&
		l.mismatch == m.mismatch && bytes.Equal(l.info, m.info) && bytes.Equal(l.extra, m.extra)
}

// entry is one image with its labels. Entries are never changed in place: a
// change makes a copy, so a snapshot is a pointer.
type entry struct {
	id, ext    string
	seq        uint64    // place in the index
	files      []string  // names of the channel files; nil: one file, id+ext
	file       fileState // of the file, or of all files joined
	checked    fileState // for which Validate gave its verdict
	quarantine string
	found      bool   // found by a scan and untouched since: may still turn out to be a channel
	info       []byte // compact JSON object
	imageExtra []byte // keys of "image" that are not ours
	extra      []byte // keys of the object that are not ours
	labels     []label
}

func (e *entry) names() []string {
	if e.files != nil {
		return e.files
	}
	return []string{e.id + e.ext}
}

func (e *entry) label(tag string) (label, bool) {
	if e == nil {
		return label{}, false
	}
	for _, l := range e.labels {
		if l.tag == tag {
			return l, true
		}
	}
	return label{}, false
}

// with returns a copy of e in which l is the label of its tag.
func (e *entry) with(l label) *entry {
	c := *e
	c.labels = slices.Clone(e.labels)
	if i := slices.IndexFunc(c.labels, func(o label) bool { return o.tag == l.tag }); i >= 0 {
		c.labels[i] = l
	} else {
		c.labels = append(c.labels, l)
	}
	return &c
}

// without returns a copy of e that has no label of this tag.
func (e *entry) without(tag string) *entry {
	c := *e
	c.labels = slices.DeleteFunc(slices.Clone(e.labels), func(o label) bool { return o.tag == tag })
	return &c
}

// sameImage reports whether the records of both images are equal.
func (e *entry) sameImage(f *entry) bool {
	return e.ext == f.ext && e.seq == f.seq && slices.Equal(e.files, f.files) && e.file == f.file && e.checked == f.checked &&
		e.quarantine == f.quarantine && e.found == f.found && bytes.Equal(e.info, f.info) &&
		bytes.Equal(e.imageExtra, f.imageExtra) && bytes.Equal(e.extra, f.extra)
}

// parseObject decodes JSON of ours; it was valid when it was stored.
func parseObject(data []byte) *ordered.Map {
	m, err := ordered.Parse(data)
	if err != nil {
		return &ordered.Map{}
	}
	return m
}

// snapshot returns what callers see of e.
func (s *Store) snapshot(e *entry) datastore.Image {
	img := datastore.Image{ID: e.id, Ext: e.ext, Info: parseObject(e.info), Quarantined: e.quarantine}
	for _, n := range e.names() {
		img.Files = append(img.Files, filepath.Join(s.images, n))
	}
	for _, l := range e.labels {
		img.Labels = append(img.Labels, s.snapshotLabel(e.id, l))
	}
	return img
}

func (s *Store) snapshotLabel(id string, l label) datastore.Label {
	return datastore.Label{
		Tag: l.tag, Ext: l.ext, Version: l.version, GridMismatch: l.mismatch,
		Path: filepath.Join(s.labels, l.tag, id+l.ext), Info: parseObject(l.info),
	}
}
