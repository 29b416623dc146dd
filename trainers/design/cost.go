package design

import (
	"time"

	"github.com/voxloop/voxloop/internal/onnx"
)

// Cost is an estimate of what training a network takes.
type Cost struct {
	Parameters int64         `json:"parameters"`
	Work       float64       `json:"gflop"`      // of one forward pass over the batch, in 10⁹ operations
	Values     int64         `json:"values"`     // that the layers compute for the batch
	Step       time.Duration `json:"step_ns"`    // of training, on the cores given
	Memory     int64         `json:"step_bytes"` // of training
}

// The model of a training step, fitted to measured ones (docs/model-new.md): a
// step is about three forward passes of work, and passes over what the layers
// compute (normalisation, activation and their gradients) at the speed of
// memory.
const (
	passes       = 3     // forward, gradient of the data, gradient of the weights
	coreSpeed    = 80e9  // operations per second and core in convolutions
	valueSpeed   = 100e6 // values of layers per second and core
	sharing      = 0.85  // of a core's speed is left when several share a step
	valueBytes   = 10    // per value of a layer, kept for the gradient and in work
	weightBytes  = 28    // per parameter: value, gradient, two moments, and the next ones
	libraryBytes = 100 << 20
)

// Cost estimates a training step of the batch [batch, Channels, size…] on a
// number of cores.
func (n *Network) Cost(batch int, size []int, cores int) Cost {
	b := n.graph(true)
	c := Cost{}
	for _, s := range b.shapes {
		c.Parameters += int64(product(s))
	}
	shapes := map[string][]int64{inputName: {int64(n.Channels)}}
	for _, s := range size {
		shapes[inputName] = append(shapes[inputName], int64(s))
	}
	for _, node := range b.m.Graph.Nodes {
		out, work := b.layer(node, shapes)
		if out == nil {
			continue
		}
		shapes[node.Outputs[0]] = out
		c.Work += float64(batch) * work / 1e9
		if !node.Is("Concat") {
			c.Values += int64(batch) * int64(product(out))
		}
	}
	seconds := passes*c.Work*1e9/coreSpeed + float64(c.Values)/valueSpeed
	if cores > 1 {
		seconds /= sharing * float64(cores)
	}
	c.Step = time.Duration(seconds * float64(time.Second))
	c.Memory = libraryBytes + valueBytes*c.Values + weightBytes*c.Parameters
	return c
}

// layer returns the shape [C, spatial…] of a node's result and the operations
// for it; nil for constants.
func (b *build) layer(n *onnx.Node, shapes map[string][]int64) (out []int64, work float64) {
	if len(n.Inputs) == 0 {
		return nil, 0
	}
	in := shapes[n.Inputs[0]]
	out = append([]int64{}, in...)
	switch n.Op {
	case "Conv":
		w := b.shapes[n.Inputs[1]]
		out[0] = w[0]
		divide(out[1:], n.Ints("strides"))
		work = 2 * product(out) * product(w[1:])
	case "ConvTranspose":
		w := b.shapes[n.Inputs[1]]
		work = 2 * product(in) * product(w[1:])
		out[0] = w[1]
		for k, s := range n.Ints("strides") {
			out[1+k] *= s
		}
	case "AveragePool":
		divide(out[1:], n.Ints("strides"))
	case "Concat":
		out[0] += shapes[n.Inputs[1]][0]
	}
	return out, work
}

// divide rounds up.
func divide(size, stride []int64) {
	for k, s := range stride {
		size[k] = (size[k] + s - 1) / s
	}
}
