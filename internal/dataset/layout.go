package dataset

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Layout tells by the names in an archive which of its files are what. The
// patterns are regular expressions that match whole paths with slashes; the
// group "id" is the image's id.
//
// Channels of one image may lie in one file (then they are its fourth axis) or
// in several: the group "channel" of Images is then one of Suffixes, or a
// number. Labels may lie in one file per image, or in one file per class: the
// group "class" of Masks is then the class, and every voxel other than 0
// belongs to it.
type Layout struct {
	Images     string   `json:"images"`
	Labels     string   `json:"labels,omitempty"`
	Masks      string   `json:"masks,omitempty"`
	Unlabelled string   `json:"unlabelled,omitempty"` // images without labels
	Suffixes   []string `json:"suffixes,omitempty"`
	Prefix     string   `json:"prefix,omitempty"` // put before ids that would say nothing by themselves

	// Described archives have a dataset.json that names the labels: as
	// "1": "name" in the Decathlon's form, as "name": 1 in nnU-Net's.
	Described bool `json:"described,omitempty"`
}

// role is what a file of an archive is.
type role string

const (
	imageRole       role = "image"
	unlabelledRole  role = "unlabelled"
	labelRole       role = "label"
	maskRole        role = "mask"
	descriptionRole role = "description"
)

// part is one file of an archive that is wanted.
type part struct {
	role    role
	id      string
	channel int    // of an image, in one of several files; -1: the file is the image
	class   string // of a mask
	ext     string
}

const descriptionName = "dataset.json"

// imageExt ends every pattern of images and labels.
const imageExt = `(?:\.nii\.gz|\.nii|\.nrrd)`

// roles recognises names; what fits the first pattern is that.
type matcher struct {
	layout Layout
	roles  []role
	forms  []*regexp.Regexp
}

// compile caches patterns: each is compiled once.
var compile = func() func(string) *regexp.Regexp {
	var known sync.Map
	return func(pattern string) *regexp.Regexp {
		if re, ok := known.Load(pattern); ok {
			return re.(*regexp.Regexp)
		}
		re := regexp.MustCompile(`^(?:.*/)?` + pattern + `$`)
		known.Store(pattern, re)
		return re
	}
}()

// matcher returns what recognises the layout's files. Images without labels are
// wanted where unlabelled says so.
func (l Layout) matcher(unlabelled bool) *matcher {
	m := &matcher{layout: l}
	add := func(r role, pattern string) {
		if pattern != "" {
			m.roles = append(m.roles, r)
			m.forms = append(m.forms, compile(pattern))
		}
	}
	add(imageRole, l.Images)
	add(labelRole, l.Labels)
	add(maskRole, l.Masks)
	if unlabelled {
		add(unlabelledRole, l.Unlabelled)
	}
	return m
}

// match tells what the file of a name is; false for what is not wanted. Names
// that begin with a dot are not, which includes the ._ files that macOS puts
// into archives.
func (m *matcher) match(name string) (part, bool) {
	base := path.Base(name)
	if strings.HasPrefix(base, ".") {
		return part{}, false
	}
	if base == descriptionName && m.layout.Described {
		return part{role: descriptionRole, channel: -1, ext: ".json"}, true
	}
	for i, re := range m.forms {
		groups := re.FindStringSubmatch(name)
		if groups == nil {
			continue
		}
		p := part{role: m.roles[i], channel: -1, ext: name[len(name)-len(extOf(name)):]}
		for k, group := range re.SubexpNames() {
			switch group {
			case "id":
				p.id = m.layout.Prefix + groups[k]
			case "class":
				p.class = groups[k]
			case "channel":
				if groups[k] != "" {
					p.channel = m.layout.channel(groups[k])
				}
			}
		}
		return p, checkID(p.id) && checkID(p.class+"x")
	}
	return part{}, false
}

// channel is the place of a channel by its word in a file's name. Numbers stand
// for themselves.
func (l Layout) channel(word string) int {
	if i := slices.Index(l.Suffixes, word); i >= 0 {
		return i
	}
	n, err := strconv.Atoi(word)
	if err != nil {
		return -1
	}
	return n
}

var extensions = []string{".nii.gz", ".nii", ".nrrd"}

// extOf returns the extension of an image's name, or the text from its last dot.
func extOf(name string) string {
	for _, e := range extensions {
		if strings.HasSuffix(name, e) {
			return e
		}
	}
	return path.Ext(name)
}

// checkID reports whether text can be an id in the data store and a file name.
func checkID(text string) bool {
	if text == "" || len(text) > 200 || text[0] == '.' || strings.ContainsAny(text, "/\\") {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd })
}
