package morph

import (
	"context"
	"maps"
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/parallel"
)

// truncate is where the Gaussian ends, in standard deviations.
const truncate = 4

// Gaussian smooths the borders of all labels together: the membership of each
// label (1 inside, 0 outside) is blurred by a Gaussian of sigma mm, and every
// voxel takes the label with the largest blurred membership, the smallest label
// among equals. The kernel is sampled, cut at 4 sigma, and renormalised where it
// leaves the volume. sigma must be above 0 (Invalid).
func Gaussian(ctx context.Context, l *imaging.LabelMap, sigma float64) (*imaging.LabelMap, error) {
	if !(sigma > 0) || math.IsInf(sigma, 0) {
		return nil, fault.New(fault.Invalid, "smoothing by %g mm", sigma)
	}
	if err := checkSize(len(l.Data), l.Size); err != nil {
		return nil, err
	}
	k := kernels(sigma, l.Spacing())
	boxes := Boxes(l.Data, l.Size)
	out := imaging.NewLabelMap(l.Grid)
	best := make([]float32, len(l.Data))
	for _, label := range slices.Sorted(maps.Keys(boxes)) {
		b := boxes[label].Grow(k.radius(), l.Size)
		blurred, err := k.membership(ctx, l, label, b)
		if err != nil {
			return nil, err
		}
		b.each(l.Size, func(at int) {
			if blurred[0] > best[at] {
				best[at], out.Data[at] = blurred[0], label
			}
			blurred = blurred[1:]
		})
	}
	return out, nil
}

// smoothClass blurs one label against everything else: voxels above one half
// become the label where they were background, those below lose it.
func smoothClass(ctx context.Context, l *imaging.LabelMap, label uint16, sigma float64) error {
	box, ok := Boxes(l.Data, l.Size)[label]
	if !ok {
		return nil
	}
	k := kernels(sigma, l.Spacing())
	b := box.Grow(k.radius(), l.Size)
	blurred, err := k.membership(ctx, l, label, b)
	if err != nil {
		return err
	}
	b.each(l.Size, func(at int) {
		switch in := blurred[0] > 0.5; {
		case in && l.Data[at] == 0:
			l.Data[at] = label
		case !in && l.Data[at] == label:
			l.Data[at] = 0
		}
		blurred = blurred[1:]
	})
	return nil
}

// each calls fn with the index of every voxel of the box, x fastest.
func (b Box) each(size [3]int, fn func(at int)) {
	n := b.Size()
	for z := range n[2] {
		for y := range n[1] {
			from := b.row(y, z, size)
			for at := from; at < from+n[0]; at++ {
				fn(at)
			}
		}
	}
}

// kernel holds the half of a sampled Gaussian per axis: weight at distance 0,
// 1, … voxels.
type kernel [3][]float64

func kernels(sigma float64, spacing [3]float64) kernel {
	var k kernel
	for a, s := range spacing {
		n := int(min(truncate*sigma/s, 1<<12))
		for i := range n + 1 {
			d := float64(i) * s / sigma
			k[a] = append(k[a], math.Exp(-d*d/2))
		}
	}
	return k
}

func (k kernel) radius() [3]int { return [3]int{len(k[0]) - 1, len(k[1]) - 1, len(k[2]) - 1} }

// membership returns the blurred membership of a label within b, x fastest.
func (k kernel) membership(ctx context.Context, l *imaging.LabelMap, label uint16, b Box) ([]float32, error) {
	n := b.Size()
	v := make([]float32, 0, n[0]*n[1]*n[2])
	b.each(l.Size, func(at int) {
		var in float32
		if l.Data[at] == label {
			in = 1
		}
		v = append(v, in)
	})
	stride := [3]int{1, n[0], n[0] * n[1]}
	for a := range 3 {
		edge := [2]bool{b.Min[a] == 0, b.Max[a] == l.Size[a]-1}
		u, w := (a+1)%3, (a+2)%3
		err := parallel.For(ctx, n[u]*n[w], func(ctx context.Context, from, to int) error {
			line := make([]float64, n[a])
			for i := from; i < to; i++ {
				if i&63 == 0 && ctx.Err() != nil {
					return ctx.Err()
				}
				blur(v[i%n[u]*stride[u]+i/n[u]*stride[w]:], stride[a], line, k[a], edge)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return v, nil
}

// blur convolves one line in place. Beyond an end that is the volume's edge
// there is nothing to weigh; beyond another end membership is 0.
func blur(v []float32, stride int, line, k []float64, edge [2]bool) {
	n := len(line)
	for i := range line {
		line[i] = float64(v[i*stride])
	}
	for i := range line {
		sum, weight := k[0]*line[i], k[0]
		for d := 1; d < len(k); d++ {
			if i-d >= 0 {
				sum += k[d] * line[i-d]
			}
			if i+d < n {
				sum += k[d] * line[i+d]
			}
			if i-d >= 0 || !edge[0] {
				weight += k[d]
			}
			if i+d < n || !edge[1] {
				weight += k[d]
			}
		}
		v[i*stride] = float32(sum / weight)
	}
}
