package morph

import (
	"context"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Rule says how one class is cleaned. Its steps run in the order of the
// fields; the zero value of a field leaves its step out.
type Rule struct {
	Label        uint16
	Smooth       float64      // mm; Gaussian smoothing of the class against everything else
	FillHoles    bool         // enclosed background becomes the class; other classes stay
	MinVolume    float64      // mm³; smaller components go
	MinVoxels    int          // components of fewer voxels go
	Largest      int          // so many components stay
	Connectivity Connectivity // of components; 0 means 26. Holes are closed against 6-connected paths (4 in slices)
}

// Check reports a rule that cannot be applied (Invalid).
func (r Rule) Check() error {
	switch {
	case r.Label == 0:
		return fault.New(fault.Invalid, "a rule for label 0: background has none")
	case r.MinVolume < 0 || math.IsNaN(r.MinVolume) || math.IsInf(r.MinVolume, 0):
		return fault.New(fault.Invalid, "label %d: a smallest volume of %g mm³", r.Label, r.MinVolume)
	case r.Smooth < 0 || math.IsNaN(r.Smooth) || math.IsInf(r.Smooth, 0):
		return fault.New(fault.Invalid, "label %d: smoothing by %g mm", r.Label, r.Smooth)
	case r.MinVoxels < 0 || r.Largest < 0:
		return fault.New(fault.Invalid, "label %d: a rule counts from 0", r.Label)
	}
	return r.connectivity().Check()
}

func (r Rule) connectivity() Connectivity {
	if r.Connectivity == 0 {
		return Corners
	}
	return r.Connectivity
}

// Apply changes the label map by the rules, one after the other. A rule frees
// voxels of its own class and takes background; it never touches other classes.
func Apply(ctx context.Context, l *imaging.LabelMap, rules ...Rule) error {
	for _, r := range rules {
		if err := r.Check(); err != nil {
			return err
		}
		if err := r.apply(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func (r Rule) apply(ctx context.Context, l *imaging.LabelMap) error {
	if r.Smooth > 0 {
		if err := smoothClass(ctx, l, r.Label, r.Smooth); err != nil {
			return err
		}
	}
	if r.FillHoles {
		if err := r.fill(ctx, l); err != nil {
			return err
		}
	}
	least := max(r.MinVoxels, MinVoxels(r.MinVolume, math.Abs(l.Affine.Det())))
	if least <= 1 && r.Largest == 0 {
		return nil
	}
	c, err := Find(ctx, l.Data, l.Size, FindOptions{Connectivity: r.connectivity(), Labels: []uint16{r.Label}})
	if err != nil {
		return err
	}
	kept := c.largest(len(c.List))
	if r.Largest > 0 {
		kept = c.largest(r.Largest)
	}
	return c.Paint(ctx, l.Data, 0, func(i int) bool { return !kept[i] || c.List[i].Voxels < least })
}

// fill closes the holes of the class, without what other classes hold.
func (r Rule) fill(ctx context.Context, l *imaging.LabelMap) error {
	b, ok := Boxes(l.Data, l.Size)[r.Label]
	if !ok {
		return nil
	}
	path := Faces
	if r.connectivity().planar() {
		path = Planar4
	}
	before := b.Crop(l.Data, l.Size)
	if err := fillHoles(ctx, l.Data, l.Size, r.Label, b, path); err != nil {
		return err
	}
	after := b.Crop(l.Data, l.Size)
	for i, v := range before {
		if v != 0 {
			after[i] = v
		}
	}
	b.paste(l.Data, l.Size, after)
	return nil
}
