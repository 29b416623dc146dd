package infer

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// manifestEdit is what an ensemble changes in its members' manifest.
type manifestEdit struct {
	description string
	provenance  []string // keys and values in turn
	output      string   // name of the only output
	members     []string
}

// editManifest rewrites a manifest; other keys and comments stay.
func editManifest(data []byte, e manifestEdit) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, refuse(err)
	}
	root := doc.Content[0]
	set(root, "description", scalar(e.description))
	drop(root, "version")
	about := &yaml.Node{Kind: yaml.MappingNode}
	for _, s := range e.provenance {
		about.Content = append(about.Content, scalar(s))
	}
	set(root, "provenance", about)
	network := get(root, "network")
	if network == nil || network.Kind != yaml.MappingNode {
		network = &yaml.Node{Kind: yaml.MappingNode}
		set(root, "network", network)
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, m := range e.members {
		list.Content = append(list.Content, scalar(m))
	}
	set(network, "members", list)
	if outputs := get(root, "outputs"); outputs != nil {
		first := resolved(outputs.Content[0])
		drop(first, "index")
		set(first, "name", scalar(e.output))
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return nil, refuse(err)
	}
	return out.Bytes(), nil
}

func scalar(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// resolved follows an alias.
func resolved(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// get returns the value of a key of a mapping, nil when it is not there.
func get(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return resolved(n.Content[i+1])
		}
	}
	return nil
}

func set(n *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content[i+1] = value
			return
		}
	}
	n.Content = append(n.Content, scalar(key), value)
}

func drop(n *yaml.Node, key string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content = append(n.Content[:i:i], n.Content[i+2:]...)
			return
		}
	}
}
