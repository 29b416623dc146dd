package infer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/voxloop/voxloop/internal/fault"
)

const (
	maxManifest = 1 << 20 // bytes
	maxNodes    = 100_000 // values, aliases counted as often as they are used
)

// keyError is an error at a key of the manifest.
type keyError struct {
	path, msg string
}

func (e *keyError) Error() string {
	if e.path == "" {
		return e.msg
	}
	return e.path + ": " + e.msg
}

func keyErrorf(path, format string, args ...any) error {
	return &keyError{path, fmt.Sprintf(format, args...)}
}

// refuse names the file before the key.
func refuse(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Invalid, "%s: %v", ManifestFile, err)
}

// node decodes itself where a plain Go type does not describe it.
type node interface {
	decodeNode(n *yaml.Node, path string) error
}

// defaulter fills in defaults before the keys are read.
type defaulter interface{ setDefaults() }

// ParseManifest decodes and checks a manifest. Errors are of kind
// fault.Invalid and name the file and the key.
func ParseManifest(data []byte) (*Manifest, error) {
	if len(data) > maxManifest {
		return nil, refuse(fmt.Errorf("%d bytes; at most %d are read", len(data), maxManifest))
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, refuse(errors.New("is empty"))
	} else if err != nil {
		return nil, refuse(err)
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, refuse(errors.New("holds more than one document"))
	}
	m := &Manifest{}
	dec := &decoder{}
	if err := dec.value(doc.Content[0], reflect.ValueOf(m).Elem(), ""); err != nil {
		return nil, refuse(err)
	}
	if err := m.check(); err != nil {
		return nil, refuse(err)
	}
	return m, nil
}

// decoder copies YAML nodes into Go values, strictly: every key must be known.
type decoder struct{ nodes int }

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) error {
	if d.nodes++; d.nodes > maxNodes {
		return keyErrorf(path, "the file has too many values")
	}
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if p, ok := reflect.TypeAssert[defaulter](v.Addr()); ok {
		p.setDefaults()
	}
	if p, ok := reflect.TypeAssert[node](v.Addr()); ok {
		return p.decodeNode(n, path)
	}
	empty := n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(n, v.Elem(), path)
	case reflect.Struct:
		if empty {
			return nil // all defaults
		}
		return d.mapping(n, v, path)
	case reflect.Slice, reflect.Array:
		return d.sequence(n, v, path)
	case reflect.Map:
		return d.texts(n, v, path)
	}
	if empty {
		return keyErrorf(path, "has no value (line %d)", n.Line)
	}
	fraction := v.Kind() == reflect.Int && n.ShortTag() != "!!int" // yaml would cut it off
	if n.Kind != yaml.ScalarNode || fraction || n.Decode(v.Addr().Interface()) != nil {
		return keyErrorf(path, "%s is needed here, not %s (line %d)", kindName(v.Kind()), nodeName(n), n.Line)
	}
	if v.Kind() == reflect.Float64 && !finite(v.Float()) {
		return keyErrorf(path, "a finite number is needed here, not %s (line %d)", nodeName(n), n.Line)
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) error {
	if n.Kind != yaml.MappingNode {
		return keyErrorf(path, "keys and values are needed here, not %s (line %d)", nodeName(n), n.Line)
	}
	fields := make(map[string]int)
	var known []string
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag.Get("yaml"); tag != "" {
			fields[tag] = i
			known = append(known, tag)
		}
	}
	seen := make(map[string]bool)
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i].Value
		at := join(path, key)
		f, ok := fields[key]
		if !ok {
			return keyErrorf(at, "unknown key (line %d); known here: %s", n.Content[i].Line, strings.Join(known, ", "))
		}
		if seen[key] {
			return keyErrorf(at, "appears twice (line %d)", n.Content[i].Line)
		}
		seen[key] = true
		if err := d.value(n.Content[i+1], v.Field(f), at); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) sequence(n *yaml.Node, v reflect.Value, path string) error {
	if n.Kind != yaml.SequenceNode {
		return keyErrorf(path, "a list is needed here, not %s (line %d)", nodeName(n), n.Line)
	}
	if v.Kind() == reflect.Slice {
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	} else if len(n.Content) != v.Len() {
		return keyErrorf(path, "%d values are needed here, not %d (line %d)", v.Len(), len(n.Content), n.Line)
	}
	for i, c := range n.Content {
		if err := d.value(c, v.Index(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	return nil
}

// texts decodes a mapping with free keys and scalar values.
func (d *decoder) texts(n *yaml.Node, v reflect.Value, path string) error {
	if n.Kind != yaml.MappingNode {
		return keyErrorf(path, "keys and values are needed here, not %s (line %d)", nodeName(n), n.Line)
	}
	m := make(map[string]string, len(n.Content)/2)
	for i := 0; i < len(n.Content); i += 2 {
		var text string
		if err := d.value(n.Content[i+1], reflect.ValueOf(&text).Elem(), join(path, n.Content[i].Value)); err != nil {
			return err
		}
		m[n.Content[i].Value] = text
	}
	v.Set(reflect.ValueOf(m))
	return nil
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}

func nodeName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		return fmt.Sprintf("%q", n.Value)
	case yaml.DocumentNode, yaml.AliasNode:
	}
	return "nothing"
}

// oneOf checks a word.
func oneOf(path, word string, allowed ...string) error {
	if slices.Contains(allowed, word) {
		return nil
	}
	return keyErrorf(path, "%q is none of %s", word, strings.Join(allowed, ", "))
}
