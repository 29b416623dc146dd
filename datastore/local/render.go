package local

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"time"

	"github.com/voxloop/voxloop/internal/ordered"
)

// form is how the index is written.
type form int

const (
	compactForm form = iota // GET /datastore/?output=all: no spaces, UTF-8
	fileForm                // datastore_v2.json: two spaces, ASCII, as Python's json writes it
)

// Rewriting the file of a large store is nobody's request: it pauses after so
// many entries, so that requests find a free core.
const (
	breathAfter = 512
	breath      = 100 * time.Microsecond
)

// renderIndex writes the whole index entry by entry, without holding a lock.
// For the file form the caller holds indexMu, which guards the cache.
func (s *Store) renderIndex(w io.Writer, f form) error {
	s.mu.Lock()
	top := s.top.Clone()
	s.mu.Unlock()
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
			err = renderObjects(out, entries, f, &s.rendered)
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

func renderObjects(out *bufio.Writer, entries []*entry, f form, cache *renderCache) error {
	if len(entries) == 0 {
		_, err := out.WriteString("{}")
		return err
	}
	_ = out.WriteByte('{') // bufio keeps its first error
	var text []byte
	for i, e := range entries {
		if i > 0 {
			_ = out.WriteByte(',')
		}
		if f == fileForm && i%breathAfter == breathAfter-1 {
			time.Sleep(breath)
		}
		var err error
		switch f {
		case compactForm:
			text = e.appendJSON(append(appendString(text[:0], e.id), ':'))
		case fileForm:
			text, err = cache.text(e)
		}
		if err != nil {
			return err
		}
		_, _ = out.Write(text)
	}
	if f == fileForm {
		cache.done()
		_, _ = out.WriteString("\n  ")
	}
	return out.WriteByte('}')
}

// renderCache keeps the text of every entry in the index file, so that a
// rewrite after one change only joins what it has. It relies on entries being
// rendered in index order, each time.
type renderCache struct {
	last, next []rendered // by seq: of the last rendering and of this one
	at         int        // place in last
}

type rendered struct {
	e    *entry
	text []byte
}

// text returns the key and object of e as they stand in the index file.
func (c *renderCache) text(e *entry) ([]byte, error) {
	for c.at < len(c.last) && c.last[c.at].e.seq < e.seq {
		c.at++
	}
	if c.at < len(c.last) && c.last[c.at].e == e {
		c.next = append(c.next, c.last[c.at])
		return c.last[c.at].text, nil
	}
	var b bytes.Buffer
	b.WriteString("\n    ")
	b.Write(ordered.EscapeASCII(appendString(nil, e.id)))
	b.WriteString(": ")
	var object bytes.Buffer
	if err := json.Indent(&object, e.appendJSON(nil), "    ", "  "); err != nil {
		return nil, err
	}
	b.Write(ordered.EscapeASCII(object.Bytes()))
	c.next = append(c.next, rendered{e, bytes.Clone(b.Bytes())})
	return b.Bytes(), nil
}

// done makes this rendering the last one.
func (c *renderCache) done() { c.last, c.next, c.at = c.next, make([]rendered, 0, len(c.next)), 0 }

// appendString appends a JSON string; a Go string always has one.
func appendString(b []byte, v string) []byte {
	if plain(v) {
		b = append(b, '"')
		b = append(b, v...)
		return append(b, '"')
	}
	raw, err := ordered.Marshal(v)
	if err != nil {
		return append(b, `""`...)
	}
	return append(b, raw...)
}

// plain reports whether v needs no escape in JSON.
func plain(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
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
