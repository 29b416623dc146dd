package design

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/voxloop/voxloop/internal/fault"
)

// Reclassing is a model folder's manifest with other classes, and the change of
// its network that goes with it.
type Reclassing struct {
	Manifest        []byte
	Change          Change
	Kept, New, Gone []string // classes, by name
}

// Reclass replaces the classes of a manifest: those of the same name keep their
// channel's weights. The values are what label files hold. Everything else in
// the manifest stays, but for steps that name classes that are gone. Errors are
// of kind fault.Invalid; the network must have one softmax output of which the
// largest score wins.
func Reclass(text []byte, labels map[string]int, l Labelling) (*Reclassing, error) {
	if err := checkLabels(labels); err != nil {
		return nil, err
	}
	if len(labels) == 0 {
		return nil, fault.New(fault.Invalid, "there are no classes")
	}
	var doc yaml.Node
	var old struct {
		Outputs []struct {
			Activation string `yaml:"activation"`
			Decision   string `yaml:"decision"`
		} `yaml:"outputs"`
		Labels []struct {
			Name    string `yaml:"name"`
			Value   int    `yaml:"value"`
			Channel *int   `yaml:"channel"`
		} `yaml:"labels"`
	}
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode || doc.Decode(&old) != nil {
		return nil, fault.New(fault.Invalid, "%s cannot be read", ManifestFile)
	}
	if len(old.Outputs) != 1 || !slices.Contains([]string{"", "softmax"}, old.Outputs[0].Activation) || !slices.Contains([]string{"", "argmax"}, old.Outputs[0].Decision) {
		return nil, fault.New(fault.Invalid, "%s: classes can be changed where there is one output with softmax and argmax", ManifestFile)
	}
	channel := map[string]int{}
	for _, k := range old.Labels {
		channel[k.Name] = k.Value
		if k.Channel != nil {
			channel[k.Name] = *k.Channel
		}
	}
	r := &Reclassing{Change: Change{Classes: []int{0}}}
	var keys []labelKeys
	names := sortedKeys(labels)
	slices.SortFunc(names, func(a, b string) int { return labels[a] - labels[b] })
	for i, name := range names {
		keys = append(keys, labelKeys{name, labels[name], i + 1})
		if c, ok := channel[name]; ok {
			r.Change.Classes, r.Kept = append(r.Change.Classes, c), append(r.Kept, name)
		} else {
			r.Change.Classes, r.New = append(r.Change.Classes, Fresh), append(r.New, name)
		}
	}
	for _, k := range old.Labels {
		if _, ok := labels[k.Name]; !ok {
			r.Gone = append(r.Gone, k.Name)
		}
	}
	return r, r.write(doc.Content[0], keys, l)
}

// write puts the new classes into the manifest.
func (r *Reclassing) write(root *yaml.Node, keys []labelKeys, l Labelling) error {
	var list yaml.Node
	if err := list.Encode(keys); err != nil {
		return err
	}
	setKey(root, "labels", &list)
	if l.Name != "" {
		setKey(root, "name", &yaml.Node{Kind: yaml.ScalarNode, Value: l.Name, Tag: "!!str"})
	}
	if len(r.Gone) > 0 {
		r.forget(root)
	}
	p := key(root, "provenance")
	if p == nil || p.Kind != yaml.MappingNode {
		p = &yaml.Node{Kind: yaml.MappingNode}
		setKey(root, "provenance", p)
	}
	setKey(p, "classes changed", &yaml.Node{
		Kind: yaml.ScalarNode, Tag: "!!str",
		Value: fmt.Sprintf("by voxloop model new, seed %d; new and not trained yet: %q", l.Seed, r.New),
	})
	var err error
	r.Manifest, err = encodeYAML(root)
	return err
}

// forget takes classes that are gone out of the post-processing; a step that
// named no others goes with them.
func (r *Reclassing) forget(root *yaml.Node) {
	steps := key(root, "postprocess")
	if steps == nil {
		return
	}
	steps.Content = slices.DeleteFunc(steps.Content, func(step *yaml.Node) bool {
		k := key(step, "keep_largest")
		if k == nil {
			return false
		}
		names := key(k, "labels")
		if names == nil || len(names.Content) == 0 {
			return false
		}
		names.Content = slices.DeleteFunc(names.Content, func(n *yaml.Node) bool { return slices.Contains(r.Gone, n.Value) })
		return len(names.Content) == 0
	})
}

// key returns the value of a mapping's key, or nil.
func key(m *yaml.Node, name string) *yaml.Node {
	if m == nil || m.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == name {
			return m.Content[i+1]
		}
	}
	return nil
}

func setKey(m *yaml.Node, name string, value *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == name {
			m.Content[i+1] = value
			return
		}
	}
	m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name, Tag: "!!str"}, value)
}
