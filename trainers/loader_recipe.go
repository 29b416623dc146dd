package trainers

import (
	"slices"

	"github.com/voxloop/voxloop/internal/imaging/augment"
)

// inSlices returns a recipe for the patches of a 2-D model, whose first axis
// runs across the slices: turns that would tilt a slice are left out, as is
// mirroring along an axis of one voxel. What is left of the recipe is the same.
func inSlices(r augment.Recipe) augment.Recipe {
	r.Transforms = slices.Clone(r.Transforms)
	for i := range r.Transforms {
		s := &r.Transforms[i]
		if s.Spatial != nil && s.Spatial.Rotate != nil {
			spatial, rotate := *s.Spatial, *s.Spatial.Rotate
			rotate.Y, rotate.Z = augment.Range{}, augment.Range{}
			spatial.Rotate = &rotate
			if rotate.X == (augment.Range{}) {
				spatial.Rotate = nil
			}
			s.Spatial = &spatial
		}
		if s.Flip != nil {
			flip := *s.Flip
			flip.X = 0
			s.Flip = &flip
		}
	}
	r.Transforms = slices.DeleteFunc(r.Transforms, func(s augment.Step) bool {
		return s.Spatial != nil && *s.Spatial == (augment.Spatial{}) || s.Flip != nil && *s.Flip == (augment.Flip{})
	})
	return r
}
