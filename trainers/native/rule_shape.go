package native

import (
	"math"

	"github.com/voxloop/voxloop/internal/onnx"
)

// shapeRules are the operators that make constants.
var shapeRules = map[string]*rule{
	"Constant": {infer: func(c *call) []info {
		a := c.value()
		if a == nil {
			return nil
		}
		return []info{{a.typ, a.shape}}
	}, fold: (*call).value},
	"Shape": {
		infer: func(c *call) []info { return []info{{onnx.Int64, []int64{int64(len(c.span()))}}} },
		fold: func(c *call) *array {
			out := newArray(onnx.Int64, c.outShape())
			for i, n := range c.span() {
				out.v[i] = float64(n)
			}
			return out
		},
		fromShape: true,
	},
	"Size": {
		infer:     func(*call) []info { return []info{{onnx.Int64, []int64{}}} },
		fold:      func(c *call) *array { return &array{typ: onnx.Int64, v: []float64{float64(size(c.shape(0)))}} },
		fromShape: true,
	},
	"ConstantOfShape": {infer: inferConstantOfShape, fold: func(c *call) *array {
		t, v := c.g.info[c.out[0]], c.fill().v[0]
		out := newArray(t.typ, t.shape)
		for i := range out.v {
			out.v[i] = v
		}
		return out
	}},
	"Range": {infer: inferRange, fold: func(c *call) *array {
		out := newArray(c.info(0).typ, c.outShape())
		start, step := c.constant(0).v[0], c.constant(2).v[0]
		for i := range out.v {
			out.v[i] = fit(out.typ, start+float64(i)*step)
		}
		return out
	}},
}

// value returns the array of a Constant node.
func (c *call) value() *array {
	for _, a := range c.node.Attrs {
		switch {
		case a.Name == "value" && a.Type == onnx.AttrTensor:
			v, err := decode(a.Tensor)
			if err != nil {
				c.fail("%v", err)
				return nil
			}
			return v
		case a.Name == "value_float":
			return &array{typ: onnx.Float32, v: []float64{float64(a.Float)}}
		case a.Name == "value_int":
			return &array{typ: onnx.Int64, v: []float64{float64(a.Int)}}
		case a.Name == "value_ints":
			out := newArray(onnx.Int64, []int64{int64(len(a.Ints))})
			for i, v := range a.Ints {
				out.v[i] = float64(v)
			}
			return out
		case a.Name == "value_floats":
			out := newArray(onnx.Float32, []int64{int64(len(a.Floats))})
			for i, v := range a.Floats {
				out.v[i] = float64(v)
			}
			return out
		}
	}
	c.fail("its value is of a kind that is not supported")
	return nil
}

// span returns the part of the input's shape that Shape asks for.
func (c *call) span() []int64 {
	s := c.shape(0)
	rank := int64(len(s))
	bound := func(name string, def int64) int64 {
		v := c.node.Int(name, def)
		if v < 0 {
			v += rank
		}
		return min(max(v, 0), rank)
	}
	from, to := bound("start", 0), bound("end", rank)
	return s[from:max(from, to)]
}

// fill is the value of ConstantOfShape; 0 of float32 by default.
func (c *call) fill() *array {
	if a := c.node.Attr("value"); a != nil && a.Tensor != nil {
		if v, err := decode(a.Tensor); err == nil && len(v.v) == 1 {
			return v
		}
		c.fail("its value is not one number")
	}
	return &array{typ: onnx.Float32, v: []float64{0}}
}

func inferConstantOfShape(c *call) []info {
	shape := c.ints(0)
	if shape == nil {
		shape = []int64{}
	}
	return []info{{c.fill().typ, shape}}
}

func inferRange(c *call) []info {
	var v [3]float64
	for i := range v {
		a := c.constant(i)
		if a == nil || len(a.v) != 1 {
			c.fail("its bounds must follow from shapes and constants")
			return nil
		}
		v[i] = a.v[0]
	}
	if v[2] == 0 {
		c.fail("a step of 0")
		return nil
	}
	n := math.Max(math.Ceil((v[1]-v[0])/v[2]), 0)
	return []info{{c.info(0).typ, []int64{int64(n)}}}
}
