package native

import "slices"

// layoutRules are the operators that view or reorder their input.
var layoutRules = map[string]*rule{
	"Reshape":   viewRule(reshaped),
	"Flatten":   viewRule(flattened),
	"Squeeze":   viewRule(squeezed),
	"Unsqueeze": viewRule(unsqueezed),
	"Transpose": {
		infer: func(c *call) []info {
			out := []int64{}
			for _, k := range c.perm() {
				out = append(out, c.shape(0)[k])
			}
			return []info{{c.info(0).typ, out}}
		},
		fold: func(c *call) *array {
			a, strides := c.constant(0), rowMajor(c.shape(0))
			turned := make([]int, len(strides))
			for i, k := range c.perm() {
				turned[i] = strides[k]
			}
			return a.pick(c.outShape(), walk(c.outShape(), turned, 0))
		},
		backward: func(c *call, dy []string) {
			back := make([]int64, len(c.shape(0)))
			for i, k := range c.perm() {
				back[k] = int64(i)
			}
			c.grad(0, c.g.transpose(dy[0], back...))
		},
	},
	"Expand": {
		infer: func(c *call) []info {
			target := c.ints(1)
			out := slices.Clone(c.shape(0))
			if len(target) > len(out) {
				out = append(slices.Repeat([]int64{1}, len(target)-len(out)), out...)
			}
			for k, n := range target {
				switch p := &out[len(out)-len(target)+k]; {
				case *p == 1:
					*p = n
				case n != 1 && n != *p:
					c.fail("shape %v cannot be expanded to %v", c.shape(0), target)
				}
			}
			return []info{{c.info(0).typ, out}}
		},
		fold: func(c *call) *array {
			return c.constant(0).pick(c.outShape(), broadcastTo(c.outShape(), c.shape(0)))
		},
		backward: func(c *call, dy []string) { c.grad(0, dy[0]) },
	},
	"Tile": {
		infer: func(c *call) []info {
			out := slices.Clone(c.shape(0))
			for k, n := range c.ints(1) {
				out[k] *= n
			}
			return []info{{c.info(0).typ, out}}
		},
		fold: func(c *call) *array {
			in, shape := c.shape(0), c.outShape()
			strides := rowMajor(in)
			index := make([]int, size(shape))
			for k, n := range in { // Σ (index mod n)·stride
				lead := make([]int, len(shape))
				lead[k] = 1
				for i, at := range walk(shape, lead, 0) {
					index[i] += at % int(n) * strides[k]
				}
			}
			return c.constant(0).pick(shape, index)
		},
		backward: func(c *call, dy []string) {
			var split, axes, in []int64 = nil, nil, c.shape(0)
			for k, n := range c.ints(1) {
				split, axes = append(split, n, in[k]), append(axes, int64(2*k))
			}
			c.grad(0, c.g.reshape(c.g.sum(c.g.reshape(dy[0], split...), axes...), in...))
		},
	},
	"DepthToSpace": {infer: inferDepthToSpace, backward: depthToSpaceGradient},
}

// viewRule is the rule of an operator that gives its input another shape.
func viewRule(shape func(c *call) []int64) *rule {
	return &rule{
		infer: func(c *call) []info { return []info{{c.info(0).typ, shape(c)}} },
		fold: func(c *call) *array {
			return &array{typ: c.info(0).typ, shape: c.outShape(), v: c.constant(0).v}
		},
		backward: func(c *call, dy []string) { c.grad(0, c.g.reshape(dy[0], c.shape(0)...)) },
	}
}

func (c *call) perm() []int64 {
	if p := c.node.Ints("perm"); len(p) == len(c.shape(0)) {
		return p
	}
	p := count(len(c.shape(0)))
	slices.Reverse(p)
	return p
}

func reshaped(c *call) []int64 {
	in, out := c.shape(0), c.ints(1)
	free, rest := -1, int64(1)
	for k, n := range out {
		if n == 0 && c.node.Int("allowzero", 0) == 0 {
			if k >= len(in) {
				c.fail("target shape %v does not fit %v", out, in)
				return out
			}
			n = in[k]
			out[k] = n
		}
		if n == -1 {
			free = k
			continue
		}
		rest *= n
	}
	if free >= 0 && rest > 0 {
		out[free] = size(in) / rest
	}
	if size(out) != size(in) {
		c.fail("shape %v cannot be viewed as %v", in, out)
	}
	return slices.Concat([]int64{}, out)
}

func flattened(c *call) []int64 {
	in := c.shape(0)
	k := c.node.Int("axis", 1)
	if k < 0 {
		k += int64(len(in))
	}
	if k < 0 || k > int64(len(in)) {
		c.fail("axis %d does not fit rank %d", k, len(in))
		return in
	}
	return []int64{size(in[:k]), size(in[k:])}
}

// axesOf returns the axes of Squeeze and Unsqueeze: an input from operator set
// 13 on.
func (c *call) axesOf(rank int) []int {
	list := c.node.Ints("axes")
	if c.input(1) != "" {
		list = c.ints(1)
	}
	var out []int
	for _, a := range list {
		out = append(out, c.front(a, rank))
	}
	return out
}

func squeezed(c *call) []int64 {
	axes := c.axesOf(len(c.shape(0)))
	out := []int64{}
	for k, n := range c.shape(0) {
		drop := slices.Contains(axes, k)
		if axes == nil {
			drop = n == 1
		}
		if !drop {
			out = append(out, n)
		} else if n != 1 {
			c.fail("axis %d of %v is not 1", k, c.shape(0))
		}
	}
	return out
}

func unsqueezed(c *call) []int64 {
	list := c.node.Ints("axes")
	if c.input(1) != "" {
		list = c.ints(1)
	}
	rank := len(c.shape(0)) + len(list)
	axes := c.axesOf(rank)
	out, in := make([]int64, 0, rank), c.shape(0)
	for k := range rank {
		if slices.Contains(axes, k) || len(in) == 0 {
			out = append(out, 1)
			continue
		}
		out, in = append(out, in[0]), in[1:]
	}
	return out
}

func inferDepthToSpace(c *call) []info {
	s, b := c.shape(0), c.node.Int("blocksize", 0)
	if len(s) != 4 || b < 1 || s[1]%(b*b) != 0 {
		c.fail("input %v and blocksize %d do not go together", s, b)
		return nil
	}
	return []info{{c.info(0).typ, []int64{s[0], s[1] / (b * b), s[2] * b, s[3] * b}}}
}

// depthToSpaceGradient is the inverse rearrangement.
func depthToSpaceGradient(c *call, dy []string) {
	g, s, b := c.g, c.shape(0), c.node.Int("blocksize", 1)
	v := g.reshape(dy[0], s[0], s[1]/(b*b), s[2], b, s[3], b)
	if c.text("mode", "DCR") == "CRD" {
		v = g.transpose(v, 0, 1, 3, 5, 2, 4)
	} else {
		v = g.transpose(v, 0, 3, 5, 1, 2, 4)
	}
	c.grad(0, g.reshape(v, s...))
}
