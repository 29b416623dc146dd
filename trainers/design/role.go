package design

import (
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// role is what a constant of a network is used as.
type role int

const (
	roleOther  role = iota // no parameter
	roleWeight             // of a weighted sum
	roleOne                // a factor
	roleZero               // a summand
	roleSlope              // of PReLU
	roleTable              // looked up in, or added with a place
)

// use is the first node that decides a constant's role, and how it reads it.
type use struct {
	role    role
	node    *onnx.Node
	swapped bool // a matrix that is transposed on the way
}

// maxLayout bounds the nodes between a parameter and the one that uses it.
const maxLayout = 4

// findUse looks for the use of a value behind nodes that only rearrange it.
func findUse(x *onnx.Index, name string, depth int) use {
	for _, n := range x.Consumers(name) {
		if u := directUse(x, n, name); u.role != roleOther {
			return u
		}
		layout := n.Is("Identity") || n.Is("Transpose") || n.Is("Unsqueeze") || n.Is("Squeeze") || n.Is("Reshape") || n.Is("Expand")
		if !layout || n.Input(0) != name || depth == maxLayout {
			continue
		}
		if u := findUse(x, n.Outputs[0], depth+1); u.role != roleOther {
			u.swapped = u.swapped != n.Is("Transpose")
			return u
		}
	}
	return use{}
}

func directUse(x *onnx.Index, n *onnx.Node, name string) use {
	at := slices.Index(n.Inputs, name)
	u := use{node: n}
	switch {
	case n.Is("Conv"), n.Is("ConvTranspose"), n.Is("Gemm"):
		u.role = []role{roleOther, roleWeight, roleZero}[max(at, 0)]
	case n.Is("MatMul"):
		u.role = roleWeight
	case n.Is("InstanceNormalization"), n.Is("GroupNormalization"), n.Is("LayerNormalization"), n.Is("BatchNormalization"):
		u.role = []role{roleOther, roleOne, roleZero, roleZero, roleOne}[max(at, 0)]
	case n.Is("PRelu") && at == 1:
		u.role = roleSlope
	case n.Is("Gather") && at == 0, n.Is("Concat"):
		u.role = roleTable
	case n.Is("Add"), n.Is("Mul"):
		u.role = broadcastRole(x, n, name)
	}
	return u
}

// broadcastRole is the role of an operand of Add or Mul: along one axis it is a
// bias or a scale, otherwise a table.
func broadcastRole(x *onnx.Index, n *onnx.Node, name string) role {
	t := x.Constant(name)
	vector := t == nil || long(t.Dims) <= 1
	switch {
	case vector && n.Is("Add"):
		return roleZero
	case vector:
		return roleOne
	case n.Is("Add"):
		return roleTable
	}
	return roleOther
}

// long is the number of axes with more than one value.
func long(dims []int64) int {
	n := 0
	for _, d := range dims {
		if d > 1 {
			n++
		}
	}
	return n
}

// fanIn is the number of values that one result of a weighted sum is the sum
// of; dims are the weight's own.
func (u use) fanIn(dims []int64) float64 {
	if len(dims) < 2 {
		return 1
	}
	switch {
	case u.node.Is("Conv"):
		return product(dims[1:])
	case u.node.Is("ConvTranspose"):
		group := float64(u.node.Int("group", 1))
		return float64(dims[0]) / group * product(dims[2:]) / product(u.node.Ints("strides"))
	case u.node.Is("Gemm") && u.node.Int("transB", 0) == 1:
		u.swapped = !u.swapped
	}
	if u.swapped {
		return float64(dims[len(dims)-1])
	}
	return float64(dims[len(dims)-2])
}

func product(v []int64) float64 {
	p := 1.0
	for _, n := range v {
		p *= float64(n)
	}
	return p
}
