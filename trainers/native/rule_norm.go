package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// Normalisations are computed as (x - mean)·(scale/√(variance + eps)) + bias
// with means taken over one axis at a time: ONNX Runtime's own operators drift
// on windows that are mostly one value (docs/decisions/001-graph-rewrites.md).
var normRules = map[string]*rule{
	"InstanceNormalization": {infer: inferNorm, forward: instanceForward, backward: channelNormGradient},
	"BatchNormalization":    {infer: inferBatchNorm, forward: batchForward, backward: batchGradient},
	"GroupNormalization":    {infer: inferNorm, forward: groupForward, backward: groupGradient},
	"LayerNormalization":    {infer: inferNorm, forward: layerForward, backward: layerGradient},
}

// statistic is a running statistic of batch normalisation.
type statistic struct {
	name  string // initializer of the network
	value string // after the step
}

func inferNorm(c *call) []info {
	if len(c.out) > 1 {
		c.fail("only the first result is supported")
	}
	if len(c.shape(0)) < 2 || c.info(0).typ != onnx.Float32 {
		c.fail("input %v of %s cannot be normalised", c.shape(0), c.info(0).typ)
	}
	return []info{c.info(0)}
}

// perChannel views a [C] value so that it goes with [N, C, spatial…].
func (g *graph) perChannel(a string, rank int) string {
	shape := slices.Repeat([]int64{1}, rank)
	shape[1] = size(g.shape(a))
	return g.reshape(a, shape...)
}

// elements is the product of the given axes.
func elements(shape, axes []int64) float64 {
	n := int64(1)
	for _, k := range axes {
		n *= shape[k]
	}
	return float64(n)
}

// standardise keeps "centred" = x - mean and "inverse" = 1/√(variance + eps)
// over the axes, and returns mean and (biased) variance.
func (c *call) standardise(x string, axes []int64, eps float64) (mean, variance string) {
	g := c.g
	n := elements(g.shape(x), axes)
	mean = g.scale(g.sum(x, axes...), 1/n)
	centred := c.keep("centred", g.sub(x, mean))
	variance = g.scale(g.sumSquares(centred, axes...), 1/n)
	c.keep("inverse", g.unary("Reciprocal", g.unary("Sqrt", g.add(variance, g.scalar(eps)))))
	return mean, variance
}

func (c *call) epsilon() float64 { return float64(c.node.Float("epsilon", 1e-5)) }

// affine returns centred·(inverse·scale) + bias, for a scale that is constant
// along the normalised axes.
func (c *call) affine(scale, bias string) string {
	g := c.g
	factor := c.keep("factor", g.mul(c.kept["inverse"], scale))
	return g.add(g.mul(c.kept["centred"], factor), bias)
}

func instanceForward(c *call) string {
	rank := len(c.shape(0))
	c.standardise(c.input(0), count(rank)[2:], c.epsilon())
	return c.affine(c.g.perChannel(c.input(1), rank), c.g.perChannel(c.input(2), rank))
}

// channelNormGradient serves normalisations with one scale and bias per
// channel: with s = Σ dy, t = Σ dy·centred over the n normalised elements,
//
//	dx = factor·(dy - s/n - centred·inverse²·t/n)
func channelNormGradient(c *call, dy []string) {
	rank := len(c.shape(0))
	c.channelNorm(dy[0], count(rank)[2:])
}

func (c *call) channelNorm(dy string, axes []int64) {
	g := c.g
	n := elements(c.shape(0), axes)
	s, t := g.sum(dy, axes...), g.dot(dy, c.kept["centred"], axes...)
	if c.wants(1) {
		scaled := g.mul(t, c.kept["inverse"])
		c.grad(1, g.channelSums(scaled))
	}
	if c.wants(2) {
		c.grad(2, g.channelSums(s))
	}
	if c.wants(0) {
		factor, inverse := c.kept["factor"], c.kept["inverse"]
		slope := g.scale(g.mul(g.mul(factor, g.mul(inverse, inverse)), t), 1/n)
		offset := g.scale(g.mul(factor, s), 1/n)
		c.grad(0, g.sub(g.sub(g.mul(dy, factor), g.mul(c.kept["centred"], slope)), offset))
	}
}

func inferBatchNorm(c *call) []info {
	if len(c.out) > 1 {
		c.fail("only the inference form with one result is supported")
	}
	return inferNorm(c)
}

// batchForward is the training form: statistics of the batch, and running ones
// that follow with the node's momentum (the variance unbiased).
func batchForward(c *call) string {
	g := c.g
	if !g.batchStatistics {
		c.emit()
		return c.out[0]
	}
	x := c.shape(0)
	axes := slices.DeleteFunc(count(len(x)), func(k int64) bool { return k == 1 })
	n := elements(x, axes)
	if n < 2 {
		c.fail("batch statistics of one value per channel")
		return c.out[0]
	}
	mean, variance := c.standardise(c.input(0), axes, c.epsilon())
	keep := float64(c.node.Float("momentum", 0.9))
	for i, batch := range []string{mean, g.scale(variance, n/(n-1))} {
		name := c.input(3 + i)
		if slices.ContainsFunc(g.stats, func(s statistic) bool { return s.name == name }) {
			c.fail("the running statistic %q is used twice", name)
		}
		value := g.add(g.scale(name, keep), g.scale(g.reshape(batch, x[1]), 1-keep))
		g.stats = append(g.stats, statistic{name, value})
	}
	return c.affine(g.perChannel(c.input(1), len(x)), g.perChannel(c.input(2), len(x)))
}

func batchGradient(c *call, dy []string) {
	g, rank := c.g, len(c.shape(0))
	axes := slices.DeleteFunc(count(rank), func(k int64) bool { return k == 1 })
	if g.batchStatistics {
		c.channelNorm(dy[0], axes)
		return
	}
	inverse := g.unary("Reciprocal", g.unary("Sqrt", g.add(c.input(4), g.scalar(c.epsilon()))))
	if c.wants(0) {
		c.grad(0, g.mul(dy[0], g.perChannel(g.mul(inverse, c.input(1)), rank)))
	}
	if c.wants(1) {
		centred := g.sub(c.input(0), g.perChannel(c.input(3), rank))
		c.grad(1, g.mul(g.channelSums(g.mul(dy[0], centred)), inverse))
	}
	if c.wants(2) {
		c.grad(2, g.channelSums(dy[0]))
	}
}

// groups views [N, C, spatial…] as [N, groups, C/groups, spatial…].
func (c *call) groups(a string) string {
	x, n := c.shape(0), c.node.Int("num_groups", 1)
	if n < 1 || x[1]%n != 0 {
		c.fail("%d channels do not divide into %d groups", x[1], n)
		return a
	}
	return c.g.reshape(a, slices.Concat([]int64{x[0], n, x[1] / n}, x[2:])...)
}

// groupForward: scale and bias are per channel, or per group before operator
// set 21.
func groupForward(c *call) string {
	g, x := c.g, c.shape(0)
	c.standardise(c.groups(c.input(0)), count(len(x) + 1)[2:], c.epsilon())
	normal := c.keep("normal", g.reshape(g.mul(c.kept["centred"], c.kept["inverse"]), x...))
	return g.add(g.mul(normal, c.spread(c.input(1))), c.spread(c.input(2)))
}

// spread views scale or bias so that it goes with [N, C, spatial…].
func (c *call) spread(a string) string {
	g, channels, n := c.g, c.shape(0)[1], size(c.g.shape(a))
	if n != channels {
		a = g.reshape(g.expand(g.reshape(a, n, 1), n, channels/n), channels)
	}
	return g.perChannel(a, len(c.shape(0)))
}

func groupGradient(c *call, dy []string) {
	g, x := c.g, c.shape(0)
	toParameter := func(i int, v string) {
		if !c.wants(i) {
			return
		}
		v = g.channelSums(v)
		if n := size(c.shape(i)); n != x[1] {
			v = g.reshape(g.sum(g.reshape(v, n, x[1]/n), 1), n)
		}
		c.grad(i, v)
	}
	toParameter(1, g.mul(dy[0], c.kept["normal"]))
	toParameter(2, dy[0])
	if c.wants(0) {
		v := c.groups(g.mul(dy[0], c.spread(c.input(1))))
		c.grad(0, g.reshape(c.standardGradient(v, count(len(x) + 1)[2:]), x...))
	}
}

// standardGradient is dx of centred·inverse: with s = Σ d, t = Σ d·centred,
//
//	inverse·(d - s/n - centred·inverse²·t/n)
func (c *call) standardGradient(d string, axes []int64) string {
	g, centred, inverse := c.g, c.kept["centred"], c.kept["inverse"]
	n := elements(g.shape(d), axes)
	s, t := g.sum(d, axes...), g.dot(d, centred, axes...)
	slope := g.scale(g.mul(g.mul(inverse, inverse), t), 1/n)
	return g.mul(g.sub(g.sub(d, g.scale(s, 1/n)), g.mul(centred, slope)), inverse)
}

// layerAxes are the normalised axes of a LayerNormalization.
func (c *call) layerAxes() []int64 {
	rank := len(c.shape(0))
	return count(rank)[c.axis(-1, rank):]
}

func layerForward(c *call) string {
	g := c.g
	c.standardise(c.input(0), c.layerAxes(), c.epsilon())
	y := g.mul(c.keep("normal", g.mul(c.kept["centred"], c.kept["inverse"])), c.input(1))
	if c.input(2) != "" {
		y = g.add(y, c.input(2))
	}
	return y
}

func layerGradient(c *call, dy []string) {
	g := c.g
	if c.wants(1) {
		c.grad(1, g.mul(dy[0], c.kept["normal"]))
	}
	if c.wants(2) {
		c.grad(2, dy[0])
	}
	if c.wants(0) {
		c.grad(0, c.standardGradient(g.mul(dy[0], c.input(1)), c.layerAxes()))
	}
}
