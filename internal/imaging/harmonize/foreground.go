package harmonize

import (
	"context"

	"github.com/voxloop/voxloop/internal/fault"
)

// Foreground says which voxels of an image statistics are taken over.
type Foreground string

// The choices.
const (
	All       Foreground = "all"
	Nonzero   Foreground = "nonzero"    // values other than 0
	AboveMean Foreground = "above_mean" // values greater than the image's mean: the head in a brain image
	Labelled  Foreground = "label"      // where a label map is not 0
)

// Sample is one image of a set.
type Sample struct {
	Values []float32
	Labels []uint16 // as long as Values; needed with foreground label only
	Site   string   // needed with method zscore_site only
}

// values returns the voxels of s that f means: s.Values itself for All, else a
// copy. There may be none.
func (f Foreground) values(ctx context.Context, s Sample) ([]float32, error) {
	switch f {
	case Nonzero:
		return gather(ctx, s.Values, func(x float32, _ int) bool { return x != 0 })
	case AboveMean:
		m, err := momentsOf(ctx, s.Values, nil)
		if err != nil {
			return nil, err
		}
		return gather(ctx, s.Values, func(x float32, _ int) bool { return float64(x) > m.mean })
	case Labelled:
		if len(s.Labels) != len(s.Values) {
			return nil, fault.New(fault.Invalid, "the label map has %d voxels, the image %d", len(s.Labels), len(s.Values))
		}
		return gather(ctx, s.Values, func(_ float32, i int) bool { return s.Labels[i] != 0 })
	case All:
	}
	return s.Values, nil
}

// present is values for a method that cannot do without any.
func (f Foreground) present(ctx context.Context, s Sample) ([]float32, error) {
	v, err := f.values(ctx, s)
	if err == nil && len(v) == 0 {
		err = fault.New(fault.Invalid, "the image has no foreground: no voxel is %s", f.text())
	}
	return v, err
}

func (f Foreground) text() string {
	switch f {
	case Nonzero:
		return "other than 0"
	case AboveMean:
		return "above the image's mean"
	case Labelled:
		return "labelled"
	case All:
	}
	return "there"
}

// gather returns the values that keep wants, in order. keep is called twice for
// every voxel, from many goroutines.
func gather(ctx context.Context, v []float32, keep func(x float32, i int) bool) ([]float32, error) {
	counts, err := partials(ctx, v, func(v []float32, from int) (n int) {
		for i, x := range v {
			if keep(x, from+i) {
				n++
			}
		}
		return n
	})
	if err != nil {
		return nil, err
	}
	total := 0
	for i, n := range counts {
		counts[i] = total
		total += n
	}
	out := make([]float32, total)
	err = each(ctx, v, func(v []float32, from int) {
		at := counts[from/block]
		for i, x := range v {
			if keep(x, from+i) {
				out[at] = x
				at++
			}
		}
	})
	return out, err
}
