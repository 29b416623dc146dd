// Package datastore holds the images of a studies folder, their labels and
// what is known about both.
//
// An image ("entry") has an id and one or several files; its labels are kept
// under tags ("final", "original", "version_2", …), one current version per
// tag. Info objects keep the key order and the unknown keys of clients.
// Store is the contract; datastore/local keeps a folder with a Badger index,
// datastoretest runs the contract against any implementation.
package datastore

import (
	"context"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// TagFinal marks labels corrected or approved by a person: an image with one
// is "labelled". TagOriginal holds what a model proposed.
const (
	TagFinal    = "final"
	TagOriginal = "original"
)

// Image is a snapshot of one entry. Its maps belong to the caller.
type Image struct {
	ID     string
	Ext    string   // with dot, as in the index ("" when the file has none)
	Files  []string // absolute paths; several files are the channels in order
	Info   *ordered.Map
	Labels []Label // in the order in which the tags first appeared

	// Quarantined says why the image is never handed out; empty when it is fine.
	Quarantined string
}

// Label is a snapshot of the current version of one label.
type Label struct {
	Tag          string
	Ext          string
	Path         string // absolute path of the current file
	Version      int    // 1 for the first save that this store saw
	Info         *ordered.Map
	GridMismatch bool // the label does not lie on the image's grid: kept, never trained on
}

// Label returns the label with the given tag.
func (i *Image) Label(tag string) (Label, bool) {
	for _, l := range i.Labels {
		if l.Tag == tag {
			return l, true
		}
	}
	return Label{}, false
}

// TagCount is the number of images that have a label of a tag.
type TagCount struct {
	Tag   string
	Count int
}

// Stats counts what a store holds.
type Stats struct {
	Total       int        // entries
	Completed   int        // entries with a final label
	Tags        []TagCount // in order of first appearance
	Quarantined int
}

// LabelFile is a label to be saved.
type LabelFile struct {
	Ext          string // of the file to be kept, with dot
	Info         *ordered.Map
	GridMismatch bool
	Write        func(w io.Writer) error // writes the file; an error leaves the earlier state
}

// EventKind says what happened to an entry.
type EventKind int

// The events. Served means that a strategy handed the image out.
const (
	ImageAdded EventKind = iota
	ImageRemoved
	ImageChanged // the file itself changed
	LabelSaved
	LabelRemoved
	Served
	InfoChanged // the info of the image or of a label (Tag), or the quarantine
)

// Event is a change that has become durable (Served: that will be, lazily). Image is its state afterwards;
// for ImageRemoved only ID is set.
type Event struct {
	Kind     EventKind
	Image    Image
	Tag      string // LabelSaved, LabelRemoved; InfoChanged: set for a label's info
	Strategy string // Served
	Time     int64  // Served: Unix seconds
}

// Store is a datastore. All methods may be called from many goroutines at
// once. Errors are faults: NotFound for an unknown image or label, Invalid for
// an id or tag that can be none, NoSpace for a full disk, Unavailable for a
// read-only or closed store. A failed write leaves the earlier state intact.
// Nobody needs to retry.
type Store interface {
	Name() string
	Description() string
	Stats() Stats

	// Image returns a snapshot of one entry.
	Image(id string) (Image, error)
	// All yields a snapshot of every entry in index order.
	All() func(yield func(Image) bool)
	// Index writes the whole index as one compact JSON object
	// (GET /datastore/?output=all).
	Index(w io.Writer) error

	// AddImage stores an image file under id, replacing an existing entry.
	// The replaced entry's labels stay. info gets "ts" and "name" appended.
	AddImage(ctx context.Context, id, ext string, info *ordered.Map, write func(io.Writer) error) (Image, error)
	// RemoveImage deletes an entry with its current labels; older label
	// versions stay in the state folder.
	RemoveImage(ctx context.Context, id string) error
	// UpdateImageInfo merges patch into the info of an image.
	UpdateImageInfo(ctx context.Context, id string, patch *ordered.Map) error
	// Quarantine marks an image as unusable until its file changes.
	Quarantine(ctx context.Context, id, reason string) error

	// SaveLabel stores a new version of a label. When it returns nil the label
	// survives a kill or power loss. Info gets "ts" and "name" appended and
	// replaces the earlier info of that tag.
	SaveLabel(ctx context.Context, id, tag string, l LabelFile) (Label, error)
	// RemoveLabel deletes the current label; NotFound when there is none.
	RemoveLabel(ctx context.Context, id, tag string) error
	// UpdateLabelInfo merges patch into the info of a label.
	UpdateLabelInfo(ctx context.Context, id, tag string, patch *ordered.Map) error

	// MarkServed records in the image's info that a strategy handed it out:
	// strategy.<name> = {"ts": unix seconds, "client_id": client}. It becomes
	// durable lazily.
	MarkServed(id, strategy, client string, unix int64) error

	// Subscribe calls fn after every change, in order, one call at a time, and
	// first once with ImageAdded for every present entry. fn must be quick and
	// must not call the store. The returned function ends the subscription.
	Subscribe(fn func(Event)) (cancel func())

	// Close makes everything durable, writes the index file and releases the
	// lock. It is safe to call twice.
	Close() error
}

var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// CheckID reports (as a fault of kind Invalid) why id can be no image id: an
// empty id or path part, a slash, a backslash, a NUL, a leading dot, more than
// 200 bytes or bytes that are no UTF-8 (JSON could not carry them). Ids are refused, never cleaned up into another id.
func CheckID(id string) error {
	switch {
	case id == "":
		return fault.New(fault.Invalid, "the image id is empty")
	case len(id) > 200:
		return fault.New(fault.Invalid, "the image id has %d bytes; at most 200 are allowed", len(id))
	case strings.ContainsAny(id, "/\\\x00"):
		return fault.New(fault.Invalid, "the image id %q contains a slash, a backslash or a NUL", id)
	case !utf8.ValidString(id):
		return fault.New(fault.Invalid, "the image id %q is not valid UTF-8", id)
	case id[0] == '.':
		return fault.New(fault.Invalid, "the image id %q starts with a dot", id)
	}
	return nil
}

// CheckTag reports (as a fault of kind Invalid) why tag can be no label tag:
// tags match [A-Za-z0-9_.-]+, do not start with a dot and have at most 200
// bytes.
func CheckTag(tag string) error {
	if !tagPattern.MatchString(tag) || tag[0] == '.' || len(tag) > 200 {
		return fault.New(fault.Invalid, "the label tag %q must match [A-Za-z0-9_.-]+, not start with a dot and have at most 200 bytes", tag)
	}
	return nil
}
