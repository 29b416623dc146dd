package native

import (
	"maps"
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// rules is the registry: operator of ONNX's own set → what is known about it.
var rules = map[string]*rule{}

// register fills the registry once; the families stand in files of their own.
func init() {
	for _, family := range []map[string]*rule{
		unaryRules, arithmeticRules, comparisonRules, activationRules, softmaxRules, convRules, poolRules, normRules, matrixRules,
		layoutRules, joinRules, sliceRules, gatherRules, reduceRules, resizeRules, shapeRules,
	} {
		for op, r := range family {
			if rules[op] != nil {
				panic("native: two rules for " + op)
			}
			rules[op] = r
		}
	}
}

// Operators returns the operators that a network to be trained may have, in
// alphabetical order; the value tells whether a gradient can flow through it.
// The others may depend on shapes and constants only, or carry no gradient by
// their nature (comparisons, index arithmetic).
func Operators() ([]string, map[string]bool) {
	names := slices.Sorted(maps.Keys(rules))
	differentiable := make(map[string]bool, len(names))
	for _, op := range names {
		differentiable[op] = rules[op].backward != nil
	}
	return names, differentiable
}

// sameAsFirst is the type of operators whose result is like their first input.
func sameAsFirst(c *call) []info { return []info{c.info(0)} }

// broadcastShape applies NumPy's rule to the inputs' shapes.
func (c *call) broadcastShape(inputs ...int) []int64 {
	var out []int64
	for _, i := range inputs {
		in := c.shape(i)
		if len(in) > len(out) {
			out = append(slices.Repeat([]int64{1}, len(in)-len(out)), out...)
		}
		lead := len(out) - len(in)
		for k, n := range in {
			switch have := out[lead+k]; {
			case have == n || n == 1:
			case have == 1:
				out[lead+k] = n
			default:
				c.fail("shapes %v and %v do not go together", out, in)
				return out
			}
		}
	}
	return out
}

// allInputs returns 0, 1, … for every input.
func (c *call) allInputs() []int {
	out := make([]int, len(c.in))
	for i := range out {
		out[i] = i
	}
	return out
}

func broadcast(c *call) []info {
	return []info{{c.info(0).typ, c.broadcastShape(c.allInputs()...)}}
}

func broadcastBool(c *call) []info {
	return []info{{onnx.Bool, c.broadcastShape(c.allInputs()...)}}
}

// foldEach computes an elementwise operator on constants.
func foldEach(f func(x []float64) float64) func(c *call) *array {
	return func(c *call) *array {
		t := c.g.info[c.out[0]]
		out := newArray(t.typ, t.shape)
		in := make([]*array, len(c.in))
		at := make([][]int, len(c.in))
		for i := range c.in {
			if in[i] = c.constant(i); in[i] == nil {
				return nil
			}
			at[i] = broadcastTo(t.shape, in[i].shape)
		}
		x := make([]float64, len(in))
		for p := range out.v {
			for i := range in {
				x[i] = in[i].v[at[i][p]]
			}
			out.v[p] = fit(t.typ, f(x))
		}
		return out
	}
}

func fold1(f func(a float64) float64) func(c *call) *array {
	return foldEach(func(x []float64) float64 { return f(x[0]) })
}

func fold2(f func(a, b float64) float64) func(c *call) *array {
	return foldEach(func(x []float64) float64 { return f(x[0], x[1]) })
}
