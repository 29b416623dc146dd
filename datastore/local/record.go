package local

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/ordered"
)

// Records are JSON under readable keys. Ids and tags hold no slash, so the
// parts of a key cannot be confused:
//
//	image/<id>             imageRecord
//	label/<id>/<tag>       labelRecord, the current label
//	label/<id>/<tag>/<n>   labelRecord of an older version
//	store/index            indexRecord
//	store/top              the top level of datastore_v2.json without its objects
const (
	imagePrefix = "image/"
	labelPrefix = "label/"
	indexKey    = "store/index"
	topKey      = "store/top"
)

type imageRecord struct {
	Seq        uint64          `json:"seq"`
	Ext        string          `json:"ext"`
	Files      []string        `json:"files,omitempty"`
	File       fileState       `json:"file"`
	Checked    fileState       `json:"checked"`
	Quarantine string          `json:"quarantine,omitempty"`
	Found      bool            `json:"found,omitempty"`
	Info       json.RawMessage `json:"info"`
	ImageExtra json.RawMessage `json:"image_extra,omitempty"`
	Extra      json.RawMessage `json:"extra,omitempty"`
}

type labelRecord struct {
	Seq      uint64          `json:"seq"`
	Ext      string          `json:"ext"`
	Version  int             `json:"version"`
	File     fileState       `json:"file"`
	Mismatch bool            `json:"grid_mismatch,omitempty"`
	Info     json.RawMessage `json:"info"`
	Extra    json.RawMessage `json:"extra,omitempty"`
}

func (e *entry) record() (change, error) {
	v, err := ordered.Marshal(imageRecord{
		Seq: e.seq, Ext: e.ext, Files: e.files, File: e.file, Checked: e.checked, Quarantine: e.quarantine,
		Found: e.found, Info: e.info, ImageExtra: e.imageExtra, Extra: e.extra,
	})
	return change{imagePrefix + e.id, v}, err
}

func (l label) record(key string) (change, error) {
	v, err := ordered.Marshal(labelRecord{
		Seq: l.seq, Ext: l.ext, Version: l.version, File: l.file, Mismatch: l.mismatch, Info: l.info, Extra: l.extra,
	})
	return change{key, v}, err
}

func labelKey(id, tag string) string { return labelPrefix + id + "/" + tag }

func versionKey(id, tag string, n int) string { return fmt.Sprintf("%s/%d", labelKey(id, tag), n) }

// diff lists the records to write when prev becomes next; either may be nil.
func diff(prev, next *entry) ([]change, error) {
	var out []change
	add := func(c change, err error) error {
		out = append(out, c)
		return err
	}
	if next == nil {
		if prev == nil {
			return nil, nil
		}
		out = append(out, change{key: imagePrefix + prev.id})
		for _, l := range prev.labels {
			out = append(out, change{key: labelKey(prev.id, l.tag)})
		}
		return out, nil
	}
	if prev == nil || !prev.sameImage(next) {
		if err := add(next.record()); err != nil {
			return nil, err
		}
	}
	for _, l := range next.labels {
		if old, ok := prev.label(l.tag); !ok || !old.equal(l) {
			if err := add(l.record(labelKey(next.id, l.tag))); err != nil {
				return nil, err
			}
		}
	}
	if prev == nil {
		return out, nil
	}
	for _, l := range prev.labels {
		if _, ok := next.label(l.tag); !ok {
			out = append(out, change{key: labelKey(next.id, l.tag)})
		}
	}
	return out, nil
}

// load reads all records. Entries come in index order.
func (d *db) load() ([]*entry, error) {
	byID := make(map[string]*entry)
	var all []*entry
	err := d.each(imagePrefix, func(key string, value []byte) error {
		var r imageRecord
		if err := json.Unmarshal(value, &r); err != nil {
			return err
		}
		e := &entry{
			id: strings.TrimPrefix(key, imagePrefix), ext: r.Ext, seq: r.Seq, files: r.Files, file: r.File, checked: r.Checked,
			quarantine: r.Quarantine, found: r.Found, info: r.Info, imageExtra: r.ImageExtra, extra: r.Extra,
		}
		byID[e.id] = e
		all = append(all, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = d.each(labelPrefix, func(key string, value []byte) error {
		parts := strings.Split(key, "/")
		if len(parts) != 3 || byID[parts[1]] == nil {
			return nil // an older version, or of an image that is gone
		}
		var r labelRecord
		if err := json.Unmarshal(value, &r); err != nil {
			return err
		}
		e := byID[parts[1]]
		e.labels = append(e.labels, label{
			tag: parts[2], ext: r.Ext, seq: r.Seq, version: r.Version, file: r.File, mismatch: r.Mismatch, info: r.Info, extra: r.Extra,
		})
		return nil
	})
	for _, e := range all {
		slices.SortFunc(e.labels, func(a, b label) int { return cmp.Compare(a.seq, b.seq) })
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.seq, b.seq) })
	return all, err
}

// value returns one record, nil when there is none.
func (d *db) value(key string) ([]byte, error) {
	var out []byte
	err := d.each(key, func(k string, v []byte) error {
		if k == key {
			out = slices.Clone(v)
		}
		return nil
	})
	return out, err
}
