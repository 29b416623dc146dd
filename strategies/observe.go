package strategies

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/uncertainty"
)

// Look is what Observe makes an observation of.
type Look struct {
	Image, Model, Version string
	Passes                Passes
	Maps                  *uncertainty.Maps
	Size                  [3]int         // of the maps' array, last axis fastest
	Voxel                 [3]float64     // mm along the array axes
	ToImage               imaging.Affine // array index → voxel of the image's file
	World                 imaging.Affine // voxel of the image's file → RAS mm; the zero value: unknown
	Features              []float32      // pooled bottleneck features; may be empty
	Fingerprint           []float32      // see Fingerprint; may be empty
	Corrupt               string         // as Fingerprint says
	Took                  time.Duration
	Time                  time.Time // zero means the present moment
}

// ObserveOptions say how maps become numbers. The zero value is ready for use.
type ObserveOptions struct {
	Aggregate uncertainty.AggregateOptions // how a map becomes a score
	Above     float64                      // nats of entropy above which a voxel is uncertain; 0 means 0.35, half of ln 2
	MinVolume float64                      // mm³ of the smallest region; 0 means 20
	Regions   int                          // regions kept; 0 means 5, negative none
	Features  int                          // dimensions kept of longer features, by a random projection; 0 means 64
}

// Aggregation names the aggregation with its parameters. Scores of different
// aggregations cannot be compared: see Options.Aggregation.
func (o ObserveOptions) Aggregation() string {
	a := o.Aggregate
	switch a.How {
	case uncertainty.TopShare:
		return fmt.Sprintf("top %g", orDefault(a.Top, 0.01))
	case uncertainty.Patch:
		var p [3]int
		for d, n := range a.Patch {
			p[d] = max(n, 0)
			if n <= 0 {
				p[d] = 16
			}
		}
		return fmt.Sprintf("patch %dx%dx%d", p[0], p[1], p[2])
	case uncertainty.PerClass, uncertainty.Foreground, "":
		name := a.How
		if name == "" {
			name = uncertainty.Foreground
		}
		if a.Border > 1 {
			return fmt.Sprintf("%s border %d", name, a.Border)
		}
		return string(name)
	default:
		return string(a.How)
	}
}

func orDefault[T int | float64](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

// Observe sums a look up. Maps that are not finite give an observation without
// scores that is flagged corrupt.
func Observe(ctx context.Context, l Look, o ObserveOptions) (*Observation, error) {
	if l.Time.IsZero() {
		l.Time = time.Now()
	}
	ob := &Observation{
		Image: l.Image, Model: l.Model, Version: l.Version, Passes: l.Passes, Aggregation: o.Aggregation(),
		Features: project(l.Features, orDefault(o.Features, 64)), Fingerprint: l.Fingerprint, Corrupt: l.Corrupt,
		Seconds: l.Took.Seconds(), Time: l.Time.Unix(),
	}
	if l.Maps == nil {
		return nil, fault.New(fault.Internal, "an observation of %s without maps", l.Image)
	}
	n := l.Size[0] * l.Size[1] * l.Size[2]
	if n == 0 || n != len(l.Maps.Labels) {
		return nil, fault.New(fault.Internal, "maps of %d voxels for a size of %v", len(l.Maps.Labels), l.Size)
	}
	ob.Count = l.Maps.Passes
	if !l.Maps.Finite {
		ob.Features = nil
		if ob.Corrupt == "" {
			ob.Corrupt = "the model's output is not finite"
		}
		return ob, nil
	}
	if err := ob.score(l, o); err != nil {
		return nil, err
	}
	ob.classes(l)
	return ob, ob.regions(ctx, l, o)
}

// score aggregates the maps that the passes give.
func (ob *Observation) score(l Look, o ObserveOptions) error {
	maps := map[Measure][]float32{Entropy: l.Maps.Entropy, Margin: l.Maps.Margin}
	ob.Scores = make(map[Measure]float64, 5)
	if l.Maps.Passes > 1 {
		maps[Variance] = l.Maps.Variance
		if l.Passes == Augmented {
			maps[JS] = l.Maps.Information
		} else {
			maps[BALD] = l.Maps.Information
		}
		ob.Scores[Dice] = l.Maps.Disagreement()
	}
	for m, v := range maps {
		score, fell, err := uncertainty.Aggregate(v, l.Maps.Labels, l.Size, o.Aggregate)
		if err != nil {
			return err
		}
		ob.Scores[m] = score
		ob.FellBack = fell
	}
	return nil
}

// classes notes the foreground classes that are predicted.
func (ob *Observation) classes(l Look) {
	means, voxels := uncertainty.ClassMeans(l.Maps.Entropy, l.Maps.Labels, len(l.Maps.Mean))
	foreground := 0
	for c := 1; c < len(voxels); c++ {
		if voxels[c] > 0 {
			ob.Classes = append(ob.Classes, ClassScore{Class: c, Score: means[c], Voxels: voxels[c]})
			foreground += voxels[c]
		}
	}
	ob.Foreground = float64(foreground) / float64(len(l.Maps.Labels))
	ob.Predicted = float64(foreground) * l.Voxel[0] * l.Voxel[1] * l.Voxel[2]
}

// regions finds the uncertain regions and brings them into the image's voxels.
func (ob *Observation) regions(ctx context.Context, l Look, o ObserveOptions) error {
	above, voxel := orDefault(o.Above, 0.35), l.Voxel[0]*l.Voxel[1]*l.Voxel[2]
	for _, v := range l.Maps.Entropy {
		if float64(v) > above {
			ob.Uncertain += voxel
		}
	}
	most := orDefault(o.Regions, 5)
	if most < 0 || ob.Uncertain == 0 {
		return nil
	}
	found, err := uncertainty.Regions(ctx, l.Maps.Entropy, l.Size, voxel,
		uncertainty.RegionOptions{Above: above, MinVolume: orDefault(o.MinVolume, 20), Most: most})
	if err != nil {
		return err
	}
	for _, r := range found {
		ob.Regions = append(ob.Regions, toImage(r, l))
	}
	return nil
}

// toImage maps a region of the array to the voxels of the image's file: the
// box around its mapped corners.
func toImage(r uncertainty.Region, l Look) Region {
	lo := [3]float64{math.Inf(1), math.Inf(1), math.Inf(1)}
	hi := [3]float64{math.Inf(-1), math.Inf(-1), math.Inf(-1)}
	for corner := range 8 {
		var p [3]float64
		for d := range p {
			if p[d] = float64(r.Min[d]); corner>>d&1 == 1 {
				p[d] = float64(r.Max[d])
			}
		}
		for d, v := range l.ToImage.Apply(p) {
			lo[d], hi[d] = min(lo[d], v), max(hi[d], v)
		}
	}
	peak := l.ToImage.Apply([3]float64{float64(r.Peak[0]), float64(r.Peak[1]), float64(r.Peak[2])})
	out := Region{Volume: r.Volume, Mean: r.Mean}
	step := imageVoxel(l)
	for d := range 3 {
		// A corner between two voxels belongs to the outer one; rounding errors
		// of the affine do not move it.
		out.Min[d], out.Max[d] = int(math.Floor(lo[d]+1e-3)), int(math.Ceil(hi[d]-1e-3))
		out.Peak[d] = min(max(int(math.Round(peak[d])), out.Min[d]), out.Max[d])
		out.Size[d] = float64(out.Max[d]-out.Min[d]+1) * step[d]
	}
	if l.World != (imaging.Affine{}) {
		w := l.World.Apply(peak)
		out.World = &w
	}
	return out
}

// imageVoxel returns the size in mm of the image's voxels along i, j, k.
func imageVoxel(l Look) [3]float64 {
	if l.World != (imaging.Affine{}) {
		return l.World.Spacing()
	}
	// A step of one image voxel is a step of the inverse's column in the array.
	inv, ok := l.ToImage.Inverse()
	if !ok {
		return l.Voxel
	}
	var mm [3]float64
	for d := range mm {
		mm[d] = math.Hypot(math.Hypot(inv[0][d]*l.Voxel[0], inv[1][d]*l.Voxel[1]), inv[2][d]*l.Voxel[2])
	}
	return mm
}

func finite(v []float32) bool {
	for _, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return false
		}
	}
	return true
}
