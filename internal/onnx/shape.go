package onnx

import (
	"github.com/voxloop/voxloop/internal/fault"
)

// FixShape gives an input a fixed shape. Free dimensions of the same name are
// fixed with it in the outputs; types of inner values are dropped, because
// the runtime infers them anew. Errors of kind fault.Invalid: no such input,
// another rank, a size below 1, or one that contradicts the model's; the
// model is then unchanged.
func (m *Model) FixShape(input string, shape []int64) error {
	var v *Value
	for _, in := range m.Graph.Inputs {
		if in.Name == input {
			v = in
		}
	}
	if v == nil {
		return fault.New(fault.Invalid, "the model has no input %q", input)
	}
	if v.HasShape && len(v.Dims) != len(shape) {
		return fault.New(fault.Invalid, "input %q has %d axes, not %d", input, len(v.Dims), len(shape))
	}
	for i, s := range shape {
		if s < 1 || (v.HasShape && v.Dims[i].Size >= 0 && v.Dims[i].Size != s) {
			return fault.New(fault.Invalid, "input %q has shape %v (-1 is free), which %v does not fit", input, v.Shape(), shape)
		}
	}
	m.fixParams(v, shape)
	v.HasShape, v.Dims = true, convert(shape, func(s int64) Dim { return Dim{Size: s} })
	m.Graph.Values = nil
	return nil
}

// fixParams puts the sizes of v's named dimensions into inputs and outputs.
// A name that stands for two sizes was no name: its dimensions become
// anonymous.
func (m *Model) fixParams(v *Value, shape []int64) {
	sizes := map[string]int64{}
	for i, d := range v.Dims {
		if d.Param == "" || d.Size >= 0 {
			continue
		}
		if old, ok := sizes[d.Param]; ok && old != shape[i] {
			sizes[d.Param] = -1
			continue
		}
		sizes[d.Param] = shape[i]
	}
	for _, list := range [][]*Value{m.Graph.Inputs, m.Graph.Outputs} {
		for _, o := range list {
			for i, d := range o.Dims {
				if s, ok := sizes[d.Param]; ok && d.Size < 0 {
					o.Dims[i] = Dim{Size: s}
				}
			}
		}
	}
}
