// Package augment changes training patches at random, and images in graded
// ways for measuring robustness.
//
// Everything random is a function of (seed, case, step, place in the recipe,
// channel, voxel): a counter-based generator is asked for the words it needs,
// nothing is drawn in sequence. So equal keys give equal voxels at any number
// of workers and in any order of patches, on one kind of processor (another
// one may round fused products differently).
//
// Patches are in the network's order: channels × X × Y × Z, the last axis
// fastest: index = z + nz*(y + ny*(x + nx*channel)). Label patches are one
// channel in the same order. Lengths are in voxels and intensities in the
// patch's own unit unless a field says otherwise. docs/augmentation.md lists
// every transform with its parameters, formula and source.
package augment

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/voxloop/voxloop/internal/fault"
)

// Patch is an image tensor with, optionally, its labels.
type Patch struct {
	Channels int
	Size     [3]int     // voxels along x, y, z
	Spacing  [3]float64 // mm along x, y, z; all 0: cubes of 1 mm
	Data     []float32  // [Channels, X, Y, Z]
	Labels   []uint16   // [X, Y, Z]; nil: none
}

// NewPatch returns a patch of zeros, with labels where asked for.
func NewPatch(channels int, size [3]int, labels bool) *Patch {
	p := &Patch{Channels: channels, Size: size}
	p.Data = make([]float32, channels*p.Voxels())
	if labels {
		p.Labels = make([]uint16, p.Voxels())
	}
	return p
}

// Voxels returns the number of voxels of one channel.
func (p *Patch) Voxels() int { return p.Size[0] * p.Size[1] * p.Size[2] }

// Channel returns the voxels of channel c.
func (p *Patch) Channel(c int) []float32 {
	n := p.Voxels()
	return p.Data[c*n : (c+1)*n : (c+1)*n]
}

// spacing returns the voxel size, cubes of 1 mm where it is not set.
func (p *Patch) spacing() [3]float64 {
	if p.Spacing == [3]float64{} {
		return [3]float64{1, 1, 1}
	}
	return p.Spacing
}

// maxSize bounds one axis: coordinates are kept with 32 bits before the point.
const maxSize = 1 << 20

func (p *Patch) validate(what string) error {
	if p.Channels < 1 || p.Channels > maxChannels {
		return fault.New(fault.Invalid, "the %s has %d channels, not 1 to %d", what, p.Channels, maxChannels)
	}
	n := int64(1)
	for _, s := range p.Size {
		if s < 1 || s > maxSize || n > math.MaxInt64/maxSize/maxChannels {
			return fault.New(fault.Invalid, "the %s has size %v; every axis is 1 to %d voxels", what, p.Size, maxSize)
		}
		n *= int64(s)
	}
	if int64(len(p.Data)) != n*int64(p.Channels) || (p.Labels != nil && int64(len(p.Labels)) != n) {
		return fault.New(fault.Invalid, "the %s of %d channels and size %v has storage for %d voxels and %d labels",
			what, p.Channels, p.Size, len(p.Data), len(p.Labels))
	}
	for _, s := range p.spacing() {
		if !(s > 0) || math.IsInf(s, 0) {
			return fault.New(fault.Invalid, "the %s has spacing %v mm; every axis must be positive", what, p.Spacing)
		}
	}
	return nil
}

// Options tunes an Augmenter. The zero value is ready for use.
type Options struct {
	Workers int // goroutines per patch; 0: GOMAXPROCS. The voxels do not depend on it
}

// Augmenter applies a recipe. It is safe for many goroutines: a trainer runs
// one patch per goroutine with Workers 1, or a patch at a time on all cores.
type Augmenter struct {
	recipe  Recipe
	steps   []Transform
	workers int
	spare   sync.Pool // of *spare, per patch in work
	rows    sync.Pool // of *rowBuffer, per worker
}

// New checks the recipe (see Recipe.Validate) and returns its augmenter.
func New(r Recipe, o Options) (*Augmenter, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if o.Workers < 0 {
		return nil, fault.New(fault.Invalid, "%d workers", o.Workers)
	}
	a := &Augmenter{recipe: r, workers: o.Workers}
	if a.workers == 0 {
		a.workers = runtime.GOMAXPROCS(0)
	}
	for _, s := range r.Transforms {
		_, t := s.chosen()
		a.steps = append(a.steps, t)
	}
	a.spare.New = func() any { return new(spare) }
	a.rows.New = func() any { return new(rowBuffer) }
	return a, nil
}

// Apply changes p in place. An error leaves p in an undefined state.
func (a *Augmenter) Apply(ctx context.Context, key Key, p *Patch) error {
	if err := p.validate("patch"); err != nil {
		return err
	}
	r := a.begin(ctx, key, p)
	defer a.end(r)
	return r.steps(a.steps, 0)
}

// Sample cuts dst out of src and augments it: voxel (0, 0, 0) of dst is voxel
// origin of src, which may lie outside. A spatial transform that comes first in
// the recipe reads src itself, so voxels that it brings into the patch are real
// ones. Beyond src the recipe's padding counts. src is only read. Both must
// have the same channels, and src has labels when dst does (Invalid). dst takes
// over src's spacing.
func (a *Augmenter) Sample(ctx context.Context, key Key, src *Patch, origin [3]int, dst *Patch) error {
	if err := src.validate("source"); err != nil {
		return err
	}
	dst.Spacing = src.Spacing
	if err := dst.validate("patch"); err != nil {
		return err
	}
	if src.Channels != dst.Channels || (src.Labels == nil && dst.Labels != nil) {
		return fault.New(fault.Invalid, "a patch of %d channels (labels: %t) cannot be cut out of a source of %d channels (labels: %t)",
			dst.Channels, dst.Labels != nil, src.Channels, src.Labels != nil)
	}
	for _, o := range origin {
		if o < -maxSize || o > maxSize {
			return fault.New(fault.Invalid, "the origin %v is more than %d voxels away", origin, maxSize)
		}
	}
	r := a.begin(ctx, key, dst)
	defer a.end(r)
	first, done := 0, false
	if len(a.steps) > 0 {
		if s, ok := a.steps[0].(*Spatial); ok {
			var err error
			if done, err = s.sample(r, src, origin); err != nil {
				return err
			}
			first = 1
		}
	}
	if !done {
		if err := r.crop(src, origin); err != nil {
			return err
		}
	}
	return r.steps(a.steps, first)
}

// Transform is one kind of change, with its parameters.
type Transform interface {
	// validate reports parameters that are out of range or have no effect.
	validate() error
	// apply changes the patch of r, or leaves it when the draw says so.
	apply(r *run) error
}

// steps applies the transforms from number first on.
func (r *run) steps(ts []Transform, first int) error {
	for i := first; i < len(ts); i++ {
		if err := r.ctx.Err(); err != nil {
			return fault.Wrap(fault.Canceled, err, "augmentation was stopped")
		}
		r.place = i
		if err := ts[i].apply(r); err != nil {
			return fmt.Errorf("transform %d: %w", i+1, err)
		}
	}
	return nil
}
