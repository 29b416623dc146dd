package infer

import (
	"fmt"
	"slices"

	"github.com/voxloop/voxloop/internal/dropout"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/uncertainty"
)

// binding is a manifest matched with its network: which tensors are used and
// how large a window is.
type binding struct {
	input   string
	outputs []string // one per entry of the manifest's outputs
	ends    string   // activation that the first output comes out of; "": none
	batch   int
	window  [3]int // per array axis; 0 where the whole image is one window
}

// bind checks a manifest against the graph. Errors name the file and the key.
func bind(m *Manifest, g *onnx.Model) (*binding, error) {
	in, err := m.bindInput(g)
	if err != nil {
		return nil, refuse(err)
	}
	b := &binding{input: in.Name, batch: m.Window.Batch}
	if b.window, err = m.bindWindow(in); err != nil {
		return nil, refuse(err)
	}
	outputs := g.Outputs()
	for i, o := range m.Outputs {
		k, err := findOutput(o, i, outputs)
		if err != nil {
			return nil, refuse(err)
		}
		if slices.Contains(b.outputs, outputs[k].Name) {
			return nil, refuse(keyErrorf(fmt.Sprintf("outputs[%d]", i), "%s is used by two entries", outputs[k].Name))
		}
		b.outputs = append(b.outputs, outputs[k].Name)
		if err := m.bindOutput(i, outputs[k]); err != nil {
			return nil, refuse(err)
		}
	}
	b.ends = activationOf(g, b.outputs[0])
	return b, refuse(m.bindMembers(b, g))
}

// bindMembers checks the outputs of an ensemble's members, which must be like
// the first of those that are used.
func (m *Manifest) bindMembers(b *binding, g *onnx.Model) error {
	outputs := g.Outputs()
	first := slices.IndexFunc(outputs, func(o onnx.Info) bool { return o.Name == b.outputs[0] })
	for i, name := range m.Network.Members {
		at := fmt.Sprintf("network.members[%d]", i)
		k := slices.IndexFunc(outputs, func(o onnx.Info) bool { return o.Name == name })
		switch {
		case k < 0:
			return keyErrorf(at, "%s has no output %q", NetworkFile, name)
		case slices.Index(m.Network.Members, name) < i || slices.Contains(b.outputs, name):
			return keyErrorf(at, "%s is used twice", name)
		case len(m.Network.Members) < 2 || len(m.Network.Members) > uncertainty.MaxPasses:
			return keyErrorf("network.members", "there are %d; an ensemble has 2 to %d", len(m.Network.Members), uncertainty.MaxPasses)
		case outputs[k].Type != outputs[first].Type || !slices.Equal(outputs[k].Shape, outputs[first].Shape):
			return keyErrorf(at, "%s is %s %v, but outputs[0] is %s %v", name, outputs[k].Type, outputs[k].Shape, outputs[first].Type, outputs[first].Shape)
		}
		b.ends = activationOf(g, name)
	}
	return nil
}

func (m *Manifest) bindInput(g *onnx.Model) (onnx.Info, error) {
	inputs := g.Inputs()
	names := make([]string, len(inputs))
	for i, in := range inputs {
		names[i] = in.Name
	}
	if len(inputs) != 1 {
		return onnx.Info{}, keyErrorf("network.input", "%s needs %d inputs %q; one is supported", NetworkFile, len(inputs), names)
	}
	in := inputs[0]
	if m.Network.Input != "" && m.Network.Input != in.Name {
		return in, keyErrorf("network.input", "%s has no input %q; it has %q", NetworkFile, m.Network.Input, in.Name)
	}
	if in.Type != onnx.Float32 {
		return in, keyErrorf("network.input", "%s takes %s; float32 is supported", in.Name, in.Type)
	}
	if len(in.Shape) != m.Dimension+2 {
		return in, keyErrorf("dimension", "%d, but %s has %d axes; [N, C] and %d spatial ones are needed", m.Dimension, in.Name, len(in.Shape), m.Dimension)
	}
	if c := in.Shape[1]; c >= 0 && c != int64(len(m.Inputs)) {
		return in, keyErrorf("inputs", "%d channels are listed, but %s takes %d", len(m.Inputs), in.Name, c)
	}
	if n := in.Shape[0]; n >= 0 && n != int64(m.Window.Batch) {
		return in, keyErrorf("window.batch", "%d, but %s takes batches of %d only", m.Window.Batch, in.Name, n)
	}
	return in, nil
}

// bindWindow returns the window by array axis and checks it against sizes that
// the graph fixes.
func (m *Manifest) bindWindow(in onnx.Info) ([3]int, error) {
	var window [3]int
	if len(m.Window.Size) > 0 {
		window = perAxis(m, func(i int) int { return m.Window.Size[i] }, 1)
	}
	for i, s := range in.Shape[2:] {
		have := window[3-m.Dimension+i]
		if s < 0 || s == int64(have) {
			continue
		}
		takes := fmt.Sprintf("%s takes only %v in its own order of axes (%s)", NetworkFile, in.Shape[2:], m.Network.Axes)
		if have == 0 {
			return window, keyErrorf("window.size", "is the whole image, but %s; give that size", takes)
		}
		return window, keyErrorf("window.size", "%v does not fit: %s", []int(m.Window.Size), takes)
	}
	return window, nil
}

func findOutput(o OutputSpec, i int, outputs []onnx.Info) (int, error) {
	at := fmt.Sprintf("outputs[%d]", i)
	if o.Name == "" {
		if o.Index >= len(outputs) {
			return 0, keyErrorf(at+".index", "%d, but %s has %d outputs", o.Index, NetworkFile, len(outputs))
		}
		return o.Index, nil
	}
	names := make([]string, len(outputs))
	for k, have := range outputs {
		if have.Name == o.Name {
			return k, nil
		}
		names[k] = have.Name
	}
	return 0, keyErrorf(at+".name", "%s has no output %q; it has %q", NetworkFile, o.Name, names)
}

func (m *Manifest) bindOutput(i int, out onnx.Info) error {
	at := fmt.Sprintf("outputs[%d]", i)
	if out.Type != onnx.Float32 {
		return keyErrorf(at, "%s is %s; float32 is supported", out.Name, out.Type)
	}
	if out.Shape == nil {
		return nil // checkChannels sees what the runtime finds
	}
	if len(out.Shape) != m.Dimension+2 {
		return keyErrorf(at, "%s has %d axes; [N, C] and %d spatial ones are needed", out.Name, len(out.Shape), m.Dimension)
	}
	if c := out.Shape[1]; c >= 0 {
		return m.checkChannels(i, int(c))
	}
	return nil
}

// checkChannels checks the labels of an output against its channels: each
// channel above 0 of an argmax needs a label, or whatever the network finds
// there would be lost without a word.
func (m *Manifest) checkChannels(output, channels int) error {
	of := m.labelsOf(output)
	for i, l := range m.Labels {
		if l.Output == output && *l.Channel >= channels {
			return keyErrorf(fmt.Sprintf("labels[%d].channel", i), "%d, but the output has %d channels", *l.Channel, channels)
		}
	}
	for k, p := range m.Outputs[output].Priority {
		if p.Channel < 0 || p.Channel >= channels {
			return keyErrorf(fmt.Sprintf("outputs[%d].priority[%d].channel", output, k), "%d, but the output has %d channels", p.Channel, channels)
		}
	}
	ruled := make(map[int]bool)
	for _, p := range m.Outputs[output].Priority {
		ruled[p.Channel] = true
	}
	argmax := m.Outputs[output].Decision == decideArgmax
	for c := range channels {
		switch _, ok := of[c]; {
		case argmax && c > 0 && !ok:
			return keyErrorf("labels", "channel %d of %d has no label; name it (with value 0 it is not written)", c, channels)
		case !argmax && !ruled[c] && !(ok && of[c].Value == 0):
			return keyErrorf("labels", "channel %d of %d has neither a label nor a rule under outputs[%d].priority", c, channels, output)
		}
	}
	return nil
}

// fixed returns the graph of inference: pruned, and with every form of dropout
// switched off.
func (b *binding) fixed(m *Manifest, g *onnx.Model) (*onnx.Model, error) {
	return b.pruned(m, dropout.Off(g))
}

// pruned returns the graph with only the used outputs and, unless the whole
// image is one window, with the window's shape.
func (b *binding) pruned(m *Manifest, g *onnx.Model) (*onnx.Model, error) {
	g = g.Clone()
	var outputs []*onnx.Value
	for _, name := range b.outputs {
		for _, o := range g.Graph.Outputs {
			if o.Name == name {
				outputs = append(outputs, o)
			}
		}
	}
	g.Graph.Outputs = outputs
	if b.window == ([3]int{}) {
		return g, nil
	}
	if err := g.FixShape(b.input, m.inputShape(b.batch, b.window)); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s: window.size: %s does not take %v", ManifestFile, NetworkFile, []int(m.Window.Size))
	}
	return g, nil
}

// inputShape is the shape of the network's input tensor for windows of the
// given size per array axis.
func (m *Manifest) inputShape(batch int, window [3]int) []int64 {
	return tensorShape(m.Dimension, batch, len(m.Inputs), window)
}

func tensorShape(dimension, batch, channels int, window [3]int) []int64 {
	s := []int64{int64(batch), int64(channels)}
	for _, w := range window[3-dimension:] {
		s = append(s, int64(w))
	}
	return s
}
