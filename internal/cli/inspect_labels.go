package cli

import (
	"cmp"
	"math"
	"slices"
)

// What tells the values of a label map from those of a grey image. Label maps
// consist of regions: along a row, a voxel's neighbour nearly always has the same
// value, so that regions are cut into long runs. Grey values of 8 bits are as few
// as labels may be, but change from voxel to voxel. Of public data, label maps
// with 24 to 117 values have runs of 9.7 to 36 voxels on average, grey images with
// up to 256 values of 1.1 to 1.4.
const (
	maxLabels     = 256 // different values that can be labels at all
	fewLabels     = 16  // so few are counted whatever their runs
	voxelsPerFew  = 4   // as long as each has that many voxels on average
	minRegionRuns = 3.0 // mean run, in voxels, of the values other than the most frequent
)

type labelCount struct {
	value  float64
	voxels int
	runs   int // of equal values, in the order of the voxels
}

// labelCounter counts integers until they are too many to be labels.
type labelCounter struct {
	counts map[float64]labelCount // nil once a value has shown that this is no label map
	last   float64                // the value of run voxels that are not counted yet
	run    int
}

func newLabelCounter() *labelCounter { return &labelCounter{counts: map[float64]labelCount{}} }

func (l *labelCounter) add(f float64) {
	switch {
	case l.counts == nil:
	case f == l.last && l.run > 0:
		l.run++
	case f != math.Trunc(f) || math.IsInf(f, 0):
		l.counts = nil
	default:
		l.flush()
		l.last, l.run = f, 1
		if len(l.counts) > maxLabels {
			l.counts = nil
		}
	}
}

func (l *labelCounter) flush() {
	if l.run > 0 {
		c := l.counts[l.last]
		l.counts[l.last] = labelCount{l.last, c.voxels + l.run, c.runs + 1}
	}
}

// labels returns the counts by value where the values are labels: integers, at
// most maxLabels different ones, and either the file calls them labels
// (segmented), or they are few, or they form regions. Otherwise nil.
func (l *labelCounter) labels(segmented bool) []labelCount {
	if l.counts == nil {
		return nil
	}
	l.flush()
	l.run = 0
	if len(l.counts) > maxLabels || !segmented && !l.few() && !l.regions() {
		return nil
	}
	out := make([]labelCount, 0, len(l.counts))
	for _, c := range l.counts {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b labelCount) int { return cmp.Compare(a.value, b.value) })
	return out
}

func (l *labelCounter) few() bool {
	var voxels int
	for _, c := range l.counts {
		voxels += c.voxels
	}
	return len(l.counts) <= fewLabels && voxels >= voxelsPerFew*len(l.counts)
}

// regions reports whether the values other than the most frequent one, the
// background, come in runs.
func (l *labelCounter) regions() bool {
	var all, background labelCount
	for _, c := range l.counts {
		all.voxels, all.runs = all.voxels+c.voxels, all.runs+c.runs
		if c.voxels > background.voxels || c.voxels == background.voxels && c.value < background.value {
			background = c
		}
	}
	voxels, runs := all.voxels-background.voxels, all.runs-background.runs
	return runs > 0 && float64(voxels) >= minRegionRuns*float64(runs)
}
