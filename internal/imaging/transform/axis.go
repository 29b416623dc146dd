package transform

import "math"

// snap is the distance from an integer or a half, in voxels, below which a
// coordinate counts as that: far above float64 noise and the rounding of
// spacings that a file keeps as float32, far below what shows in a voxel.
const snap = 1e-5

// axisTable holds, for every index of a destination axis, the two neighbours
// on the source axis and their weights. A neighbour that counts as 0 has
// weight 0 and an index inside the source.
type axisTable struct {
	lo, hi []int
	w0, w1 []float32
	exact  bool // every entry is one source voxel with weight 1
	steady bool // lo counts up by one from entry to entry
	used   []bool
	first  int // smallest and largest source index used
	last   int
}

// axisRule says how coordinates of one source axis become neighbours.
type axisRule struct {
	size    int     // voxels of the source
	min     float64 // coordinates are clamped to [min, max] first
	max     float64
	nearest bool
	outside Outside
}

func newAxisRule(size int, o Options) axisRule {
	r := axisRule{size: size, max: float64(size - 1), nearest: o.Nearest, outside: o.Outside}
	if o.Outside == Zero {
		r.min, r.max = math.Inf(-1), math.Inf(1)
	}
	return r
}

// neighbours returns the voxels around coordinate c and their weights.
func (r axisRule) neighbours(c float64) (lo, hi int, w0, w1 float32) {
	if n := math.RoundToEven(2*c) / 2; math.Abs(c-n) < snap {
		c = n
	}
	if r.outside != Clamp {
		c = r.outside.fold(c, r.size)
	}
	c = min(max(c, r.min), r.max)
	if math.IsNaN(c) || c < -1 { // no neighbour inside; also keeps the conversion to int safe
		return 0, 0, 0, 0
	}
	if c > float64(r.size) {
		return r.size - 1, r.size - 1, 0, 0
	}
	if r.nearest {
		i := int(math.RoundToEven(c))
		if i < 0 || i >= r.size {
			i = min(max(i, 0), r.size-1)
			return i, i, 0, 0
		}
		return i, i, 1, 0
	}
	f := math.Floor(c)
	lo, w1 = int(f), float32(c-f)
	hi, w0 = lo+1, 1-w1
	if lo < 0 {
		lo, w0 = 0, 0
	}
	if hi >= r.size || w1 == 0 {
		hi, w1 = min(lo, r.size-1), 0
	}
	if lo >= r.size {
		lo, w0 = r.size-1, 0
	}
	return lo, hi, w0, w1
}

// table tabulates the coordinates at(i) for i in [0, n).
func (r axisRule) table(n int, at func(i int) float64) axisTable {
	t := axisTable{
		lo: make([]int, n), hi: make([]int, n), w0: make([]float32, n), w1: make([]float32, n),
		exact: true, steady: true, used: make([]bool, r.size), first: r.size - 1,
	}
	for i := range n {
		lo, hi, w0, w1 := r.neighbours(at(i))
		t.lo[i], t.hi[i], t.w0[i], t.w1[i] = lo, hi, w0, w1
		t.exact = t.exact && w0 == 1 && w1 == 0
		t.steady = t.steady && lo == t.lo[0]+i
		t.used[lo], t.used[hi] = true, true
		t.first, t.last = min(t.first, lo), max(t.last, hi)
	}
	return t
}
