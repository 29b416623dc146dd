package design

import "slices"

// smallestFeature is the size in voxels that an axis keeps at least at the
// bottleneck.
const smallestFeature = 4

// topology is how often, and in which order, a network halves its axes.
type topology struct {
	kernels, strides [][]int // per stage
	size             []int   // the patch, padded to what the strides divide
}

// newTopology chooses strides and kernels for a patch by nnU-Net's rules: an
// axis is halved as long as it keeps smallestFeature voxels and its voxels are
// not twice as thick as those of the finest axis; an axis gets a kernel of 3
// from the stage on in which its voxels are less than twice as thick.
func newTopology(size []int, spacing []float64) topology {
	n := len(size)
	now, mm, kernel := slices.Clone(size), slices.Clone(spacing), ones(n)
	t := topology{strides: [][]int{ones(n)}, size: slices.Clone(size)}
	for {
		halve := axesToHalve(now, mm)
		widen(kernel, mm)
		if len(halve) == 0 {
			break
		}
		t.kernels = append(t.kernels, slices.Clone(kernel))
		stride := ones(n)
		for _, k := range halve {
			stride[k] = 2
			now[k] = (now[k] + 1) / 2
			mm[k] *= 2
		}
		t.strides = append(t.strides, stride)
	}
	last := slices.Clone(kernel)
	for k := range last {
		if now[k] > 1 {
			last[k] = 3 // the bottleneck sees all axes
		}
	}
	t.kernels = append(t.kernels, last)
	for k, d := range t.multiple() {
		t.size[k] = (size[k] + d - 1) / d * d
	}
	return t
}

func axesToHalve(size []int, mm []float64) []int {
	var can []int
	finest := 0.0
	for k, n := range size {
		if n >= 2*smallestFeature {
			can = append(can, k)
			if finest == 0 || mm[k] < finest {
				finest = mm[k]
			}
		}
	}
	can = slices.DeleteFunc(can, func(k int) bool { return mm[k] >= 2*finest })
	if len(can) == 1 && size[can[0]] < 3*smallestFeature {
		return nil
	}
	return can
}

// widen gives axes of nearly the finest voxels a kernel of 3, for good.
func widen(kernel []int, mm []float64) {
	for k := range kernel {
		if mm[k] < 2*slices.Min(mm) {
			kernel[k] = 3
		}
	}
}

// multiple is the product of the strides per axis.
func (t topology) multiple() []int {
	m := ones(len(t.size))
	for _, s := range t.strides {
		for k := range m {
			m[k] *= s[k]
		}
	}
	return m
}
