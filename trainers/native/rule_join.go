package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

var joinRules = map[string]*rule{
	"Concat": {infer: inferConcat, fold: foldConcat, backward: concatGradient},
	"Split":  {infer: inferSplit, backward: splitGradient},
}

func inferConcat(c *call) []info {
	out := slices.Clone(c.shape(0))
	k := c.axis(0, len(out))
	for i := range c.in[1:] {
		s := c.shape(i + 1)
		if len(s) != len(out) {
			c.fail("shapes %v and %v do not go together", c.shape(0), s)
			return nil
		}
		for j, n := range s {
			if j == k {
				out[j] += n
			} else if n != out[j] {
				c.fail("shapes %v and %v do not go together", c.shape(0), s)
				return nil
			}
		}
	}
	return []info{{c.info(0).typ, out}}
}

func foldConcat(c *call) *array {
	out := newArray(c.info(0).typ, c.outShape())
	k := c.axis(0, len(out.shape))
	strides, start := rowMajor(out.shape), 0
	for i := range c.in {
		a := c.constant(i)
		for p, at := range walk(a.shape, strides, start) {
			out.v[at] = a.v[p]
		}
		start += int(a.shape[k]) * strides[k]
	}
	return out
}

func concatGradient(c *call, dy []string) {
	k := c.axis(0, len(c.shape(0)))
	var start int64
	for i := range c.in {
		s := c.shape(i)
		if c.wants(i) {
			from := make([]int64, len(s))
			from[k] = start
			c.grad(i, c.g.crop(dy[0], from, s))
		}
		start += s[k]
	}
}

// parts returns the lengths of a Split along its axis.
func (c *call) parts() []int64 {
	n := c.shape(0)[c.axis(0, len(c.shape(0)))]
	if c.input(1) != "" {
		return c.ints(1)
	}
	count := int64(len(c.out))
	each := (n + count - 1) / count
	out := make([]int64, count)
	for i := range out {
		out[i] = min(each, n)
		n -= out[i]
	}
	return out
}

func inferSplit(c *call) []info {
	k := c.axis(0, len(c.shape(0)))
	parts, out := c.parts(), []info{}
	var total int64
	for _, n := range parts {
		s := slices.Clone(c.shape(0))
		s[k] = n
		total += n
		out = append(out, info{c.info(0).typ, s})
	}
	if total != c.shape(0)[k] {
		c.fail("parts %v do not add up to %d", parts, c.shape(0)[k])
	}
	return out
}

// splitGradient joins the parts; those that nothing reads are zero.
func splitGradient(c *call, dy []string) {
	parts := slices.Clone(dy)
	for i, d := range parts {
		if d == "" {
			parts[i] = c.g.zeros(c.g.shape(c.out[i]))
		}
	}
	c.grad(0, c.g.concat(c.axis(0, len(c.shape(0))), parts...))
}

// split cuts a vector into parts of the given lengths.
func (g *graph) split(a string, lengths []int64) []string {
	if len(lengths) == 1 {
		return []string{a}
	}
	return g.ops("Split", len(lengths), []string{a, g.ints(lengths...)}, onnx.IntAttr("axis", 0))
}
