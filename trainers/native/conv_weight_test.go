package native

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
)

// TestWeightRecipesAgree compares every recipe with one product per tap, which
// the goldens check, on shapes that the goldens do not have.
func TestWeightRecipesAgree(t *testing.T) {
	type recipe = func(g *graph, x, dy string, win window, shape []int64) string
	for i, c := range []struct {
		name           string
		with           recipe
		x, kernel      []int64
		stride, spread []int64 // spread: dilation
	}{
		{"planes", (*graph).weightByPlanes, []int64{2, 3, 7, 12, 11}, []int64{3, 3, 3}, []int64{1, 1, 1}, []int64{1, 1, 1}},
		{"planes, dilated, uneven", (*graph).weightByPlanes, []int64{1, 2, 9, 10, 12}, []int64{2, 1, 3}, []int64{1, 1, 1}, []int64{2, 1, 3}},
		{"planes, many channels", (*graph).weightByPlanes, []int64{1, 13, 5, 9, 8}, []int64{3, 2, 3}, []int64{1, 1, 1}, []int64{1, 2, 2}},
		{"planes, one column", (*graph).weightByPlanes, []int64{2, 4, 6, 9, 8}, []int64{2, 3, 1}, []int64{1, 1, 1}, []int64{1, 1, 1}},
		{"swap", (*graph).weightBySwap, []int64{2, 2, 7, 8}, []int64{3, 2}, []int64{2, 1}, []int64{1, 2}},
		{"phases", (*graph).weightByPhases, []int64{2, 3, 9, 20, 18}, []int64{3, 3, 3}, []int64{2, 2, 2}, []int64{1, 1, 1}},
		{"phases with a rest", (*graph).weightByPhases, []int64{1, 3, 8, 21, 19}, []int64{3, 5, 2}, []int64{2, 3, 1}, []int64{1, 1, 1}},
		{"patches with a rest", (*graph).weightByPatches, []int64{2, 3, 9, 7}, []int64{2, 3}, []int64{2, 3}, []int64{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, uint64(i)))
			g := newGraph(stepOpset, (&onnx.Graph{}).Names())
			g.taping = false
			p := newProbe(g)
			feed := func(name string, shape []int64) {
				v := make([]float32, size(shape))
				for k := range v {
					v[k] = float32(rng.NormFloat64())
				}
				g.info[name] = floats(shape)
				p.feed(name, shape, v)
			}
			win := plain(c.kernel, 1)
			win.stride, win.dilation = c.stride, c.spread
			const co = 4
			feed("x", c.x)
			feed("dy", slices.Concat([]int64{c.x[0], co}, win.out(c.x[2:], false)))
			shape := slices.Concat([]int64{co, c.x[1]}, c.kernel)
			p.fetch("a", c.with(g, "x", "dy", win, shape))
			p.fetch("b", g.weightByTaps("x", "dy", win, shape))
			if a, b := g.shape(g.nodes[len(g.nodes)-1].Outputs[0]), shape; !slices.Equal(a, b) {
				t.Fatalf("shape %v instead of %v", a, b)
			}
			out := p.run(t)
			var want []float64
			for _, v := range out["b"] {
				want = append(want, float64(v))
			}
			if e := relative(out["a"], want); !(e <= 1e-6) {
				t.Errorf("off by %.1e", e)
			}
		})
	}
}
