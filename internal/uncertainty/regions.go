package uncertainty

import (
	"cmp"
	"context"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/morph"
)

// Region is a connected piece of an image in which a map is high.
type Region struct {
	Min, Max [3]int  // along the array axes, both ends included
	Voxels   int     //
	Volume   float64 // mm³
	Mean     float64 // of the map
	Sum      float64 // of the map: what regions are ordered by
	Peak     [3]int  // where the map is largest
}

// RegionOptions say what a region is.
type RegionOptions struct {
	Above     float64 // voxels with a larger value belong to regions
	MinVolume float64 // mm³; smaller regions are left out
	Most      int     // regions returned; 0: all
}

// Regions returns the connected regions (26 neighbours) of a map over an array
// of the given size, the most uncertain in total first. voxel is the volume of
// a voxel in mm³.
func Regions(ctx context.Context, m []float32, size [3]int, voxel float64, o RegionOptions) ([]Region, error) {
	if n := size[0] * size[1] * size[2]; n != len(m) || n == 0 {
		return nil, fault.New(fault.Internal, "a map of %d voxels for a size of %v", len(m), size)
	}
	mask := make([]uint16, len(m))
	for i, v := range m {
		if float64(v) > o.Above {
			mask[i] = 1
		}
	}
	found, err := morph.Find(ctx, mask, [3]int{size[2], size[1], size[0]}, morph.FindOptions{Connectivity: morph.Corners})
	if err != nil {
		return nil, err
	}
	numbers, err := found.Map(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Region, len(found.List))
	peaks := make([]float32, len(out))
	for i, c := range found.List {
		out[i] = Region{Min: reversed(c.Min), Max: reversed(c.Max), Voxels: c.Voxels, Volume: float64(c.Voxels) * voxel}
		peaks[i] = -1
	}
	for v, n := range numbers {
		if n == 0 {
			continue
		}
		r := &out[n-1]
		r.Sum += float64(m[v])
		if m[v] > peaks[n-1] {
			peaks[n-1] = m[v]
			r.Peak = [3]int{v / (size[1] * size[2]), v / size[2] % size[1], v % size[2]}
		}
	}
	for i := range out {
		out[i].Mean = out[i].Sum / float64(out[i].Voxels)
	}
	out = slices.DeleteFunc(out, func(r Region) bool { return r.Volume < o.MinVolume })
	slices.SortStableFunc(out, func(a, b Region) int { return cmp.Compare(b.Sum, a.Sum) })
	if o.Most > 0 && len(out) > o.Most {
		out = out[:o.Most]
	}
	return out, nil
}

func reversed(v [3]int) [3]int { return [3]int{v[2], v[1], v[0]} }
