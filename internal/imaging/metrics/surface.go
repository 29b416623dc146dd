package metrics

import (
	"context"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/morph"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// SurfaceOptions tunes Comparison.Surfaces. The zero value takes Euclidean
// distances in mm between surface voxels.
type SurfaceOptions struct {
	Norm     Norm
	Spacing  [3]float64 // mm along x, y, z; zero: the truth's grid
	Empty    Empty
	SubVoxel bool // surfaces through the corners of voxels, weighted by their area (NSD only)
}

// Surfaces holds, for one class, the distance of every surface voxel of one
// map to the surface of the other.
type Surfaces struct {
	// Predicted: from the prediction's surface to the truth's. True: the other
	// way. +Inf where the other map has none. Millimetres, in no useful order.
	Predicted, True []float32

	empty                        Empty
	predictedAreas, trueAreas    []float64 // of SubVoxel
	noPrediction, noTruth, areas bool
}

// Surfaces measures the distances between the surfaces of one class. A voxel
// of the class is surface when one of its six neighbours is not of the class or
// lies outside the volume. Only the box around the class in both maps is looked
// at. Errors: Invalid for a spacing that is not above 0, the context's.
//
// Source: MONAI get_edge_surface_distance.
func (c *Comparison) Surfaces(ctx context.Context, class uint16, o SurfaceOptions) (*Surfaces, error) {
	if o.Spacing == [3]float64{} {
		o.Spacing = c.truth.Spacing()
	}
	for _, s := range o.Spacing {
		if !(s > 0) || math.IsInf(s, 0) {
			return nil, fault.New(fault.Invalid, "a spacing of %v mm", o.Spacing)
		}
	}
	s := &Surfaces{empty: o.Empty, noPrediction: true, noTruth: true}
	box, ok := c.boxes[class]
	if !ok {
		return s, nil
	}
	pred, err := maskOf(ctx, c.pred.Data, c.pred.Size, class, box)
	if err != nil {
		return nil, err
	}
	truth, err := maskOf(ctx, c.truth.Data, c.truth.Size, class, box)
	if err != nil {
		return nil, err
	}
	s.noPrediction, s.noTruth = pred.count() == 0, truth.count() == 0
	if o.SubVoxel {
		return s, s.between(ctx, pred, truth, o)
	}
	if pred, err = pred.surface(ctx); err != nil {
		return nil, err
	}
	if truth, err = truth.surface(ctx); err != nil {
		return nil, err
	}
	return s, s.measure(ctx, pred, truth, o)
}

func (s *Surfaces) measure(ctx context.Context, pred, truth *mask, o SurfaceOptions) (err error) {
	if s.Predicted, err = distances(ctx, pred, truth, o.Norm, o.Spacing); err != nil {
		return err
	}
	s.True, err = distances(ctx, truth, pred, o.Norm, o.Spacing)
	return err
}

// undefined returns what a distance is when there is no surface on one side or
// both, and whether that is so.
func (s *Surfaces) undefined() (float64, bool) {
	switch {
	case s.noPrediction && s.noTruth:
		return math.NaN(), true
	case s.noPrediction || s.noTruth:
		if s.empty == NNUNet {
			return math.NaN(), true
		}
		return math.Inf(1), true
	}
	return 0, false
}

// Hausdorff returns the largest distance from either surface to the other.
func (s *Surfaces) Hausdorff() float64 {
	return max(s.HausdorffDirected(), largest(s, s.True))
}

// HausdorffDirected returns the largest distance from the prediction to the
// truth.
func (s *Surfaces) HausdorffDirected() float64 { return largest(s, s.Predicted) }

func largest(s *Surfaces, d []float32) float64 {
	if v, ok := s.undefined(); ok {
		return v
	}
	var m float32
	for _, f := range d {
		m = max(m, f)
	}
	return float64(m)
}

// Percentile returns the larger of the two directed p-th percentiles (0..100)
// of the distances, interpolated linearly: HD95 for 95. It is NaN when the
// class is missing in either map.
func (s *Surfaces) Percentile(ctx context.Context, p float64) (float64, error) {
	a, err := s.PercentileDirected(ctx, p)
	if err != nil || math.IsNaN(a) {
		return a, err
	}
	b, err := percentile(ctx, s.True, p)
	return max(a, b), err
}

// PercentileDirected returns the p-th percentile of the distances from the
// prediction to the truth.
func (s *Surfaces) PercentileDirected(ctx context.Context, p float64) (float64, error) {
	if _, ok := s.undefined(); ok {
		return math.NaN(), nil
	}
	return percentile(ctx, s.Predicted, p)
}

func percentile(ctx context.Context, d []float32, p float64) (float64, error) {
	v, err := transform.Channels{d}.Percentiles(ctx, []float64{p})
	if err != nil {
		return 0, err
	}
	return v[0], nil
}

// ASD returns the mean distance from the prediction's surface to the truth's.
func (s *Surfaces) ASD() float64 { return s.mean(s.Predicted) }

// ASSD returns the mean over the distances of both surfaces together.
func (s *Surfaces) ASSD() float64 { return s.mean(s.Predicted, s.True) }

func (s *Surfaces) mean(lists ...[]float32) float64 {
	if v, ok := s.undefined(); ok {
		return v
	}
	var sum float64
	n := 0
	for _, l := range lists {
		n += len(l)
		for _, d := range l {
			sum += float64(d)
		}
	}
	return sum / float64(n)
}

// NSD returns the normalised surface Dice: the part of both surfaces that lies
// within tolerance mm of the other. Voxels count 1, or their area with
// SubVoxel. It is NaN when the class is in neither map, 0 when in one.
//
// Source: Nikolov et al., arXiv:1809.04430; MONAI compute_surface_dice.
func (s *Surfaces) NSD(tolerance float64) float64 {
	if s.noPrediction && s.noTruth {
		return math.NaN()
	}
	if s.noPrediction || s.noTruth {
		return 0
	}
	a, b := within(s.Predicted, s.predictedAreas, tolerance), within(s.True, s.trueAreas, tolerance)
	if !s.areas {
		return (a + b) / float64(len(s.Predicted)+len(s.True))
	}
	return (a + b) / (total(s.predictedAreas) + total(s.trueAreas))
}

// within adds the weights of the distances up to tolerance, compared as float32.
func within(d []float32, weight []float64, tolerance float64) float64 {
	var sum float64
	for i, f := range d {
		switch {
		case f > float32(tolerance):
		case weight == nil:
			sum++
		default:
			sum += weight[i]
		}
	}
	return sum
}

func total(v []float64) float64 {
	var sum float64
	for _, f := range v {
		sum += f
	}
	return sum
}

// Edges returns, voxel by voxel, where the surfaces of one class are in the
// two maps.
func (c *Comparison) Edges(ctx context.Context, class uint16) (pred, truth []bool, err error) {
	whole := morph.Box{Max: [3]int{c.truth.Size[0] - 1, c.truth.Size[1] - 1, c.truth.Size[2] - 1}}
	out := [2][]bool{make([]bool, len(c.pred.Data)), make([]bool, len(c.truth.Data))}
	for i, data := range [2][]uint16{c.pred.Data, c.truth.Data} {
		m, err := maskOf(ctx, data, c.truth.Size, class, whole)
		if err != nil {
			return nil, nil, err
		}
		if m, err = m.surface(ctx); err != nil {
			return nil, nil, err
		}
		m.each(0, m.size[1], func(x, y, z int) { out[i][x+m.size[0]*(y+m.size[1]*z)] = true })
	}
	return out[0], out[1], nil
}
