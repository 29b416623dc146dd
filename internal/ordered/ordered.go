// Package ordered holds JSON objects whose key order survives a round trip.
//
// Clients of the MONAI Label protocol read meaning into key order (the first
// model is preselected, the last label version is the newest), and a lab's
// datastore_v2.json must come back with the keys that we do not know.
// Numbers keep their literal text, non-ASCII characters stay unescaped.
package ordered

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Map is a JSON object in insertion order. The zero value is empty and ready
// for use; it is not safe for concurrent writes. Values are nil, bool, string,
// json.Number, any Go value that encoding/json can marshal, []any or *Map.
type Map struct {
	keys   []string
	values map[string]any
}

// Of builds a Map from alternating keys and values: Of("a", 1, "b", 2).
// It panics on an odd count or a key that is no string: a programming error.
func Of(pairs ...any) *Map {
	if len(pairs)%2 != 0 {
		panic("ordered.Of: odd number of arguments")
	}
	m := &Map{}
	for i := 0; i < len(pairs); i += 2 {
		m.Set(pairs[i].(string), pairs[i+1])
	}
	return m
}

// Len returns the number of keys; a nil Map has none.
func (m *Map) Len() int {
	if m == nil {
		return 0
	}
	return len(m.keys)
}

// Get returns the value of key and whether it is present.
func (m *Map) Get(key string) (any, bool) {
	if m == nil {
		return nil, false
	}
	v, ok := m.values[key]
	return v, ok
}

// String returns the value of key when it is a string, else "".
func (m *Map) String(key string) string {
	v, _ := m.Get(key)
	s, _ := v.(string)
	return s
}

// Sub returns the value of key when it is an object, else nil.
func (m *Map) Sub(key string) *Map {
	v, _ := m.Get(key)
	s, _ := v.(*Map)
	return s
}

// Set stores value under key; an existing key keeps its place.
func (m *Map) Set(key string, value any) *Map {
	if m.values == nil {
		m.values = make(map[string]any)
	}
	if _, ok := m.values[key]; !ok {
		m.keys = append(m.keys, key)
	}
	m.values[key] = value
	return m
}

// Delete removes key.
func (m *Map) Delete(key string) {
	if m == nil {
		return
	}
	if _, ok := m.values[key]; !ok {
		return
	}
	delete(m.values, key)
	m.keys = slices.DeleteFunc(m.keys, func(k string) bool { return k == key })
}

// Keys returns the keys in order. The slice is a copy.
func (m *Map) Keys() []string {
	if m == nil {
		return nil
	}
	return slices.Clone(m.keys)
}

// All iterates over the entries in order.
func (m *Map) All() func(yield func(string, any) bool) {
	return func(yield func(string, any) bool) {
		if m == nil {
			return
		}
		for _, k := range m.keys {
			if !yield(k, m.values[k]) {
				return
			}
		}
	}
}

// Merge sets every entry of other in m, in other's order (a shallow merge).
func (m *Map) Merge(other *Map) *Map {
	for k, v := range other.All() {
		m.Set(k, v)
	}
	return m
}

// Clone returns a deep copy of objects and arrays; other values are shared.
func (m *Map) Clone() *Map {
	if m == nil {
		return nil
	}
	c := &Map{}
	for k, v := range m.All() {
		c.Set(k, cloneValue(v))
	}
	return c
}

func cloneValue(v any) any {
	switch t := v.(type) {
	case *Map:
		return t.Clone()
	case []any:
		c := make([]any, len(t))
		for i := range t {
			c[i] = cloneValue(t[i])
		}
		return c
	default:
		return v
	}
}

// MarshalJSON writes the object compactly in insertion order without HTML
// escaping.
func (m *Map) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	if err := m.encode(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (m *Map) encode(b *bytes.Buffer) error {
	if m == nil {
		b.WriteString("null")
		return nil
	}
	b.WriteByte('{')
	for i, k := range m.keys {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := encode(b, k); err != nil {
			return err
		}
		b.WriteByte(':')
		if err := encode(b, m.values[k]); err != nil {
			return fmt.Errorf("key %q: %w", k, err)
		}
	}
	b.WriteByte('}')
	return nil
}

// Marshal is json.Marshal without HTML escaping and without a final newline.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := encode(&b, v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// encode goes through objects and arrays itself: encoding/json would look at
// the text of each again for every level that it is nested in.
func encode(b *bytes.Buffer, v any) error {
	switch t := v.(type) {
	case *Map:
		return t.encode(b)
	case []any:
		if t == nil {
			break
		}
		b.WriteByte('[')
		for i, one := range t {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := encode(b, one); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	}
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the encoder's newline
	return nil
}

// maxDepth bounds the nesting of a document, so that hostile input cannot
// exhaust the stack.
const maxDepth = 200

// ErrNotObject is returned by Parse when the document is valid JSON but no
// object.
var ErrNotObject = errors.New("JSON value is not an object")

// Parse decodes one JSON object. Trailing text is an error.
func Parse(data []byte) (*Map, error) {
	v, err := ParseValue(data)
	if err != nil {
		return nil, err
	}
	m, ok := v.(*Map)
	if !ok {
		return nil, ErrNotObject
	}
	return m, nil
}

// ParseValue decodes one JSON value: nil, bool, string, json.Number, []any or
// *Map. Trailing text is an error.
func ParseValue(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := parseValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the end of the JSON value")
	}
	return v, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("JSON nested deeper than %d levels", maxDepth)
	}
	t, err := d.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	switch delim {
	case '{':
		m := &Map{}
		for d.More() {
			kt, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			m.Set(kt.(string), v)
		}
		_, err := d.Token()
		return m, err
	case '[':
		a := []any{}
		for d.More() {
			v, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			a = append(a, v)
		}
		_, err := d.Token()
		return a, err
	}
	return nil, fmt.Errorf("unexpected %q in JSON", delim)
}

// UnmarshalJSON decodes an object, keeping its order.
func (m *Map) UnmarshalJSON(data []byte) error {
	p, err := Parse(data)
	if err != nil {
		return err
	}
	*m = *p
	return nil
}

// Indent writes v as JSON indented by two spaces, non-ASCII characters escaped
// as \uXXXX: the form of the reference's datastore_v2.json.
func Indent(v any) ([]byte, error) {
	raw, err := Marshal(v)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return nil, err
	}
	return EscapeASCII(b.Bytes()), nil
}

// EscapeASCII replaces every non-ASCII character of a JSON text by its \uXXXX
// escape (a surrogate pair above U+FFFF).
func EscapeASCII(data []byte) []byte {
	if bytes.IndexFunc(data, func(r rune) bool { return r > 0x7e }) < 0 {
		return data
	}
	var b strings.Builder
	b.Grow(len(data) + 64)
	for _, r := range string(data) {
		switch {
		case r < 0x7f:
			b.WriteByte(byte(r)) //nolint:gosec // below 0x7f
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return []byte(b.String())
}
