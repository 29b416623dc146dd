package native

import (
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

var resizeRules = map[string]*rule{"Resize": {infer: inferResize, backward: resizeGradient}}

// zoom returns the output sizes and the scales (out/in as the operator
// understands them) of a Resize.
func (c *call) zoom() (out []int64, scales []float64) {
	in := c.shape(0)
	if c.text("keep_aspect_ratio_policy", "stretch") != "stretch" || c.node.Int("antialias", 0) != 0 || c.node.Int("exclude_outside", 0) != 0 {
		c.fail("antialias, exclude_outside and keep_aspect_ratio_policy are not supported")
		return in, nil
	}
	axes := c.node.Ints("axes")
	if axes == nil {
		axes = count(len(in))
	}
	out, scales = slices.Clone(in), make([]float64, len(in))
	for k := range scales {
		scales[k] = 1
	}
	sizes := c.ints(3)
	var factors []float64
	if sizes == nil {
		if a := c.constant(2); a != nil {
			factors = a.v
		}
	}
	if len(sizes) != len(axes) && len(factors) != len(axes) {
		c.fail("scales or sizes must follow from shapes and constants, one per axis")
		return out, scales
	}
	for i, a := range axes {
		k := c.front(a, len(in))
		if sizes != nil {
			out[k], scales[k] = sizes[i], float64(sizes[i])/float64(in[k])
		} else {
			out[k], scales[k] = int64(math.Floor(float64(in[k])*factors[i])), factors[i]
		}
	}
	return out, scales
}

func inferResize(c *call) []info {
	out, _ := c.zoom()
	return []info{{c.info(0).typ, out}}
}

// resizeGradient: interpolation is a matrix per axis, this is their transpose.
// A whole factor of nearest neighbours is a sum over blocks.
func resizeGradient(c *call, dy []string) {
	in := c.shape(0)
	out, scales := c.zoom()
	if c.repeats(out, scales) {
		var split, axes []int64
		for k, n := range in {
			split, axes = append(split, n, out[k]/n), append(axes, int64(2*k+1))
		}
		c.grad(0, c.g.reshape(c.g.sum(c.g.reshape(dy[0], split...), axes...), in...))
		return
	}
	maps := make([]*array, len(in))
	for k, n := range in {
		if out[k] == n && scales[k] == 1 {
			continue
		}
		m := newArray(onnx.Float32, []int64{out[k], n})
		for o := range out[k] {
			c.weights(m.v[o*n:(o+1)*n], float64(o), out[k], scales[k])
		}
		maps[k] = m
	}
	c.grad(0, c.g.alongAxes(dy[0], maps, true))
}

// repeats tells whether every element is repeated a whole number of times.
func (c *call) repeats(out []int64, scales []float64) bool {
	mode, rounding := c.text("coordinate_transformation_mode", "half_pixel"), c.text("nearest_mode", "round_prefer_floor")
	if c.text("mode", "nearest") != "nearest" {
		return false
	}
	for k, n := range c.shape(0) {
		if out[k]%n != 0 || scales[k] != float64(out[k]/n) {
			return false
		}
	}
	return (mode == "asymmetric" && rounding == "floor") || mode == "half_pixel" || mode == "pytorch_half_pixel"
}

// weights adds to row the weights that output o gives to the inputs.
func (c *call) weights(row []float64, o float64, out int64, scale float64) {
	n := float64(len(row))
	var at float64
	switch mode := c.text("coordinate_transformation_mode", "half_pixel"); mode {
	case "half_pixel":
		at = (o+0.5)/scale - 0.5
	case "pytorch_half_pixel":
		if out > 1 {
			at = (o+0.5)/scale - 0.5
		}
	case "half_pixel_symmetric":
		at = n/2*(1-float64(out)/(n*scale)) + (o+0.5)/scale - 0.5
	case "align_corners":
		if out > 1 {
			at = o * (n - 1) / (float64(out) - 1)
		}
	case "asymmetric":
		at = o / scale
	default:
		c.fail("coordinate_transformation_mode %q is not supported", mode)
	}
	switch mode := c.text("mode", "nearest"); mode {
	case "nearest":
		row[int(min(max(c.nearest(at), 0), n-1))] = 1
	case "linear":
		at = min(max(at, 0), n-1)
		low := math.Floor(at)
		row[int(low)] += 1 - (at - low)
		row[int(min(low+1, n-1))] += at - low
	default:
		c.fail("mode %q is not supported", mode)
	}
}

func (c *call) nearest(at float64) float64 {
	switch mode := c.text("nearest_mode", "round_prefer_floor"); mode {
	case "round_prefer_floor":
		return math.Ceil(at - 0.5)
	case "round_prefer_ceil":
		return math.Floor(at + 0.5)
	case "floor":
		return math.Floor(at)
	case "ceil":
		return math.Ceil(at)
	default:
		c.fail("nearest_mode %q is not supported", mode)
		return at
	}
}
