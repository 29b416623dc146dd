package native

import (
	"fmt"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
)

// numbered returns a graph with a value whose elements are 1, 2, 3, …
func numbered(shape ...int64) (*graph, *probe) {
	g := newGraph(stepOpset, (&onnx.Graph{}).Names())
	g.taping = false
	p := newProbe(g)
	v := make([]float32, size(shape))
	for i := range v {
		v[i] = float32(i + 1)
	}
	g.info["a"] = floats(shape)
	p.feed("a", shape, v)
	return g, p
}

// Positions become channels and back, exactly, whatever block the width allows.
func TestPartedAndInterleavedAreExact(t *testing.T) {
	for _, c := range []struct{ shape, stride []int64 }{
		{[]int64{2, 3, 4, 6, 10}, []int64{2, 2, 2}},
		{[]int64{1, 2, 6, 4, 46}, []int64{3, 1, 2}},       // one block
		{[]int64{1, 2, 4, 166}, []int64{2, 2}},            // 83 places: no block
		{[]int64{2, 1, 2, 200}, []int64{1, 2}},            // several blocks
		{[]int64{1, 2, 3, 4, 5}, []int64{3, 2, 1}},        // last axis as it is
		{[]int64{1, 2, 5, 4, 12}, []int64{1, 1, 3}},       // only the last
		{[]int64{2, 2, 400}, []int64{4}},                  // one axis
		{[]int64{1, 1, 2, 2, 2, 14}, []int64{2, 2, 2, 2}}, // four axes
	} {
		t.Run(fmt.Sprint(c.shape, c.stride), func(t *testing.T) {
			g, p := numbered(c.shape...)
			deep := g.parted("a", c.stride)
			last := len(c.stride) - 1
			places := c.shape[2+last] / c.stride[last]
			got := g.shape(deep)
			if got[1] != c.shape[1]*size(c.stride) || got[2+last] < places {
				t.Fatalf("shape %v", got)
			}
			deep = g.crop(deep, make([]int64, len(got)), append(slices.Clone(got[:2+last]), places))
			p.fetch("deep", deep)
			p.fetch("back", g.interleave(deep, 1, c.shape[1], c.stride))
			out := p.run(t)
			for i, v := range out["back"] {
				if v != float32(i+1) {
					t.Fatalf("element %d came back as %g", i, v-1)
				}
			}
			// Element 1 of the depth is the next phase of the last axis with a stride.
			step := int64(1)
			for k := last; c.stride[k] == 1; k-- {
				step *= c.shape[2+k]
			}
			if n := size(got[2:2+last]) * places * c.shape[1]; out["deep"][n] != float32(1+step) {
				t.Errorf("the second phase begins with element %g instead of %d", out["deep"][n]-1, step)
			}
		})
	}
}

// Kernels by matrix and by slices are the same numbers.
func TestKernelFormsAgree(t *testing.T) {
	for _, c := range []struct{ kernel, stride, begin []int64 }{
		{[]int64{3, 3, 3}, []int64{1, 1, 1}, []int64{1, 1, 1}},
		{[]int64{3, 3, 3}, []int64{2, 2, 2}, []int64{1, 1, 1}},
		{[]int64{2, 3, 4}, []int64{2, 1, 3}, []int64{0, 2, 1}},
		{[]int64{5, 2}, []int64{2, 2}, []int64{2, 0}},
	} {
		for _, group := range []int64{1, 2} {
			shape := append([]int64{6, 4}, c.kernel...)
			g, p := numbered(shape...)
			win := plain(c.kernel, group)
			win.stride, win.begin, win.end = c.stride, c.begin, slices.Clone(c.begin)
			in := slices.Repeat([]int64{5}, len(c.kernel))
			var out []int64
			for k, n := range in {
				out = append(out, (n-1)*c.stride[k]+c.kernel[k]-2*c.begin[k])
			}
			ph := newPhases(win, in, out)
			if ph == nil {
				t.Fatal("no phases")
			}
			p.fetch("matrix", g.phaseKernel("a", win, ph))
			p.fetch("slices", g.phaseKernelBySlices("a", win, ph))
			if r := p.run(t); !slices.Equal(r["matrix"], r["slices"]) {
				t.Errorf("kernel %v, stride %v, group %d: the forms differ", c.kernel, c.stride, group)
			}
		}
	}
}

func TestJoinedAxes(t *testing.T) {
	for _, c := range []struct{ shape, perm, in, short, out []int64 }{
		{[]int64{1, 4, 5, 3, 1, 3}, []int64{0, 2, 1, 3, 4, 5}, []int64{4, 5, 9}, []int64{1, 0, 2}, []int64{1, 5, 4, 3, 1, 3}},
		{[]int64{2, 3, 4, 5, 6}, []int64{3, 4, 0, 1, 2}, []int64{24, 30}, []int64{1, 0}, []int64{5, 6, 2, 3, 4}},
		{[]int64{1, 7, 1, 1, 1}, []int64{4, 1, 0, 2, 3}, []int64{7}, []int64{0}, []int64{1, 7, 1, 1, 1}},
		{[]int64{2, 3, 4, 5, 6}, []int64{4, 3, 2, 1, 0}, []int64{2, 3, 4, 5, 6}, []int64{4, 3, 2, 1, 0}, []int64{6, 5, 4, 3, 2}},
	} {
		in, short, out := joinedAxes(c.shape, c.perm)
		if !slices.Equal(in, c.in) || !slices.Equal(short, c.short) || !slices.Equal(out, c.out) {
			t.Errorf("%v by %v: %v %v %v", c.shape, c.perm, in, short, out)
		}
	}
	// The joined form moves the same elements.
	g, p := numbered(2, 1, 3, 4, 5)
	p.fetch("joined", g.transpose("a", 3, 4, 1, 0, 2))
	p.fetch("plain", g.op("Transpose", []string{"a"}, onnx.IntsAttr("perm", 3, 4, 1, 0, 2)))
	if r := p.run(t); !slices.Equal(r["joined"], r["plain"]) {
		t.Error("the joined transposition differs")
	}
}
