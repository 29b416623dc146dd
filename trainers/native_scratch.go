package trainers

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"path"
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// scratchSalt keeps the generator of new weights apart from others with the
// same seed.
const scratchSalt = 0x736372617463680a

// role is what a float32 initializer does in a network.
type role int

const (
	roleOther role = iota // stays as it is
	roleWeight
	roleZero
	roleOne
	roleSlope
)

// slope is PReLU's usual beginning.
const slope = 0.25

// fromScratch returns a copy of the network with new random weights: those of
// convolutions and matrix products normal with variance 2/fan-in (He and others,
// 2015), biases 0, scales of normalisations 1, PReLU's slopes 0.25, running
// statistics 0 and 1. Values are a function of (seed, name). Parameters that a
// pattern freezes stay, as do values that no such operator reads.
func fromScratch(m *onnx.Model, seed uint64, frozen []string) *onnx.Model {
	out := m.Clone()
	x := out.Graph.Index()
	for _, t := range out.Graph.Initializers {
		if t.Type != onnx.Float32 || t.Len() == 0 || isFrozen(frozen, t.Name) {
			continue
		}
		r, fan := roleOf(x, t.Name, t.Dims, 0)
		if r == roleOther {
			continue
		}
		v := make([]float32, t.Len())
		fill(v, r, fan, seed, t.Name)
		out.Graph.SetInitializer(onnx.NewFloat32(t.Name, t.Dims, v))
	}
	return out
}

func isFrozen(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

func fill(v []float32, r role, fan float64, seed uint64, name string) {
	switch r {
	case roleWeight:
		h := fnv.New64a()
		_, _ = h.Write([]byte(name))                            // never fails
		g := rand.New(rand.NewPCG(seed^scratchSalt, h.Sum64())) //nolint:gosec // reproducible numbers are the purpose
		sd := math.Sqrt(2 / max(fan, 1))
		for i := range v {
			v[i] = float32(g.NormFloat64() * sd)
		}
	case roleOne, roleSlope:
		value := float32(1)
		if r == roleSlope {
			value = slope
		}
		for i := range v {
			v[i] = value
		}
	case roleZero, roleOther: // a new slice is 0
	}
}

// maxPasses bounds the walk through nodes that only move values.
const maxPasses = 8

// moving are operators behind which a value is still the parameter.
var moving = []string{"Identity", "Transpose", "Unsqueeze", "Squeeze", "Reshape", "Cast"}

// roleOf looks at the first reader of a value that tells what it is. fan is the
// number of inputs that a weight sums over.
func roleOf(x *onnx.Index, name string, dims []int64, depth int) (r role, fan float64) {
	for _, n := range x.Consumers(name) {
		at := slices.Index(n.Inputs, name)
		if slices.Contains(moving, n.Op) && at == 0 && depth < maxPasses {
			to := dims
			if n.Op == "Transpose" {
				to = slices.Clone(dims)
				slices.Reverse(to)
			}
			if r, fan = roleOf(x, n.Outputs[0], to, depth+1); r != roleOther {
				return r, fan
			}
			continue
		}
		if r, fan = readAs(n, at, dims); r != roleOther {
			return r, fan
		}
	}
	return roleOther, 0
}

// readAs tells what input number at of a node is.
func readAs(n *onnx.Node, at int, dims []int64) (role, float64) {
	switch n.Op {
	case "Conv", "ConvTranspose":
		if at == 2 {
			return roleZero, 0
		}
		if at == 1 && len(dims) > 2 {
			return roleWeight, convFan(n, dims)
		}
	case "MatMul", "Gemm":
		if at == 2 {
			return roleZero, 0
		}
		if at == 1 && len(dims) >= 2 {
			in := dims[len(dims)-2]
			if n.Op == "Gemm" && n.Int("transB", 0) != 0 {
				in = dims[len(dims)-1]
			}
			return roleWeight, float64(in)
		}
	case "InstanceNormalization", "BatchNormalization", "LayerNormalization", "GroupNormalization":
		switch at {
		case 1, 4: // scale, running variance
			return roleOne, 0
		case 2, 3: // bias, running mean
			return roleZero, 0
		}
	case "PRelu":
		if at == 1 {
			return roleSlope, 0
		}
	}
	return scaleOrShift(n, dims)
}

// scaleOrShift recognises the affine part of a normalisation that is written
// out: a product or a sum with several values. A single number is a constant of
// the network's arithmetic.
func scaleOrShift(n *onnx.Node, dims []int64) (role, float64) {
	values := int64(1)
	for _, d := range dims {
		values *= d
	}
	switch {
	case values < 2:
	case n.Op == "Mul":
		return roleOne, 0
	case n.Op == "Add":
		return roleZero, 0
	}
	return roleOther, 0
}

// convFan is the number of products that one output of a convolution sums over:
// dims are [out, in/groups, kernel…], transposed [in, out/groups, kernel…],
// where a stride leaves every output its share of the kernel.
func convFan(n *onnx.Node, dims []int64) float64 {
	fan := float64(dims[1])
	if n.Op == "ConvTranspose" {
		fan = float64(dims[0]) / float64(max(n.Int("group", 1), 1))
		for _, s := range n.Ints("strides") {
			fan /= float64(max(s, 1))
		}
	}
	for _, k := range dims[2:] {
		fan *= float64(k)
	}
	return fan
}
