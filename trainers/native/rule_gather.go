package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

var gatherRules = map[string]*rule{
	"Gather":          {infer: inferGather, fold: foldGather, backward: gatherGradient},
	"ScatterND":       {infer: sameAsFirst, fold: foldScatterND},
	"ScatterElements": {infer: sameAsFirst},
	"TopK":            {infer: inferTopK, backward: topKGradient},
}

func inferGather(c *call) []info {
	in, index := c.shape(0), c.shape(1)
	k := c.axis(0, len(in))
	if c.g.err != nil {
		return nil
	}
	return []info{{c.info(0).typ, slices.Concat([]int64{}, in[:k], index, in[k+1:])}}
}

func foldGather(c *call) *array {
	in := c.shape(0)
	k := c.axis(0, len(in))
	inner, n := int(size(in[k+1:])), in[k]
	a, at := c.constant(0), c.constant(1).ints()
	out := newArray(a.typ, c.outShape())
	p := 0
	for before := range int(size(in[:k])) {
		for _, i := range at {
			if i < 0 {
				i += n
			}
			if i < 0 || i >= n {
				c.fail("index %d is outside of %d", i, n)
				return nil
			}
			from := (before*int(n) + int(i)) * inner
			p += copy(out.v[p:], a.v[from:from+inner])
		}
	}
	return out
}

// gatherGradient puts dy back: as padding where the indices are a range of
// the axis, otherwise by adding, because indices repeat.
func gatherGradient(c *call, dy []string) {
	g, in := c.g, c.shape(0)
	k := c.axis(0, len(in))
	n := size(c.shape(1))
	flat := slices.Concat(in[:k], []int64{n}, in[k+1:])
	v := g.reshape(dy[0], flat...)
	if a := c.constant(1); a != nil {
		if first, ok := consecutive(a.ints(), in[k]); ok {
			begin, end := make([]int64, len(in)), make([]int64, len(in))
			begin[k], end[k] = first, in[k]-first-n
			c.grad(0, g.pad(v, begin, end))
			return
		}
	}
	at := make([]int64, len(in))
	for i := range at {
		at[i] = 1
	}
	at[k] = n
	index := g.expand(g.reshape(g.cast(c.input(1), onnx.Int64), at...), flat...)
	c.grad(0, g.scatter(g.zeros(in), index, v, int64(k), true))
}

// consecutive tells whether the indices are first, first+1, …
func consecutive(index []int64, n int64) (first int64, ok bool) {
	if len(index) == 0 {
		return 0, false
	}
	first = index[0]
	if first < 0 {
		first += n
	}
	for i, at := range index {
		if at < 0 {
			at += n
		}
		if at != first+int64(i) {
			return 0, false
		}
	}
	return first, true
}

func foldScatterND(c *call) *array {
	if c.text("reduction", "none") != "none" {
		return nil
	}
	a, index, updates := c.constant(0), c.constant(1), c.constant(2)
	out := &array{typ: a.typ, shape: a.shape, v: slices.Clone(a.v)}
	depth := int(index.shape[len(index.shape)-1])
	inner := int(size(a.shape[depth:]))
	strides, at := rowMajor(a.shape), index.ints()
	for p := 0; p*depth < len(at); p++ {
		to := 0
		for j, i := range at[p*depth : (p+1)*depth] {
			if i < 0 {
				i += a.shape[j]
			}
			if i < 0 || i >= a.shape[j] {
				c.fail("index %d is outside of %d", i, a.shape[j])
				return nil
			}
			to += int(i) * strides[j]
		}
		copy(out.v[to:to+inner], updates.v[p*inner:(p+1)*inner])
	}
	return out
}

// inferTopK serves the losses that keep the largest values.
func inferTopK(c *call) []info {
	s := slices.Clone(c.shape(0))
	k := c.ints(1)
	if len(k) != 1 {
		c.fail("the number of values is not one number")
		return nil
	}
	s[c.axis(-1, len(s))] = k[0]
	return []info{{c.info(0).typ, s}, {onnx.Int64, s}}
}

func topKGradient(c *call, dy []string) {
	if dy[0] == "" || len(c.out) < 2 {
		return
	}
	k := c.axis(-1, len(c.shape(0)))
	c.grad(0, c.g.scatter(c.g.zeros(c.shape(0)), c.out[1], dy[0], int64(k), false))
}
