package infer

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// exclusive is why a model cannot be trained natively.
const exclusive = "native training needs exclusive classes: one output, decided by argmax, or a single channel with a threshold"

// readClasses finds out which class index stands for which label value. Errors
// name the key.
func (p *Pipeline) readClasses() error {
	m := p.m
	if len(m.Outputs) != 1 {
		return keyErrorf("outputs", "there are %d; %s", len(m.Outputs), exclusive)
	}
	outputs := p.graph.Outputs()
	if p.b.outputs[0] != outputs[0].Name {
		return keyErrorf("outputs[0]", "%s is not the network's first output, %s, which training compares with the labels", p.b.outputs[0], outputs[0].Name)
	}
	if op := activationOf(p.graph, outputs[0].Name); op != "" {
		return keyErrorf("outputs[0]", "the network ends with %s; training needs the scores before it: export the network without it, and say activation here", op)
	}
	argmax := m.Outputs[0].Decision == decideArgmax
	p.outputs = channelsOf(m, outputs[0])
	switch {
	case !argmax && p.outputs != 1:
		return keyErrorf("outputs[0].decision", "%d channels with a threshold each may overlap; %s", p.outputs, exclusive)
	case argmax && p.outputs < 2:
		return keyErrorf("outputs[0].decision", "argmax over one channel decides nothing; %s", exclusive)
	case !argmax && m.Outputs[0].Activation == activationSoftmax:
		return keyErrorf("outputs[0].activation", "softmax of one channel is 1 everywhere; training needs sigmoid")
	case !argmax && m.Outputs[0].ElseValue != 0:
		return keyErrorf("outputs[0].else_value", "%d, but training needs 0 for the background", m.Outputs[0].ElseValue)
	}
	if err := p.indexLabels(argmax); err != nil {
		return err
	}
	return p.indexIgnored()
}

// channelsOf returns the channels of an output, from the graph or, where that
// leaves them open, from the labels: bind has made sure that each has one.
func channelsOf(m *Manifest, o onnx.Info) int {
	if len(o.Shape) > 1 && o.Shape[1] > 0 {
		return int(o.Shape[1])
	}
	last := 0
	for _, l := range m.Labels {
		last = max(last, *l.Channel)
	}
	return last + 1
}

// activationOf names the activation that an output comes from; "" for none.
func activationOf(m *onnx.Model, output string) string {
	x := m.Graph.Index()
	for range m.Graph.Nodes { // bounds the walk through a damaged graph's cycle
		n := x.Producer(output)
		switch {
		case n == nil:
			return ""
		case n.Is("Softmax"), n.Is("Sigmoid"), n.Is("HardSigmoid"):
			return n.Op
		case !n.Is("Identity") && !n.Is("Cast"):
			return ""
		}
		output = n.Input(0)
	}
	return ""
}

// indexLabels fills the table of class indices and the list of classes.
func (p *Pipeline) indexLabels(argmax bool) error {
	p.index = make([]int32, math.MaxUint16+1)
	for v := range p.index {
		p.index[v] = -1
	}
	background := true // unless channel 0 has a label of its own
	for i, l := range p.m.Labels {
		c := *l.Channel
		if !argmax {
			if v := p.m.Outputs[0].Priority[0].Value; *v != l.Value {
				return keyErrorf("outputs[0].priority[0].value", "%d is not the value of label %s, %d; training needs one value for the class", *v, l.Name, l.Value)
			}
			c = 1
		}
		if c == 0 && l.Value != 0 {
			background = false
		}
		if l.Value == 0 {
			continue // channels whose finds are not written: no voxel is theirs
		}
		if p.index[l.Value] >= 0 {
			return keyErrorf(fmt.Sprintf("labels[%d].value", i), "%d is the value of two labels; training cannot tell them apart", l.Value)
		}
		p.index[l.Value] = int32(c)
		p.classes = append(p.classes, CaseClass{Name: l.Name, Value: l.Value, Index: c})
	}
	if background {
		p.index[0] = 0
	}
	return nil
}

// indexIgnored makes room for the value that marks unlabelled voxels.
func (p *Pipeline) indexIgnored() error {
	v := p.o.Ignore
	switch {
	case v == 0:
		return nil
	case v < 0 || v > math.MaxUint16:
		return fault.New(fault.Invalid, "the label value to be ignored, %d, is not in 1..65535", v)
	case p.index[v] >= 0:
		return fault.New(fault.Invalid, "the label value to be ignored, %d, is a label of the model", v)
	case v < max(p.outputs, 2):
		return fault.New(fault.Invalid, "the label value to be ignored, %d, is the number of a class of the network, which has %d: take a larger one", v, max(p.outputs, 2))
	}
	p.index[v] = int32(v)
	return nil
}

// checkValues refuses values without a class, with how many voxels have them.
func (p *Pipeline) checkValues(labels []uint16) error {
	var count map[uint16]int
	for _, v := range labels {
		if p.index[v] < 0 {
			if count == nil {
				count = make(map[uint16]int)
			}
			count[v]++
		}
	}
	if count == nil {
		return nil
	}
	var values []uint16
	for v := range count {
		values = append(values, v)
	}
	slices.Sort(values)
	const most = 5
	var texts []string
	for _, v := range values[:min(most, len(values))] {
		texts = append(texts, fmt.Sprintf("%d (%d voxels)", v, count[v]))
	}
	if n := len(values) - most; n > 0 {
		texts = append(texts, fmt.Sprintf("%d further ones", n))
	}
	return fault.New(fault.Invalid, "the label map holds values that the model does not know: %s; it knows %s", strings.Join(texts, ", "), p.knownText())
}

func (p *Pipeline) knownText() string {
	var texts []string
	if p.index[0] == 0 {
		texts = append(texts, "0")
	}
	for _, c := range p.classes {
		texts = append(texts, fmt.Sprintf("%d (%s)", c.Value, c.Name))
	}
	if p.o.Ignore > 0 {
		texts = append(texts, fmt.Sprintf("%d (ignored)", p.o.Ignore))
	}
	return strings.Join(texts, ", ")
}
