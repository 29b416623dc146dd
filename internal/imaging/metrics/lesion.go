package metrics

import (
	"context"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/morph"
)

// LesionOptions says what a lesion is and when it is found.
type LesionOptions struct {
	Connectivity morph.Connectivity // 0 means 26
	Overlap      float64            // part of a lesion, 0..1, that must be covered; 0: one voxel
}

// Lesions counts the connected pieces of one class.
type Lesions struct {
	True, Predicted int
	TP              int // true lesions that the prediction covers enough of
	FN              int // true lesions that it does not
	FP              int // predicted lesions that the truth does not cover enough of
}

// Sensitivity is the part of the true lesions that is found.
func (l Lesions) Sensitivity() float64 { return ratio(float64(l.TP), float64(l.True)) }

// Precision is the part of the predicted lesions that is true.
func (l Lesions) Precision() float64 { return ratio(float64(l.Predicted-l.FP), float64(l.Predicted)) }

// F1 is 2TP / (2TP + FP + FN).
func (l Lesions) F1() float64 { return ratio(2*float64(l.TP), float64(2*l.TP+l.FP+l.FN)) }

// Lesions detects lesion by lesion. A lesion is a connected component of the
// class. A true lesion is found (TP) when at least Overlap of its voxels, and at
// least one, are predicted as the class, by whichever predicted lesions; else it
// is missed (FN). A predicted lesion of which less than Overlap, or no voxel, is
// truly of the class is false (FP). So one predicted lesion may find several
// true ones. Errors: Invalid for an unknown connectivity or an overlap outside
// 0..1, the context's.
func (c *Comparison) Lesions(ctx context.Context, class uint16, o LesionOptions) (Lesions, error) {
	if o.Connectivity == 0 {
		o.Connectivity = morph.Corners
	}
	if !(o.Overlap >= 0 && o.Overlap <= 1) {
		return Lesions{}, fault.New(fault.Invalid, "a lesion overlap of %g is not within 0..1", o.Overlap)
	}
	if err := o.Connectivity.Check(); err != nil {
		return Lesions{}, err
	}
	box, ok := c.boxes[class]
	if !ok {
		return Lesions{}, nil
	}
	pred, truth := c.crop(class, box)
	predHit, err := covered(ctx, pred, truth, box.Size(), o)
	if err != nil {
		return Lesions{}, err
	}
	trueHit, err := covered(ctx, truth, pred, box.Size(), o)
	if err != nil {
		return Lesions{}, err
	}
	l := Lesions{True: len(trueHit), Predicted: len(predHit)}
	for _, hit := range trueHit {
		if hit {
			l.TP++
		}
	}
	l.FN = l.True - l.TP
	for _, hit := range predHit {
		if !hit {
			l.FP++
		}
	}
	return l, nil
}

// crop copies the class out of both maps as 1 and 0.
func (c *Comparison) crop(class uint16, b morph.Box) (pred, truth []uint16) {
	n, size := b.Size(), c.truth.Size
	pred, truth = make([]uint16, 0, n[0]*n[1]*n[2]), make([]uint16, 0, n[0]*n[1]*n[2])
	is := func(l uint16) uint16 {
		if l == class {
			return 1
		}
		return 0
	}
	for z := b.Min[2]; z <= b.Max[2]; z++ {
		for y := b.Min[1]; y <= b.Max[1]; y++ {
			row := size[0] * (y + size[1]*z)
			for at := row + b.Min[0]; at <= row+b.Max[0]; at++ {
				pred, truth = append(pred, is(c.pred.Data[at])), append(truth, is(c.truth.Data[at]))
			}
		}
	}
	return pred, truth
}

// covered tells, for every component of a, whether enough of it is in b.
func covered(ctx context.Context, a, b []uint16, size [3]int, o LesionOptions) ([]bool, error) {
	found, err := morph.Find(ctx, a, size, morph.FindOptions{Connectivity: o.Connectivity})
	if err != nil {
		return nil, err
	}
	number, err := found.Map(ctx)
	if err != nil {
		return nil, err
	}
	in := make([]int, len(found.List)+1)
	for i, n := range number {
		in[n] += int(b[i])
	}
	out := make([]bool, len(found.List))
	for i, m := range found.List {
		out[i] = in[i+1] > 0 && float64(in[i+1]) >= o.Overlap*float64(m.Voxels)
	}
	return out, nil
}
