package harmonize

import (
	"context"

	"github.com/voxloop/voxloop/internal/fault"
)

// MatchHistograms changes values so that their distribution becomes that of
// reference: a value takes the place in the reference that it has in its own
// image. Results are not rounded. An image matched with itself is unchanged.
//
// Source: scikit-image 0.26, exposure.match_histograms (which cuts the results
// of integer images off to integers).
func MatchHistograms(ctx context.Context, values, reference []float32) error {
	for _, v := range [][]float32{values, reference} {
		if err := checkFinite(ctx, v); err != nil {
			return err
		}
	}
	d, err := distributionOf(ctx, reference)
	if err != nil {
		return err
	}
	return match(ctx, values, values, d.quantiles())
}

// match replaces every value by quantile(share of counted voxels that are not
// greater). Every value occurs among those counted. quantile is called with
// rising shares.
func match(ctx context.Context, values, counted []float32, quantile func(share float64) float64) error {
	d, err := distributionOf(ctx, counted)
	if err != nil {
		return err
	}
	mapped := make([]float32, len(d.keys))
	for i := range mapped {
		mapped[i] = clampFloat32(quantile(d.share(i)))
	}
	t := tableOf(d.keys)
	return each(ctx, values, func(v []float32, _ int) {
		for i, x := range v {
			v[i] = mapped[t.find(keyOf(x))]
		}
	})
}

// table finds a key among distinct ascending ones: the upper bits of its
// distance from the first one say where to look.
type table struct {
	keys  []uint32
	shift int
	start []uint32 // first place with at least those upper bits
}

func tableOf(keys []uint32) *table {
	t := &table{keys: keys}
	span := keys[len(keys)-1] - keys[0]
	for int64(span>>t.shift) > int64(len(keys)) {
		t.shift++
	}
	t.start = make([]uint32, span>>t.shift+2)
	for _, k := range keys {
		t.start[(k-keys[0])>>t.shift+1]++
	}
	for i := 1; i < len(t.start); i++ {
		t.start[i] += t.start[i-1]
	}
	return t
}

// find returns the place of a key that is there.
func (t *table) find(k uint32) int {
	b := (k - t.keys[0]) >> t.shift
	lo, hi := int(t.start[b]), int(t.start[b+1])
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; t.keys[mid] <= k {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// referenceSteps is the number of steps that a fitted histogram is kept in.
const referenceSteps = 1000

// HistogramParams are the values at even shares 0, 1/n, …, 1 of the set's mean
// distribution: the mean over the images of their values at that share.
type HistogramParams struct {
	Quantiles []float64 `json:"quantiles"`
}

func quantilesOf(ctx context.Context, v []float32) ([]float64, error) {
	d, err := distributionOf(ctx, v)
	if err != nil {
		return nil, err
	}
	if len(d.keys) < 2 {
		return nil, fault.New(fault.Invalid, "all voxels of the image's foreground are %g: it has no contrast", d.value(0))
	}
	q, quantile := make([]float64, referenceSteps+1), d.quantiles()
	for i := range q {
		q[i] = quantile(float64(i) / referenceSteps)
	}
	return q, nil
}

// quantile interpolates linearly between the kept shares.
func (h *HistogramParams) quantile(share float64) float64 {
	at := share * float64(len(h.Quantiles)-1)
	lo := min(int(at), len(h.Quantiles)-2)
	return between(h.Quantiles[lo], h.Quantiles[lo+1], at-float64(lo))
}

func (h *HistogramParams) apply(ctx context.Context, values []float32, f Foreground) error {
	if f != Nonzero {
		return match(ctx, values, values, h.quantile)
	}
	counted, err := f.present(ctx, Sample{Values: values})
	if err != nil {
		return err
	}
	changed, at := append([]float32(nil), counted...), 0
	if err := match(ctx, changed, counted, h.quantile); err != nil {
		return err
	}
	for i, x := range values { // in the order in which they were gathered
		if x != 0 {
			values[i] = changed[at]
			at++
		}
	}
	return nil
}
