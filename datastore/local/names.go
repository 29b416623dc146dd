package local

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
)

// maxChannels bounds the files of one entry. A longer run of ID_0000, ID_0001…
// is a numbered series of cases, not the channels of one.
const maxChannels = 16

var channelName = regexp.MustCompile(`^(.+)_\d{4}$`)

// split parts a file name into id and extension by the listed extensions; the
// longest one that fits wins. Only the end is cut off, so "a.seg.nrrd" is
// "a.seg" + ".nrrd" and an id may hold dots.
func (s *Store) split(name string) (id, ext string, ok bool) {
	for _, e := range s.opts.Extensions {
		if len(e) > len(ext) && len(name) > len(e) && strings.HasSuffix(name, e) {
			ext = e
		}
	}
	if ext == "" {
		return "", "", false
	}
	id = strings.TrimSuffix(name, ext)
	return id, ext, datastore.CheckID(id) == nil
}

// readsAs reports whether split takes the file name id+ext apart as id and
// ext: "x.nii" and ".gz" would come back as "x" and ".nii.gz".
func (s *Store) readsAs(id, ext string) bool {
	for _, e := range s.opts.Extensions {
		if len(e) > len(ext) && strings.HasSuffix(e, ext) && strings.HasSuffix(id, e[:len(e)-len(ext)]) && len(id)+len(ext) > len(e) {
			return false
		}
	}
	return true
}

// channelOf returns the id of the entry that a file with this id would be a
// channel of.
func channelOf(id string) (stem string, ok bool) {
	m := channelName.FindStringSubmatch(id)
	if m == nil {
		return "", false
	}
	return m[1], true
}

func channelID(stem string, channel int) string { return fmt.Sprintf("%s_%04d", stem, channel) }

var extPattern = regexp.MustCompile(`^(\.[A-Za-z0-9_-]+){0,4}$`)

// checkExt refuses an extension with which the stored file's name could not be
// told apart from another entry's.
func (s *Store) checkExt(id, ext string) error {
	if !extPattern.MatchString(ext) || len(ext) > 40 {
		return fault.New(fault.Invalid, "the file extension %q cannot be used; it must look like .nii.gz", ext)
	}
	if _, e, ok := s.split(id + ext); ok && e != ext {
		return fault.New(fault.Invalid, "the file name %q would be read as extension %q, not %q; rename the image", id+ext, e, ext)
	}
	return nil
}

// checkClash refuses to store name for id where another entry owns a file of
// that name: extOf tells the extension of an entry's file.
func (s *Store) checkClash(id, name string, extOf func(*entry) (string, bool)) error {
	for i := 1; i <= len(name); i++ {
		if i < len(name) && name[i] != '.' || name[:i] == id {
			continue
		}
		e := s.get(name[:i])
		if e == nil {
			continue
		}
		if ext, ok := extOf(e); ok && ext == name[i:] {
			return fault.New(fault.Conflict, "the file name %q already belongs to the image %q", name, e.id)
		}
	}
	return nil
}
