package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// call is one operator call under compilation: a node of the network or one
// that a loss or a rule has added.
type call struct {
	g    *graph
	node *onnx.Node
	rule *rule
	in   []string // "" where an optional input is not given
	out  []string
	kept map[string]string // values that the forward form keeps for the gradient
}

// rule is what the compiler knows about one operator.
type rule struct {
	// infer returns the types of the results. It reports errors with c.fail.
	infer func(c *call) []info
	// fold computes the result of a call; nil where it is never constant.
	// Unless fromShape is set it runs when all inputs are known.
	fold      func(c *call) *array
	fromShape bool
	// forward replaces the call by other nodes and returns the result that
	// stands for it; nil to keep the call as it is.
	forward func(c *call) string
	// backward adds gradients to the inputs, given those of the results ("" is
	// zero). nil: the operator has no gradient.
	backward func(c *call, dy []string)
}

func (c *call) fail(format string, args ...any) {
	c.g.fail("node %q (%s): "+format, append([]any{c.node.Name, c.node.Op}, args...)...)
}

// infer looks the operator up and records the types of the results.
func (c *call) infer() bool {
	if c.g.err != nil {
		return false
	}
	r, ok := rules[c.node.Op]
	if !ok || !c.node.Is(c.node.Op) {
		c.fail("there is no rule for this operator")
		return false
	}
	c.rule = r
	for _, name := range c.in {
		if _, ok := c.g.info[name]; name != "" && !ok {
			c.fail("its input %q is unknown", name)
			return false
		}
	}
	out := r.infer(c)
	if c.g.err != nil {
		return false
	}
	for i, name := range c.out {
		switch {
		case name == "":
		case i < len(out):
			if size(out[i].shape) < 1 && len(c.in) > 0 && isFloat(out[i].typ) && !c.known() {
				c.fail("result %d is empty: shape %v", i, out[i].shape)
				return false
			}
			c.g.info[name] = out[i]
		default:
			c.fail("result %d is not supported", i)
			return false
		}
	}
	return true
}

// emit adds the node to the step graph.
func (c *call) emit() {
	for _, name := range c.in {
		c.g.place(name)
	}
	n := *c.node
	n.Inputs, n.Outputs = slices.Clone(c.in), slices.Clone(c.out)
	c.g.nodes = append(c.g.nodes, &n)
}

// record puts the call on the tape when a gradient may flow through it.
func (c *call) record() {
	if !c.g.taping || !c.flows() {
		return
	}
	c.g.tape = append(c.g.tape, c)
	for _, name := range c.out {
		if c.g.info[name].typ == onnx.Float32 {
			c.g.needs[name] = true
		}
	}
}

// flows tells whether a gradient is wanted for one of the inputs.
func (c *call) flows() bool {
	return slices.ContainsFunc(c.in, func(s string) bool { return c.g.needs[s] })
}

// known tells whether all inputs are constants.
func (c *call) known() bool {
	return !slices.ContainsFunc(c.in, func(s string) bool { return s != "" && c.g.consts[s] == nil })
}

// input returns the name of input i, "" where it is not given.
func (c *call) input(i int) string {
	if i < len(c.in) {
		return c.in[i]
	}
	return ""
}

// info returns the type of input i.
func (c *call) info(i int) info { return c.g.info[c.input(i)] }

// shape returns the shape of input i.
func (c *call) shape(i int) []int64 { return c.info(i).shape }

// outShape returns the shape of the first result.
func (c *call) outShape() []int64 { return c.g.shape(c.out[0]) }

// constant returns the value of input i, or nil when it is not known.
func (c *call) constant(i int) *array {
	if name := c.input(i); name != "" {
		return c.g.constantOf(name)
	}
	return nil
}

// ints returns the whole numbers of input i, which must be known. An absent
// input gives nil.
func (c *call) ints(i int) []int64 {
	if c.input(i) == "" {
		return nil
	}
	a := c.constant(i)
	if a == nil {
		c.fail("input %d (%q) must follow from shapes and constants, but depends on the image", i, c.input(i))
		return nil
	}
	return a.ints()
}

// text returns a text attribute, or def where it is absent.
func (c *call) text(name, def string) string {
	if a := c.node.Attr(name); a != nil && a.Type == onnx.AttrString {
		return a.String
	}
	return def
}

// axis returns the attribute of that name, counted from the front.
func (c *call) axis(def int64, rank int) int { return c.front(c.node.Int("axis", def), rank) }

// front counts an axis from the front and checks it.
func (c *call) front(axis int64, rank int) int {
	if axis < 0 {
		axis += int64(rank)
	}
	if axis < 0 || axis >= int64(rank) {
		c.fail("axis %d does not fit rank %d", axis, rank)
		return 0
	}
	return int(axis)
}

// wants tells whether a gradient of input i is wanted.
func (c *call) wants(i int) bool { return c.g.needs[c.input(i)] }

// keep stores a value of the forward form for the gradient.
func (c *call) keep(key, value string) string {
	if c.kept == nil {
		c.kept = map[string]string{}
	}
	c.kept[key] = value
	return value
}

// grad adds v to the gradient of input i. v is summed over axes that the
// operator has broadcast.
func (c *call) grad(i int, v string) {
	if !c.wants(i) || c.g.err != nil {
		return
	}
	name := c.input(i)
	v = c.g.sumTo(v, c.g.shape(name))
	if !slices.Equal(c.g.shape(v), c.g.shape(name)) {
		c.fail("the gradient of input %d has shape %v instead of %v", i, c.g.shape(v), c.g.shape(name))
		return
	}
	c.g.grads[name] = append(c.g.grads[name], v)
}
