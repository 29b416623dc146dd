package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// target is what a loss compares: logits [N, C, spatial…] with class indices
// [N, 1, spatial…].
type target struct {
	g              *graph
	logits, labels string
	ignore         int // label of voxels that do not count; 0: none
	made           map[string]string
}

func (t *target) once(key string, build func() string) string {
	if t.made == nil {
		t.made = map[string]string{}
	}
	if _, ok := t.made[key]; !ok {
		t.made[key] = build()
	}
	return t.made[key]
}

func (t *target) shape() []int64   { return t.g.shape(t.logits) }
func (t *target) channels() int64  { return t.shape()[1] }
func (t *target) spatial() []int64 { return count(len(t.shape()))[2:] }
func (t *target) allAxes() []int64 { return count(len(t.shape())) }
func (t *target) samples() []int64 { return append([]int64{0}, t.spatial()...) }

// logP is the logarithm of the softmax over channels.
func (t *target) logP() string {
	return t.once("logp", func() string { return t.g.logSoftmax(t.logits) })
}

// p is the prediction: the softmax over channels, or the sigmoid of each.
func (t *target) p(sigmoid bool) string {
	if sigmoid {
		return t.once("sigmoid", func() string { return t.g.unary("Sigmoid", t.logits) })
	}
	return t.once("p", func() string { return t.g.unary("Exp", t.logP()) })
}

// oneHot is 1 in the channel of the label; with one channel the label itself.
// Ignored voxels are 0 in every channel.
func (t *target) oneHot() string {
	return t.once("onehot", func() string {
		g := t.g
		if t.channels() == 1 {
			return t.masked(g.mask("Equal", t.labels, g.scalar(1)))
		}
		classes := newArray(onnx.Float32, slices.Repeat([]int64{1}, len(t.shape())))
		classes.shape[1] = t.channels()
		classes.v = make([]float64, t.channels())
		for i := range classes.v {
			classes.v[i] = float64(i)
		}
		return t.masked(g.mask("Equal", t.labels, g.newConstant("classes", classes)))
	})
}

// valid is 1 where the voxel counts, [N, 1, spatial…]; "" when all do.
func (t *target) valid() string {
	if t.ignore == 0 {
		return ""
	}
	return t.once("valid", func() string {
		return t.g.sub(t.g.scalar(1), t.g.mask("Equal", t.labels, t.g.scalar(float64(t.ignore))))
	})
}

// masked sets ignored voxels of a to 0.
func (t *target) masked(a string) string {
	if v := t.valid(); v != "" {
		return t.g.mul(a, v)
	}
	return a
}

// foreground leaves channel 0 out.
func (t *target) foreground(a string) string {
	s := t.g.shape(a)
	start, length := make([]int64, len(s)), slices.Clone(s)
	start[1], length[1] = 1, s[1]-1
	return t.g.crop(a, start, length)
}

// perClass makes a constant [1, C, 1…] of weights.
func (t *target) perClass(weights []float64) string {
	a := newArray(onnx.Float32, slices.Repeat([]int64{1}, len(t.shape())))
	a.shape[1] = int64(len(weights))
	a.v = slices.Clone(weights)
	return t.g.newConstant("weights", a)
}

// mean averages all values.
func (t *target) mean(a string) string {
	s := t.g.shape(a)
	return t.g.scale(t.g.sum(a, count(len(s))...), 1/float64(size(s)))
}
