package native

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/dropout"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// info is the static type of a value.
type info struct {
	typ   onnx.DataType
	shape []int64
}

func floats(shape []int64) info { return info{onnx.Float32, shape} }

// constant is a value that is known while compiling.
type constant struct {
	tensor *onnx.Tensor // nil when computed here
	array  *array       // nil until asked for
}

// graph builds the step graph. Every value has a static type. The first error
// sticks; whoever asked for the graph reads err at the end, so that rules are
// plain formulas.
type graph struct {
	opset           int64
	nodes           []*onnx.Node
	inits           []*onnx.Tensor
	names           *onnx.Names
	info            map[string]info
	consts          map[string]*constant
	placed          map[string]bool   // constants that are among inits
	cache           map[string]string // text of a small constant → its name
	alias           map[string]string // value of the network → value that stands for it
	needs           map[string]bool   // values that a gradient flows to
	tape            []*call           // differentiable calls, in order
	taping          bool
	grads           map[string][]string // contributions to the gradient of a value
	stats           []statistic         // running statistics that the step updates
	batchStatistics bool                // BatchNormalization in training form
	dropout         Dropout
	masks           []dropout.Layer // inputs of the graph, in order
	err             error
}

func newGraph(opset int64, names *onnx.Names) *graph {
	return &graph{
		opset: opset, names: names, info: map[string]info{}, consts: map[string]*constant{}, placed: map[string]bool{},
		cache: map[string]string{}, alias: map[string]string{}, needs: map[string]bool{}, grads: map[string][]string{}, taping: true,
	}
}

func (g *graph) fail(format string, args ...any) {
	if g.err == nil {
		g.err = fault.New(fault.Invalid, "the network cannot be trained: "+format, args...)
	}
}

// shape returns the shape of a value.
func (g *graph) shape(name string) []int64 { return g.info[name].shape }

// constantOf returns the array of a known value, or nil.
func (g *graph) constantOf(name string) *array {
	c := g.consts[name]
	if c == nil {
		return nil
	}
	if c.array == nil {
		a, err := decode(c.tensor)
		if err != nil {
			g.fail("constant %q: %v", name, err)
			return nil
		}
		c.array = a
	}
	return c.array
}

// setConstant makes a known value.
func (g *graph) setConstant(name string, a *array) {
	g.consts[name] = &constant{array: a}
	g.info[name] = info{a.typ, a.shape}
}

// setTensor makes a known value of a constant of the network.
func (g *graph) setTensor(name string, t *onnx.Tensor) {
	g.consts[name] = &constant{tensor: t}
	g.info[name] = info{t.Type, slices.Clone(t.Dims)}
}

// newConstant adds an array under a new name.
func (g *graph) newConstant(base string, a *array) string {
	name := g.names.New(base)
	g.setConstant(name, a)
	return name
}

// ints returns a constant vector of int64.
func (g *graph) ints(v ...int64) string {
	return g.cached(fmt.Sprint("i", v), func() *array {
		a := newArray(onnx.Int64, []int64{int64(len(v))})
		for i, x := range v {
			a.v[i] = float64(x)
		}
		return a
	})
}

// scalar returns a float32 constant of rank 0.
func (g *graph) scalar(v float64) string {
	return g.cached(fmt.Sprintf("f%x", math.Float32bits(float32(v))), func() *array {
		return &array{typ: onnx.Float32, v: []float64{fit(onnx.Float32, v)}}
	})
}

func (g *graph) cached(key string, build func() *array) string {
	if name, ok := g.cache[key]; ok {
		return name
	}
	g.cache[key] = g.newConstant("const", build())
	return g.cache[key]
}

// place makes sure that a known value is among the graph's constants.
func (g *graph) place(name string) {
	c := g.consts[name]
	if c == nil || g.placed[name] {
		return
	}
	g.placed[name] = true
	if c.tensor != nil && c.tensor.Name == name {
		g.inits = append(g.inits, c.tensor)
		return
	}
	g.inits = append(g.inits, g.constantOf(name).tensor(name))
}

// op appends an operator with one result, whose name it returns.
func (g *graph) op(op string, inputs []string, attrs ...*onnx.Attr) string {
	return g.ops(op, 1, inputs, attrs...)[0]
}

// ops appends an operator with n results.
func (g *graph) ops(op string, n int, inputs []string, attrs ...*onnx.Attr) []string {
	outs := make([]string, n)
	for i := range outs {
		outs[i] = g.names.New(strings.ToLower(op))
	}
	if g.err == nil {
		g.append(&onnx.Node{Name: outs[0], Op: op, Inputs: inputs, Outputs: outs, Attrs: attrs})
	}
	return outs
}

// append infers the types of n's results and adds it; its inputs are known
// values. While taping, a call that a gradient flows through is recorded.
func (g *graph) append(n *onnx.Node) {
	c := &call{g: g, node: n, in: n.Inputs, out: n.Outputs}
	if !c.infer() {
		return
	}
	c.emit()
	c.record()
}
