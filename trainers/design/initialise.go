package design

import (
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// Initialise gives a network new random weights, in place: what the network has
// learned is gone. Which values a parameter gets hangs on its name, its shape
// and the seed only.
//
//   - Weights of Conv, ConvTranspose, Gemm and MatMul: normal with variance
//     2/((1 + 0.01²)·fan-in), fan-in being the number of values that one result
//     is the sum of (He et al. 2015, for LeakyReLU of slope 0.01).
//   - Scales of normalisations 1, their biases and all others 0; running means
//     0, running variances 1; slopes of PReLU 0.25.
//   - Tables that are looked up in or added (positions): normal with deviation
//     0.02.
//
// Everything else (numbers of formulas, masks, shapes) stays. Errors are of kind
// fault.Invalid: a network without any weight, or weights that are no float32.
func Initialise(m *onnx.Model, seed uint64) error {
	return InitialiseExcept(m, seed, func(string) bool { return false })
}

// InitialiseExcept is Initialise for all parameters but those that keep names.
func InitialiseExcept(m *onnx.Model, seed uint64, keep func(name string) bool) error {
	x := m.Graph.Index()
	overridable := map[string]bool{}
	for _, v := range m.Graph.Inputs {
		overridable[v.Name] = true
	}
	weights := 0
	for _, t := range m.Graph.Initializers {
		if t.Type != onnx.Float32 || t.Len() == 0 || overridable[t.Name] {
			continue
		}
		u := findUse(x, t.Name, 0)
		if u.role == roleOther || (u.role != roleWeight && isNumber(x, t)) {
			continue
		}
		values, err := fresh(t, u, seed)
		if err != nil {
			return err
		}
		if u.role == roleWeight {
			weights++
		}
		if !keep(t.Name) {
			t.SetFloat32(values)
		}
	}
	if weights == 0 {
		return fault.New(fault.Invalid, "the network has no weights that could be initialised: no float32 weight of a Conv, ConvTranspose, Gemm or MatMul")
	}
	return nil
}

// fresh returns new values for a tensor.
func fresh(t *onnx.Tensor, u use, seed uint64) ([]float32, error) {
	old, err := t.Float32()
	if err != nil {
		return nil, err
	}
	v := make([]float32, len(old))
	switch u.role {
	case roleWeight:
		normals(v, heDeviation(u.fanIn(t.Dims)), seed, t.Name)
	case roleOne:
		fill(v, 1)
	case roleSlope:
		fill(v, 0.25)
	case roleTable:
		if isMask(old) {
			return old, nil
		}
		normals(v, tableDeviation, seed, t.Name)
	case roleZero, roleOther:
	}
	return v, nil
}

const tableDeviation = 0.02

// heDeviation is the deviation of weights for results of variance 1 behind
// LeakyReLU.
func heDeviation(fanIn float64) float64 {
	return math.Sqrt(2 / ((1 + slope*slope) * max(fanIn, 1)))
}

func fill(v []float32, x float32) {
	for i := range v {
		v[i] = x
	}
}

// isMask tells whether a table has two values only, as masks of attention have.
func isMask(v []float32) bool {
	first, second, seen := v[0], float32(0), 1
	for _, x := range v {
		switch {
		case x == first || (seen == 2 && x == second):
		case seen == 1:
			second, seen = x, 2
		default:
			return false
		}
	}
	return seen == 2
}

// isNumber tells whether t is a single value that only arithmetic reads: a
// constant of a formula.
func isNumber(x *onnx.Index, t *onnx.Tensor) bool {
	return t.Len() == 1 && !slices.ContainsFunc(x.Consumers(t.Name), func(n *onnx.Node) bool {
		return !slices.Contains([]string{"Add", "Sub", "Mul", "Div", "Pow"}, n.Op)
	})
}
