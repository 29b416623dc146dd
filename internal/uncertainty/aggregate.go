package uncertainty

import (
	"cmp"
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
)

// Aggregation says how a map becomes one number.
type Aggregation string

// The aggregations.
const (
	Foreground Aggregation = "foreground" // mean over predicted foreground and its border; the default
	TopShare   Aggregation = "top"        // mean over the largest values
	Patch      Aggregation = "patch"      // largest mean over a box
	PerClass   Aggregation = "class"      // largest of the classes' foreground means
	Whole      Aggregation = "whole"      // mean over all voxels
)

// Aggregations lists them, the default first.
func Aggregations() []Aggregation { return []Aggregation{Foreground, TopShare, Patch, PerClass, Whole} }

// AggregateOptions tune an aggregation. The zero value of a field means the
// default in brackets.
type AggregateOptions struct {
	How    Aggregation // [foreground]
	Top    float64     // share of the voxels for top, in (0, 1] [0.01]
	Patch  [3]int      // voxels along the array axes for patch [16 each]
	Border int         // steps from face to face around the foreground that count as its border [1]
}

func (o AggregateOptions) withDefaults() (AggregateOptions, error) {
	if o.How == "" {
		o.How = Foreground
	}
	if !slices.Contains(Aggregations(), o.How) {
		return o, fault.New(fault.Invalid, "aggregation: %q is none of foreground, top, patch, class, whole", string(o.How))
	}
	if o.Top == 0 {
		o.Top = 0.01
	}
	if o.Top < 0 || o.Top > 1 {
		return o, fault.New(fault.Invalid, "aggregation: a share of %g of the voxels; it must lie in (0, 1]", o.Top)
	}
	for d := range o.Patch {
		if o.Patch[d] <= 0 {
			o.Patch[d] = 16
		}
	}
	if o.Border == 0 {
		o.Border = 1
	}
	return o, nil
}

// Aggregate sums up one map over an array of the given size whose predicted
// classes are labels (0 is background). Without predicted foreground, the
// aggregations that need it use the top share instead; fell reports that.
func Aggregate(m []float32, labels []uint8, size [3]int, o AggregateOptions) (score float64, fell bool, err error) {
	o, err = o.withDefaults()
	if err != nil {
		return 0, false, err
	}
	if n := size[0] * size[1] * size[2]; n != len(m) || n != len(labels) || n == 0 {
		return 0, false, fault.New(fault.Internal, "a map of %d voxels with %d labels for a size of %v", len(m), len(labels), size)
	}
	switch o.How {
	case Whole:
		return mean(m, nil), false, nil
	case Patch:
		score, _ = LargestPatch(m, size, o.Patch)
		return score, false, nil
	case PerClass:
		best, some := 0.0, false
		for _, c := range classes(labels) {
			score = mean(m, near(labels, size, o.Border, func(l uint8) bool { return l == c }))
			best, some = max(best, score), true
		}
		if some {
			return best, false, nil
		}
	case Foreground:
		if score, n := ForegroundMean(m, labels, size, o.Border); n > 0 {
			return score, false, nil
		}
	case TopShare:
		return top(m, o.Top), false, nil
	}
	return top(m, o.Top), true, nil
}

// ForegroundMean is the mean over the predicted foreground and the voxels
// within border steps from face to face of it, and how many these are: 0 and 0
// without foreground.
func ForegroundMean(m []float32, labels []uint8, size [3]int, border int) (float64, int) {
	mask := near(labels, size, border, func(l uint8) bool { return l != 0 })
	n := 0
	for _, in := range mask {
		if in {
			n++
		}
	}
	return mean(m, mask), n
}

// ClassMeans returns the mean of a map over the voxels of each class, NaN for
// one that is not there, and how many voxels it has.
func ClassMeans(m []float32, labels []uint8, classes int) (means []float64, voxels []int) {
	means, voxels = make([]float64, classes), make([]int, classes)
	for v, c := range labels {
		means[c] += float64(m[v])
		voxels[c]++
	}
	for c, n := range voxels {
		means[c] /= float64(n) // 0/0 is NaN
	}
	return means, voxels
}

// classes returns the foreground classes that occur, rising.
func classes(labels []uint8) []uint8 {
	var seen [256]bool
	for _, l := range labels {
		seen[l] = true
	}
	var out []uint8
	for c := 1; c < len(seen); c++ {
		if seen[c] {
			out = append(out, uint8(c))
		}
	}
	return out
}

// mean is the mean over the voxels in mask; nil means all.
func mean(m []float32, mask []bool) float64 {
	var sum float64
	n := 0
	for i, v := range m {
		if mask == nil || mask[i] {
			sum += float64(v)
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

// top is the mean over the share of the voxels with the largest values, rounded
// up.
func top(m []float32, share float64) float64 {
	k := max(1, int(math.Ceil(share*float64(len(m)))))
	v := slices.Clone(m)
	slices.SortFunc(v, func(a, b float32) int { return cmp.Compare(b, a) })
	return mean(v[:k], nil)
}

// near marks the voxels that are in, or within border steps from face to face of
// one that is.
func near(labels []uint8, size [3]int, border int, in func(uint8) bool) []bool {
	mask := make([]bool, len(labels))
	for i, l := range labels {
		mask[i] = in(l)
	}
	for range border {
		mask = dilate(mask, size)
	}
	return mask
}

// dilate marks the voxels that share a face with a marked one.
func dilate(mask []bool, size [3]int) []bool {
	out := slices.Clone(mask)
	stride := 1
	for d := 2; d >= 0; d-- {
		for i, in := range mask {
			if !in {
				continue
			}
			at := i / stride % size[d]
			if at > 0 {
				out[i-stride] = true
			}
			if at < size[d]-1 {
				out[i+stride] = true
			}
		}
		stride *= size[d]
	}
	return out
}

// LargestPatch returns the largest mean over a box of voxels that lies within
// the array, and where the first such box starts; a box larger than the array
// is cut to it.
func LargestPatch(m []float32, size, box [3]int) (best float64, start [3]int) {
	v := make([]float64, len(m))
	for i, x := range m {
		v[i] = float64(x)
	}
	stride, count := 1, 1
	shape := size
	for d := 2; d >= 0; d-- {
		b := min(box[d], size[d])
		v = boxSums(v, size[d], stride, b)
		stride *= size[d]
		count *= b
		shape[d] = size[d] - b + 1
	}
	const rounding = 1e-12 // of running sums: what differs by less is equal
	for a := range shape[0] {
		for b := range shape[1] {
			for c := range shape[2] {
				if x := v[(a*size[1]+b)*size[2]+c] / float64(count); x > best+rounding {
					best, start = x, [3]int{a, b, c}
				}
			}
		}
	}
	return best, start
}

// boxSums replaces each value by the sum of b values from it on along one axis;
// places too near the end keep a partial sum.
func boxSums(v []float64, n, stride, b int) []float64 {
	out := make([]float64, len(v))
	for line := range len(v) / n {
		first := line/stride*stride*n + line%stride
		var sum float64
		for k := n - 1; k >= 0; k-- {
			sum += v[first+k*stride]
			if k+b < n {
				sum -= v[first+(k+b)*stride]
			}
			out[first+k*stride] = sum
		}
	}
	return out
}
