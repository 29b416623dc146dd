package design

import (
	"fmt"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// The types of networks.
const (
	Plain    = "plain"    // stages of convolutions
	Residual = "residual" // encoder stages of residual blocks
)

// Names of the network's tensors. Further heads are logits1, logits2, …
const (
	inputName  = "image"
	outputName = "logits"
)

const (
	opset = 17
	slope = 0.01 // of LeakyReLU below zero
	eps   = 1e-5 // of instance normalisation
)

// Network is the plan of a U-Net: an encoder that halves the resolution from
// stage to stage, a decoder that doubles it again and joins what the encoder
// had at the same resolution.
//
// A stage is a row of convolution, instance normalisation, LeakyReLU. Going
// down, the stage's first convolution has the stride; going up, a transposed
// convolution whose kernel is its stride. The last decoder stages end in a
// convolution to class scores each: the first output has the image's size, the
// further ones (deep supervision) half of it and so on.
type Network struct {
	Type      string  `json:"type"`
	Dimension int     `json:"dimension"` // 2 or 3 spatial axes
	Channels  int     `json:"channels"`  // of the image
	Classes   int     `json:"classes"`   // channels of the output, background included
	Stages    []Stage `json:"stages"`    // from the image's resolution down
	Heads     int     `json:"heads"`     // outputs, at least 1
	Dropout   float64 `json:"dropout"`   // share of values dropped; 0: no Dropout nodes
}

// Stage is one resolution. Kernel and Stride have one number per spatial axis.
type Stage struct {
	Features int   `json:"features"`
	Kernel   []int `json:"kernel"`
	Stride   []int `json:"stride"` // from the stage above; ones in the first stage
	// Encode is the number of convolutions (residual: of blocks) going down. 0,
	// in the first stage only, leaves the image as it is: the full resolution
	// is then worked at by the decoder alone.
	Encode int `json:"encode"`
	Decode int `json:"decode"` // convolutions going up; 0 in the last stage
}

// validate reports a plan that is no network.
func (n *Network) validate() error {
	wrong := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "the network's plan: %s", fmt.Sprintf(format, args...))
	}
	switch {
	case n.Type != Plain && n.Type != Residual:
		return wrong("type %q is neither %s nor %s", n.Type, Plain, Residual)
	case n.Dimension != 2 && n.Dimension != 3:
		return wrong("%d spatial axes; 2 or 3 are possible", n.Dimension)
	case n.Channels < 1 || n.Classes < 2:
		return wrong("%d channels and %d classes; at least 1 and 2 are needed", n.Channels, n.Classes)
	case len(n.Stages) < 2:
		return wrong("%d stages; at least 2 are needed", len(n.Stages))
	case n.Heads < 1 || n.Heads >= len(n.Stages):
		return wrong("%d heads; 1 to %d are possible", n.Heads, len(n.Stages)-1)
	case !(n.Dropout >= 0 && n.Dropout < 1):
		return wrong("dropout %g is not from 0 to below 1", n.Dropout)
	}
	for i, s := range n.Stages {
		last := i == len(n.Stages)-1
		switch {
		case s.Features < 1 || len(s.Kernel) != n.Dimension || len(s.Stride) != n.Dimension:
			return wrong("stage %d has no features, or not %d numbers as kernel and stride", i, n.Dimension)
		case s.Encode < 0 || (s.Encode == 0 && i > 0) || (s.Decode < 1 && !last):
			return wrong("stage %d has no convolutions", i)
		}
		for k := range n.Dimension {
			if s.Kernel[k] < 1 || s.Kernel[k]%2 == 0 || s.Stride[k] < 1 || (i == 0 && s.Stride[k] != 1) {
				return wrong("stage %d: kernel %v must be odd, stride %v at least 1, and 1 in the first stage", i, s.Kernel, s.Stride)
			}
		}
	}
	return nil
}

// Multiple returns what the size of a patch must be a multiple of, per axis.
func (n *Network) Multiple() []int {
	m := make([]int, n.Dimension)
	for k := range m {
		m[k] = 1
		for _, s := range n.Stages {
			m[k] *= s.Stride[k]
		}
	}
	return m
}

// Build returns the network in ONNX, with free batch and spatial axes:
// image [N, Channels, spatial…] float32 → logits [N, Classes, spatial…], scores
// before softmax. Weights are He-initialised by the seed; the same plan and
// seed give the same bytes. Dropout nodes are in inference form: they drop
// nothing, and training and Monte-Carlo inference draw their masks themselves.
func (n *Network) Build(seed uint64) (*onnx.Model, error) {
	if err := n.validate(); err != nil {
		return nil, err
	}
	b := n.graph(false)
	return b.m, Initialise(b.m, seed)
}

// graph makes the nodes; a sketch has no values for its parameters.
func (n *Network) graph(sketch bool) *build {
	b := &build{net: n, m: onnx.NewModel(opset), sketch: sketch, shapes: map[string][]int64{}}
	b.m.Graph.Name = "voxloop-" + n.Type
	b.m.Graph.Inputs = append(b.m.Graph.Inputs, b.tensor(inputName, n.Channels, ""))
	for i, name := range b.decode(b.encode()) {
		suffix := ""
		if i > 0 {
			suffix = fmt.Sprint(i)
		}
		b.m.Graph.Outputs = append(b.m.Graph.Outputs, b.tensor(name, n.Classes, suffix))
	}
	return b
}

func headName(i int) string {
	if i == 0 {
		return outputName
	}
	return outputName + fmt.Sprint(i)
}
