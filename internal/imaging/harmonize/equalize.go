package harmonize

import (
	"context"
	"sync"

	"github.com/voxloop/voxloop/internal/fault"
)

// MaxBins is the largest number of bins that Equalize counts in.
const MaxBins = 1 << 16

// Equalize spreads the image's values over to[0]..to[1] so that all of them
// are about equally frequent. The histogram of bins equal bins, 2 to MaxBins,
// is taken over the voxels that f means; its running sum, stretched to to, is
// the new value at the bins' centres, with straight lines between them and
// the ends' values beyond. Every voxel is mapped, whatever f.
//
// Source: MONAI 1.5 HistogramNormalize over NumPy's histogram with float32
// edges; a constant image has bins of half a unit to either side.
func Equalize(ctx context.Context, values []float32, bins int, to [2]float64, f Foreground) error {
	if err := checkFinite(ctx, values); err != nil {
		return err
	}
	counted, err := f.present(ctx, Sample{Values: values})
	if err != nil {
		return err
	}
	return equalizeBy(ctx, values, counted, bins, to)
}

// equalizeBy takes the histogram over given values, some of the image's.
func equalizeBy(ctx context.Context, values, counted []float32, bins int, to [2]float64) error {
	if bins < 2 || bins > MaxBins {
		return fault.New(fault.Invalid, "%d bins: a number from 2 to %d is needed", bins, MaxBins)
	}
	edges, err := edgesOf(ctx, counted, bins)
	if err != nil {
		return err
	}
	counts, err := histogram(ctx, counted, edges)
	if err != nil {
		return err
	}
	centres, levels := make([]float64, bins), make([]float64, bins)
	sum := 0
	for i, n := range counts {
		sum += n
		centres[i] = (float64(edges[i]) + float64(edges[i+1])) / 2
		levels[i] = float64(sum)
	}
	first := levels[0] // below len(counted): the largest value, or the only one, is in a later bin
	for i := range levels {
		levels[i] = to[0] + (levels[i]-first)/(float64(len(counted))-first)*(to[1]-to[0])
	}
	return each(ctx, values, func(v []float32, _ int) {
		for i, x := range v {
			v[i] = clampFloat32(onLine(centres, levels, float64(x)))
		}
	})
}

// edgesOf returns the bins+1 edges between the smallest and the largest value.
func edgesOf(ctx context.Context, v []float32, bins int) ([]float32, error) {
	lo, hi, err := rangeOf(ctx, v)
	if err != nil {
		return nil, err
	}
	a, b := float64(lo), float64(hi)
	if a == b {
		a, b = a-0.5, b+0.5
	}
	edges := make([]float32, bins+1)
	for i := range edges {
		edges[i] = float32(a + float64(i)*((b-a)/float64(bins)))
	}
	edges[bins] = float32(b)
	for i := range bins {
		if !(edges[i] < edges[i+1]) {
			return nil, fault.New(fault.Invalid, "values from %g to %g lie too close together for %d bins of float32", lo, hi, bins)
		}
	}
	return edges, nil
}

func rangeOf(ctx context.Context, v []float32) (lo, hi float32, err error) {
	parts, err := partials(ctx, v, func(v []float32, _ int) [2]float32 {
		e := [2]float32{v[0], v[0]}
		for _, x := range v {
			e[0], e[1] = min(e[0], x), max(e[1], x)
		}
		return e
	})
	if err != nil {
		return 0, 0, err
	}
	lo, hi = parts[0][0], parts[0][1]
	for _, p := range parts {
		lo, hi = min(lo, p[0]), max(hi, p[1])
	}
	return lo, hi, nil
}

// histogram counts values in bins that hold their lower edge; the last one
// holds its upper edge too.
func histogram(ctx context.Context, v, edges []float32) ([]int, error) {
	bins := len(edges) - 1
	total := make([]int, bins)
	scale := float64(bins) / (float64(edges[bins]) - float64(edges[0]))
	var mu sync.Mutex
	err := shares(ctx, v, func(ctx context.Context, part []float32) error {
		local := make([]int, bins)
		err := blocks(ctx, part, func(v []float32) {
			for _, x := range v {
				i := min(int((float64(x)-float64(edges[0]))*scale), bins-1)
				for i > 0 && x < edges[i] {
					i--
				}
				for i < bins-1 && x >= edges[i+1] {
					i++
				}
				local[i]++
			}
		})
		mu.Lock()
		defer mu.Unlock()
		for i, n := range local {
			total[i] += n
		}
		return err
	})
	return total, err
}

// onLine returns y at x on the line through the points (xs, ys), xs rising in
// nearly even steps, and the end's value beyond the ends.
func onLine(xs, ys []float64, x float64) float64 {
	last := len(xs) - 1
	switch {
	case x <= xs[0]:
		return ys[0]
	case x >= xs[last]:
		return ys[last]
	}
	i := min(int((x-xs[0])/(xs[last]-xs[0])*float64(last)), last-1)
	for x < xs[i] {
		i--
	}
	for x >= xs[i+1] {
		i++
	}
	return ys[i] + (ys[i+1]-ys[i])*((x-xs[i])/(xs[i+1]-xs[i]))
}
