package augment

import "math"

// LowResolution simulates a coarser scan: the channel is reduced to zoom times
// its size, rounded, and interpolated linearly back. Voxels are areas here:
// coarse voxel j of m covers (j, j+1)·n/m. It shows the voxel in its middle
// (nnU-Net's scheme), or with average the mean of what it covers, as a
// scanner's would.
type LowResolution struct {
	Chance  `yaml:",inline"`
	Zoom    Range `yaml:"zoom"`     // of the size along an axis, at most 1
	PerAxis bool  `yaml:"per_axis"` // a zoom for every axis, else one for all
	Average bool  `yaml:"average"`
}

func (t *LowResolution) validate() error {
	return firstError(t.check(), t.Zoom.check("zoom", 0.01, 1), t.Zoom.checkEffect("zoom", 1))
}

func (t *LowResolution) apply(r *run) error {
	return r.channels(t.Chance, func(_ int, v []float32, d *draws) error {
		zoom := [3]float64{d.in(t.Zoom), d.in(t.Zoom), d.in(t.Zoom)}
		if !t.PerAxis {
			zoom[1], zoom[2] = zoom[0], zoom[0]
		}
		return r.alternate(v, func(dst, src []float32, axis int) (bool, error) {
			n := r.p.Size[axis]
			coarse := max(1, int(math.Round(zoom[axis]*float64(n))))
			if coarse == n {
				return false, nil
			}
			return true, r.gatherAxis(dst, src, axis, coarseTaps(n, coarse, t.Average))
		})
	})
}

// coarseTaps returns, for every voxel of an axis, the voxels that it is made of
// after reducing n voxels to coarse ones and interpolating back. A tap's shift
// is the place of its voxel.
func coarseTaps(n, coarse int, average bool) [][]tap {
	ratio := float64(n) / float64(coarse)
	taps := make([][]tap, n)
	for i := range taps {
		at := min(max((float64(i)+0.5)/ratio-0.5, 0), float64(coarse-1))
		j := int(at)
		w := at - float64(j)
		taps[i] = addCoarse(taps[i], n, float64(j)*ratio, ratio, 1-w, average)
		if w > 0 {
			taps[i] = addCoarse(taps[i], n, float64(j+1)*ratio, ratio, w, average)
		}
	}
	return taps
}

// addCoarse adds a coarse voxel that covers [from, from+width).
func addCoarse(taps []tap, n int, from, width, weight float64, average bool) []tap {
	if !average {
		return append(taps, tap{min(int(from+width/2), n-1), float32(weight)})
	}
	for k := int(from); k < n && float64(k) < from+width; k++ {
		part := min(float64(k+1), from+width) - max(float64(k), from)
		if part > 1e-9 {
			taps = append(taps, tap{k, float32(weight * part / width)})
		}
	}
	return taps
}
