package harmonize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
)

// MaxSize is the largest JSON that Parse reads, in bytes.
const MaxSize = 4 << 20

// maxDepth is deeper than any model is nested.
const maxDepth = 8

// Write writes the model as indented JSON. Equal models give equal bytes.
func (m *Model) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(m)
}

// Parse reads a model, strictly: unknown, repeated or missing keys, numbers
// that make no scale and anything after the document are refused. All errors
// are fault.Invalid.
func Parse(data []byte) (*Model, error) {
	m, err := parse(data)
	if err != nil {
		return nil, fault.New(fault.Invalid, "no harmonisation model that can be used: %v", err)
	}
	return m, nil
}

func parse(data []byte) (*Model, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%d bytes; at most %d are read", len(data), MaxSize)
	}
	if err := checkKeys(data); err != nil {
		return nil, err
	}
	var m Model
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return nil, clean(err)
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return &m, nil
}

// clean takes Go's words out of an error of encoding/json.
func clean(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s: %s does not belong here (byte %d)", e.Field, e.Value, e.Offset)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// checkKeys refuses what encoding/json lets pass: keys that appear twice or
// are known only without regard to case, and a second document.
func checkKeys(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := walk(d, 0); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the end of the document")
	}
	return nil
}

func walk(d *json.Decoder, depth int) error {
	t, err := d.Token()
	if errors.Is(err, io.EOF) {
		return errors.New("the document ends too early")
	}
	if err != nil {
		return clean(err)
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth++; depth > maxDepth {
		return errors.New("it is nested too deeply")
	}
	seen := make(map[string]bool)
	for d.More() {
		if open == '{' {
			if err := walkKey(d, seen); err != nil {
				return err
			}
		}
		if err := walk(d, depth); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return errors.New("the document ends too early")
	}
	return nil
}

func walkKey(d *json.Decoder, seen map[string]bool) error {
	t, err := d.Token()
	if err != nil {
		return clean(err)
	}
	key, _ := t.(string)
	if strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return fmt.Errorf("unknown field %q", key)
	}
	if seen[key] {
		return fmt.Errorf("field %q appears twice", key)
	}
	seen[key] = true
	return nil
}
