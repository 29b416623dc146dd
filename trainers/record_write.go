package trainers

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
)

// publish writes the trained model's folder. It appears whole or not at all: it
// is made beside its place and renamed.
func (n *Native) publish(r Request, f *fit) (Result, error) {
	values, _ := f.kept()
	network, err := f.step.Model(values)
	if err != nil {
		return Result{}, err
	}
	parent := filepath.Dir(filepath.Clean(r.Out))
	if err := os.MkdirAll(parent, 0o755); err != nil { //nolint:gosec // models are shared with the people who work with them
		return Result{}, diskFault(err, "the trained model could not be written")
	}
	tmp, err := os.MkdirTemp(parent, ".voxloop-train-")
	if err != nil {
		return Result{}, diskFault(err, "the trained model could not be written")
	}
	record := n.record(f)
	if err = n.publishing(); err == nil {
		err = writeTrained(tmp, r.Model, network.Bytes(), &record)
	}
	if err == nil {
		err = os.Chmod(tmp, 0o755) //nolint:gosec // as above
	}
	if err == nil {
		err = os.Rename(tmp, r.Out)
	}
	if err == nil {
		err = syncDir(parent)
	}
	if err != nil {
		return Result{}, diskFault(errors.Join(err, os.RemoveAll(tmp)), "the trained model could not be written")
	}
	return record.result(r.Out), nil
}

// writeTrained fills a folder: the network, the record, the manifest brought up
// to date, and copies of the files that the manifest names.
func writeTrained(dir, from string, network []byte, record *Record) error {
	err := writeFile(filepath.Join(dir, networkFile), network)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(network)
	record.Network = hex.EncodeToString(sum[:])
	manifest, err := os.ReadFile(filepath.Join(from, manifestFile)) //nolint:gosec // the request names the folder
	if err != nil {
		return err
	}
	if err := copyAttached(dir, from, manifest); err != nil {
		return err
	}
	if manifest, err = trainedManifest(manifest, record); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, manifestFile), manifest); err != nil {
		return err
	}
	text, err := json.MarshalIndent(record, "", " ")
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, recordFile), append(text, '\n')); err != nil {
		return err
	}
	return syncDir(dir)
}

// copyAttached copies the files that the manifest names.
func copyAttached(dir, from string, manifest []byte) error {
	for _, name := range attached(from, manifest) {
		data, err := os.ReadFile(filepath.Join(from, name)) //nolint:gosec // as the manifest; name has no folders in it
		if err == nil {
			err = writeFile(filepath.Join(dir, name), data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, data []byte) error {
	return atomicfile.Write(path, 0o644, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the folder of the trained model
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// trainedManifest brings a manifest's version and provenance up to date. All
// else stays as its author wrote it, comments included; nothing in it depends
// on the time of day, so that equal trainings make equal models.
func trainedManifest(text []byte, r *Record) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fault.Wrap(fault.Invalid, errors.Join(err, fs.ErrInvalid), "%s cannot be read", manifestFile)
	}
	root := doc.Content[0]
	setKey(root, "version", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: short(r.Request)})
	p := inherited(mapping(root, "provenance"))
	set := func(key, value string) {
		setKey(p, key, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, Style: yaml.DoubleQuotedStyle})
	}
	if r.Parent != "" {
		set("parent", r.Parent)
	}
	set("training", "voxloop train, "+strconv.Itoa(r.KeptStep)+" steps, "+r.Config.From+", "+recordFile+" has the rest")
	set("training_cases", strconv.Itoa(countRole(r.Cases, Train))+" cases, fingerprint "+short(r.Data))
	if r.Dice != nil {
		set("validation_dice", strconv.FormatFloat(r.Mean, 'f', 4, 64)+" over "+strconv.Itoa(len(r.Validation))+" cases")
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(&doc), e.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// parentPrefix marks what is told of the model that training began from.
const parentPrefix = "parent_"

// inherited marks what a manifest says about its model's origin as the
// parent's, apart from the network's description, which stays true. What was
// the parent's parent's is left out: the parent's own manifest has it.
func inherited(m *yaml.Node) *yaml.Node {
	var content []*yaml.Node
	for i := 0; i+1 < len(m.Content); i += 2 {
		key := m.Content[i]
		if strings.HasPrefix(key.Value, parentPrefix) || key.Value == "parent" {
			continue
		}
		if key.Value != "network" {
			key.Value = parentPrefix + key.Value
		}
		content = append(content, key, m.Content[i+1])
	}
	m.Content = content
	return m
}

func countRole(cases []CaseRecord, role Role) (n int) {
	for _, c := range cases {
		if c.Role == role {
			n++
		}
	}
	return n
}

// setKey sets a key of a mapping, in its place where it is there.
func setKey(m *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			value.LineComment = m.Content[i+1].LineComment
			m.Content[i+1] = value
			return
		}
	}
	m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
}

// mapping returns the mapping under a key, making it where there is none.
func mapping(m *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key && m.Content[i+1].Kind == yaml.MappingNode {
			return m.Content[i+1]
		}
	}
	node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	setKey(m, key, node)
	return node
}
