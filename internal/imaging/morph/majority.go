package morph

import (
	"context"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/parallel"
)

// maxRadius bounds the neighbourhood of Majority: 9³ voxels.
const maxRadius = 4

// Majority gives every voxel the most frequent label among the (2·radius+1)³
// voxels around it that lie in the volume. Where several are equally frequent
// the voxel keeps its own label if it is one of them, else takes the smallest.
// radius is 1 to 4 voxels (Invalid otherwise).
func Majority(ctx context.Context, l *imaging.LabelMap, radius int) (*imaging.LabelMap, error) {
	if radius < 1 || radius > maxRadius {
		return nil, fault.New(fault.Invalid, "a majority over a radius of %d voxels; it is 1 to %d", radius, maxRadius)
	}
	if err := checkSize(len(l.Data), l.Size); err != nil {
		return nil, err
	}
	out := imaging.NewLabelMap(l.Grid)
	rows := l.Size[1] * l.Size[2]
	err := parallel.For(ctx, rows, func(ctx context.Context, from, to int) error {
		var v votes
		for row := from; row < to; row++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			for x := range l.Size[0] {
				at := row*l.Size[0] + x
				out.Data[at] = v.around(l, x, row%l.Size[1], row/l.Size[1], radius)
			}
		}
		return nil
	})
	return out, err
}

// votes counts the labels of a neighbourhood; there are few.
type votes struct {
	labels []uint16
	counts []int
}

func (v *votes) around(l *imaging.LabelMap, x, y, z, radius int) uint16 {
	own := l.Data[x+l.Size[0]*(y+l.Size[1]*z)]
	v.labels, v.counts = append(v.labels[:0], own), append(v.counts[:0], 0)
	x0, x1 := max(x-radius, 0), min(x+radius, l.Size[0]-1)
	for k := max(z-radius, 0); k <= min(z+radius, l.Size[2]-1); k++ {
		for j := max(y-radius, 0); j <= min(y+radius, l.Size[1]-1); j++ {
			base := l.Size[0] * (j + l.Size[1]*k)
			for _, label := range l.Data[base+x0 : base+x1+1] {
				v.add(label)
			}
		}
	}
	best := 0
	for i := 1; i < len(v.labels); i++ {
		more := v.counts[i] > v.counts[best]
		if more || best > 0 && v.counts[i] == v.counts[best] && v.labels[i] < v.labels[best] {
			best = i
		}
	}
	return v.labels[best]
}

func (v *votes) add(label uint16) {
	for i, l := range v.labels {
		if l == label {
			v.counts[i]++
			return
		}
	}
	v.labels, v.counts = append(v.labels, label), append(v.counts, 1)
}
