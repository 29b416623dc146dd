package infer

import (
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/uncertainty"
)

// Ensemble puts model folders together into one, whose files it returns by
// name. Its network's outputs are the means of the members' scores (before the
// activation, as nnU-Net averages its folds; where members end with their
// activation, of probabilities), so that inference is the ensemble's; behind
// them come the members' own scores, which inference prunes and Measure
// compares. Equal constants are held once.
//
// The members' manifests must say the same but for names, descriptions and
// provenance, and have one output. Errors have kind fault.Invalid and name the
// member; names are what they are called in messages and in the provenance.
func Ensemble(names []string, members []fs.FS) (map[string][]byte, error) {
	if n := len(members); n < 2 || n > uncertainty.MaxPasses {
		return nil, fault.New(fault.Invalid, "an ensemble has 2 to %d members, not %d", uncertainty.MaxPasses, n)
	}
	e := &ensemble{}
	for i, fsys := range members {
		if err := e.add(fsys); err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "member %s: %s", names[i], reasonOf(err))
		}
	}
	graph, output, outputs, err := e.merged()
	if err != nil {
		return nil, err
	}
	manifest, err := e.manifest(names, output, outputs)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{NetworkFile: graph.Bytes(), ManifestFile: manifest}
	for _, name := range e.first.m.attachedFiles() {
		if files[name], err = fs.ReadFile(members[0], name); err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "member %s: %s cannot be read", names[0], name)
		}
	}
	m, err := ParseManifest(manifest)
	if err != nil {
		return nil, err
	}
	_, err = bind(m, graph)
	return files, err
}

// ensemble are members on their way into one network.
type ensemble struct {
	first    *source
	graphs   []*onnx.Model
	output   string // that the members' manifests use
	ids, end []string
}

// add reads a member and compares it with the first.
func (e *ensemble) add(fsys fs.FS) error {
	src, err := readSource(fsys, "", "")
	if err != nil {
		return err
	}
	data, err := fs.ReadFile(fsys, NetworkFile)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "%s cannot be read", NetworkFile)
	}
	graph, err := onnx.Parse(data)
	if err != nil {
		return err
	}
	b, err := bind(src.m, graph)
	if err != nil {
		return err
	}
	switch {
	case len(b.outputs) != 1:
		return fault.New(fault.Invalid, "its manifest has %d outputs; members have one", len(b.outputs))
	case len(src.m.Network.Members) > 0:
		return fault.New(fault.Invalid, "it is an ensemble itself")
	}
	if e.first == nil {
		e.first, e.output = src, b.outputs[0]
	} else if key := differs(e.first.m, src.m); key != "" {
		return fault.New(fault.Invalid, "its manifest differs from the first member's in %s", key)
	} else if b.outputs[0] != e.output || b.ends != e.end[0] {
		return fault.New(fault.Invalid, "its output is %s %q, the first member's %s %q", b.outputs[0], b.ends, e.output, e.end[0])
	}
	if i := slices.Index(e.ids, contentID(data, src.manifest, src.m.attached)); i >= 0 {
		return fault.New(fault.Invalid, "it is member %d again", i)
	}
	e.ids, e.end = append(e.ids, contentID(data, src.manifest, src.m.attached)), append(e.end, b.ends)
	// Only what the output hangs on comes along: heads for training do not.
	graph = graph.Clone()
	graph.Graph.Outputs = slices.DeleteFunc(graph.Graph.Outputs, func(v *onnx.Value) bool { return v.Name != e.output })
	e.graphs = append(e.graphs, graph)
	return graph.Prune()
}

// differs returns the first key in which two manifests do not say the same
// about the use of their networks; "" when there is none.
func differs(a, b *Manifest) string {
	about := []string{"Name", "Version", "Description", "Licence", "Provenance"}
	x, y := reflect.ValueOf(*a), reflect.ValueOf(*b)
	for f := range x.Type().Fields() {
		key := f.Tag.Get("yaml")
		if key == "" || slices.Contains(about, f.Name) {
			continue
		}
		if !reflect.DeepEqual(x.FieldByIndex(f.Index).Interface(), y.FieldByIndex(f.Index).Interface()) {
			return key
		}
	}
	if !slices.Equal(a.attached, b.attached) {
		return "the files that it names"
	}
	return ""
}

// merged returns the network, its mean's name and the members'.
func (e *ensemble) merged() (m *onnx.Model, mean string, outputs []string, err error) {
	prefix := make([]string, len(e.graphs))
	for i := range prefix {
		prefix[i] = fmt.Sprintf("member%d/", i)
	}
	if m, err = onnx.Merge(e.graphs, prefix); err != nil {
		return nil, "", nil, err
	}
	sum := m.Graph.Outputs[0].Name
	for i, o := range m.Graph.Outputs {
		outputs = append(outputs, o.Name)
		if i > 0 {
			next := fmt.Sprintf("ensemble/sum%d", i)
			m.AddNode("Add", []string{sum, o.Name}, []string{next})
			sum = next
		}
	}
	share := onnx.NewFloat32("ensemble/share", nil, []float32{1 / float32(len(outputs))})
	m.AddInitializer(share)
	m.AddNode("Mul", []string{sum, share.Name}, []string{e.output})
	result := *e.graphs[0].Graph.Outputs[0]
	m.Graph.Outputs = slices.Insert(m.Graph.Outputs, 0, &result)
	return m, e.output, outputs, m.Graph.Sort()
}

// manifest is the first member's with what makes it the ensemble's.
func (e *ensemble) manifest(names []string, output string, outputs []string) ([]byte, error) {
	provenance := []string{"made by", "voxloop model ensemble"}
	for i, name := range names {
		provenance = append(provenance, fmt.Sprintf("member %d", i), strings.TrimSpace(fmt.Sprintf("%s, version %s", name, e.ids[i])))
	}
	return editManifest(e.first.manifest, manifestEdit{
		description: fmt.Sprintf("Ensemble of %d: %s", len(names), e.first.m.Description), provenance: provenance, output: output, members: outputs,
	})
}
