package local

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"

	"github.com/voxloop/voxloop/internal/ordered"
)

// form is how the index is written.
type form int

const (
	compactForm form = iota // GET /datastore/?output=all: no spaces, UTF-8
	fileForm                // datastore_v2.json: two spaces, ASCII, as Python's json writes it
)

// renderIndex writes the whole index entry by entry, without holding a lock.
func (s *Store) renderIndex(w io.Writer, f form) error {
	s.mu.RLock()
	top := s.top.Clone()
	s.mu.RUnlock()
	entries := s.entriesInOrder()
	out := bufio.NewWriterSize(w, 1<<16)
	var err error
	put := func(text string) { _, _ = out.WriteString(text) } // bufio keeps its first error for Flush
	line, colon := "", ":"
	if f == fileForm {
		line, colon = "\n  ", ": "
	}
	put("{")
	first := true
	for key, value := range top.All() {
		if !first {
			put(",")
		}
		first = false
		put(line)
		if err = renderValue(out, key, "", f); err != nil {
			return err
		}
		put(colon)
		if key == "objects" {
			err = renderObjects(out, entries, f)
		} else {
			err = renderValue(out, value, "  ", f)
		}
		if err != nil {
			return err
		}
	}
	if f == fileForm {
		put("\n")
	}
	put("}")
	return out.Flush()
}

func renderValue(out *bufio.Writer, v any, prefix string, f form) error {
	raw, err := ordered.Marshal(v)
	if err != nil {
		return err
	}
	if f == fileForm {
		var b bytes.Buffer
		if err := json.Indent(&b, raw, prefix, "  "); err != nil {
			return err
		}
		raw = ordered.EscapeASCII(b.Bytes())
	}
	_, err = out.Write(raw)
	return err
}

func renderObjects(out *bufio.Writer, entries []*entry, f form) error {
	if len(entries) == 0 {
		_, err := out.WriteString("{}")
		return err
	}
	_ = out.WriteByte('{')
	var compact []byte
	var indented bytes.Buffer
	for i, e := range entries {
		if i > 0 {
			_ = out.WriteByte(',')
		}
		compact = e.appendKey(compact[:0])
		if f == compactForm {
			compact = append(compact, ':')
			_, _ = out.Write(e.appendJSON(compact))
			continue
		}
		_, _ = out.WriteString("\n    ")
		_, _ = out.Write(ordered.EscapeASCII(compact))
		_, _ = out.WriteString(": ")
		indented.Reset()
		if err := json.Indent(&indented, e.appendJSON(compact[:0]), "    ", "  "); err != nil {
			return err
		}
		_, _ = out.Write(ordered.EscapeASCII(indented.Bytes()))
	}
	if f == fileForm {
		_, _ = out.WriteString("\n  ")
	}
	return out.WriteByte('}')
}

func (e *entry) appendKey(b []byte) []byte { return appendString(b, e.id) }

// appendString appends a JSON string; a Go string always has one.
func appendString(b []byte, v string) []byte {
	raw, err := ordered.Marshal(v)
	if err != nil {
		return append(b, `""`...)
	}
	return append(b, raw...)
}

// appendJSON appends the entry's object in the index.
func (e *entry) appendJSON(b []byte) []byte {
	b = append(b, `{"image":{"ext":`...)
	b = appendString(b, e.ext)
	b = append(b, `,"info":`...)
	b = append(b, e.info...)
	if e.files != nil {
		b = append(b, `,"files":[`...)
		for i, n := range e.files {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, n)
		}
		b = append(b, ']')
	}
	b = appendRest(b, e.imageExtra)
	b = append(b, `},"labels":{`...)
	for i, l := range e.labels {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, l.tag)
		b = append(b, `:{"ext":`...)
		b = appendString(b, l.ext)
		b = append(b, `,"info":`...)
		b = append(b, l.info...)
		b = appendRest(b, l.extra)
		b = append(b, '}')
	}
	b = append(b, '}')
	b = appendRest(b, e.extra)
	return append(b, '}')
}

// appendRest appends the keys of a compact object to an open one.
func appendRest(b, object []byte) []byte {
	if len(object) <= 2 {
		return b
	}
	b = append(b, ',')
	return append(b, object[1:len(object)-1]...)
}
