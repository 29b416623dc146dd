package local

// A file on disk becomes an image by these rules, the first that fits:
//
//  1. the files of the entry that is known under the id are still there;
//  2. <id><ext> with a listed extension exists and is no channel (rule 3);
//  3. <id>_0000<ext>, <id>_0001<ext>, … are the channels of one image: at least
//     two and at most maxChannels files, numbered without a gap, no <id><ext>
//     beside them, none of them known as an image of its own (from
//     datastore_v2.json, an upload, or because it was served) and none with a
//     label of its own.
//
// A lone ID_0000 is an image with that very id, as MONAI Label has it.
type located struct {
	ext   string
	files []string // nil for one file
	state fileState
}

// locate finds the files of an image; prev is what is known under the id.
func (s *Store) locate(v view, id string, prev *entry) (located, bool) {
	if prev != nil {
		if l, ok := s.locateKnown(v, prev); ok {
			return l, true
		}
	}
	if l, ok := s.locateSingle(v, id); ok && !s.isChannel(v, id, l.ext) {
		return l, true
	}
	for _, ext := range s.opts.Extensions {
		if l, ok := s.channels(v, id, ext); ok {
			return l, true
		}
	}
	return located{}, false
}

func (s *Store) locateKnown(v view, e *entry) (located, bool) {
	if e.files == nil {
		st, ok := v.image(e.id + e.ext)
		if !ok || e.found && s.isChannel(v, e.id, e.ext) {
			return located{}, false
		}
		return located{e.ext, nil, st}, true
	}
	if l, ok := s.channels(v, e.id, e.ext); ok && len(l.files) >= len(e.files) {
		return l, true
	}
	return joinFiles(v, e.ext, e.files)
}

func joinFiles(v view, ext string, names []string) (located, bool) {
	l := located{ext: ext, files: names}
	for _, n := range names {
		st, ok := v.image(n)
		if !ok {
			return located{}, false
		}
		l.state = l.state.join(st)
	}
	return l, true
}

func (s *Store) locateSingle(v view, id string) (located, bool) {
	for _, ext := range s.opts.Extensions {
		if !s.readsAs(id, ext) {
			continue
		}
		if st, ok := v.image(id + ext); ok {
			return located{ext, nil, st}, true
		}
	}
	return located{}, false
}

func (s *Store) isChannel(v view, id, ext string) bool {
	stem, ok := channelOf(id)
	if !ok {
		return false
	}
	_, ok = s.channels(v, stem, ext)
	return ok
}

// channels finds the channel files of one image by rule 3.
func (s *Store) channels(v view, stem, ext string) (located, bool) {
	if _, ok := v.image(channelID(stem, 0) + ext); !ok {
		return located{}, false
	}
	var files []string
	for c := range maxChannels + 1 {
		id := channelID(stem, c)
		if _, ok := v.image(id + ext); !ok {
			continue
		}
		if c != len(files) || c == maxChannels {
			return located{}, false // a gap, or a long series of cases
		}
		files = append(files, id+ext)
		if e := s.get(id); e != nil && !e.found || s.hasLabel(v, id) {
			return located{}, false
		}
	}
	if len(files) < 2 {
		return located{}, false
	}
	if _, ok := s.locateSingle(v, stem); ok {
		return located{}, false
	}
	return joinFiles(v, ext, files)
}

func (s *Store) hasLabel(v view, id string) bool {
	for _, tag := range v.tags() {
		if _, _, ok := s.locateLabel(v, id, tag, label{}); ok {
			return true
		}
	}
	return false
}

// locateLabel finds the file of a label. The extension of the known label is
// preferred; then the listed ones in their order.
func (s *Store) locateLabel(v view, id, tag string, prev label) (ext string, st fileState, ok bool) {
	if prev.tag != "" {
		if st, ok := v.label(tag, id+prev.ext); ok {
			return prev.ext, st, true
		}
	}
	for _, ext := range s.opts.Extensions {
		if !s.readsAs(id, ext) {
			continue
		}
		if st, ok := v.label(tag, id+ext); ok {
			return ext, st, true
		}
	}
	return "", fileState{}, false
}
