package trainers

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxConfig bounds the text of a configuration, recipes included.
const maxConfig = 1 << 20

// ParseConfig reads a configuration, YAML or JSON. An unknown key or a wrong
// type is refused by name. The result passes Validate.
func ParseConfig(text []byte) (Config, error) { return ChangedConfig(text) }

// ChangedConfig reads a configuration and sets keys, each as "a.b=value" with
// the value in YAML: "optimizer.rate=1e-3", "patch=[40, 56, 40]".
func ChangedConfig(text []byte, settings ...string) (Config, error) {
	var c Config
	if len(text) > maxConfig {
		return c, wrong("file", "%d bytes; at most %d are read", len(text), maxConfig)
	}
	if err := decodeStrict(text, &c); err != nil {
		return c, err
	}
	for _, s := range settings {
		if err := c.set(s); err != nil {
			return c, err
		}
	}
	return c, c.Validate()
}

// set changes one key. Strict decoding onto c leaves all others alone.
func (c *Config) set(setting string) error {
	key, value, ok := strings.Cut(setting, "=")
	if !ok || key == "" {
		return wrong(setting, "is not of the form key=value")
	}
	var v yaml.Node
	if err := yaml.Unmarshal([]byte(value), &v); err != nil {
		return wrong(key, "%q cannot be read", value)
	}
	content := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	if len(v.Content) > 0 {
		content = v.Content[0]
	}
	path := strings.Split(key, ".")
	for _, word := range slices.Backward(path) {
		name := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: word}
		content = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{name, content}}
	}
	text, err := yaml.Marshal(content)
	if err != nil {
		return wrong(key, "%q cannot be read", value)
	}
	return decodeStrict(text, c)
}

func decodeStrict(text []byte, c *Config) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	switch err := d.Decode(c); {
	case errors.Is(err, io.EOF):
		return nil // an empty text: all defaults
	case err != nil:
		return wrong("text", "%v", errors.Join(err))
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return wrong("text", "there is more than one document")
	}
	return nil
}
