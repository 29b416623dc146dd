package conf

import (
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Write writes c as a configuration file that Load reads back as c.
func (c *Config) Write(w io.Writer) error {
	tree := map[string]any{}
	flat := settings(*c)
	for _, key := range slices.Sorted(maps.Keys(flat)) {
		value := flat[key]
		switch v := value.(type) {
		case time.Duration:
			value = v.String()
		case Bytes:
			value = v.String()
		}
		in := tree
		group, leaf, nested := strings.Cut(key, ".")
		if nested {
			if _, ok := tree[group]; !ok {
				tree[group] = map[string]any{}
			}
			in, _ = tree[group].(map[string]any)
		} else {
			leaf = group
		}
		in[leaf] = value
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(tree); err != nil {
		return err
	}
	return e.Close()
}
