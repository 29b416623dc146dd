package dataset

import (
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
)

// Set is one public set of labelled images.
type Set struct {
	Name     string   `json:"name"`
	Title    string   `json:"title"`
	Modality string   `json:"modality,omitempty"` // MR, CT
	Channels []string `json:"channels,omitempty"` // of an image, in order
	Labels   []Label  `json:"labels,omitempty"`   // empty: dataset.json in the archive tells
	Cases    int      `json:"cases,omitempty"`    // labelled images; 0: not known

	URL     string `json:"url,omitempty"`     // of the archive; empty: it cannot be downloaded without signing up
	Archive string `json:"archive,omitempty"` // its file name
	About   int64  `json:"about,omitempty"`   // bytes, rounded; 0: not known
	SHA256  string `json:"sha256,omitempty"`  // published checksums, in hexadecimal
	MD5     string `json:"md5,omitempty"`

	Licence string `json:"licence,omitempty"`
	Cite    string `json:"cite,omitempty"`
	Home    string `json:"home,omitempty"`   // a page about the set
	Access  string `json:"access,omitempty"` // how to get the archive, where URL is empty
	Note    string `json:"note,omitempty"`

	Layout Layout `json:"layout"`
}

// Label is one class of a set.
type Label struct {
	Name  string `json:"name"`
	Value int    `json:"value"` // in label files; 1..65535
}

// Sets returns the table, in the order in which it is shown.
func Sets() []Set {
	var all []Set
	for _, part := range [][]Set{decathlon(), abdomen(), totalSegmentator(), brats(), layouts()} {
		all = append(all, part...)
	}
	return all
}

// Find returns the set of a name; case does not matter. Errors are NotFound.
func Find(name string) (Set, error) {
	var names []string
	for _, s := range Sets() {
		if strings.EqualFold(s.Name, name) {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Set{}, fault.New(fault.NotFound, "there is no data set %q; there are %s", name, strings.Join(names, ", "))
}

// names returns the classes as a map from name to value.
func names(labels []Label) map[string]int {
	m := make(map[string]int, len(labels))
	for _, l := range labels {
		m[l.Name] = l.Value
	}
	return m
}
