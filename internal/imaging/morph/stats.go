package morph

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/parallel"
)

// Stats describes where the voxels of one label are.
type Stats struct {
	Label    uint16
	Voxels   int
	Volume   float64    // mm³
	Box      Box        // voxel indices
	Centroid [3]float64 // mean voxel index
	RAS      [3]float64 // the centroid in millimetres
}

// ML returns the volume in millilitres.
func (s Stats) ML() float64 { return s.Volume / 1000 }

// Describe returns the statistics of every label that occurs, 0 included, in
// rising order. The volume of a voxel is |det| of the affine's 3×3 part.
func Describe(ctx context.Context, l *imaging.LabelMap) ([]Stats, error) {
	if err := checkSize(len(l.Data), l.Size); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	all := make(map[uint16]*moments)
	err := parallel.For(ctx, l.Size[2], func(ctx context.Context, from, to int) error {
		part := make(map[uint16]*moments)
		for z := from; z < to; z++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			gather(l, z, part)
		}
		mu.Lock()
		defer mu.Unlock()
		for label, m := range part {
			m.merge(all[label])
			all[label] = m
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]Stats, 0, len(all))
	for _, label := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[label].stats(label, l.Affine))
	}
	return out, nil
}

// moments are sums over the voxels of one label; they are whole numbers, so
// the order of adding does not matter.
type moments struct {
	n   int
	sum [3]int
	box Box
}

func (m *moments) merge(o *moments) {
	if o == nil {
		return
	}
	m.n += o.n
	for a := range 3 {
		m.sum[a] += o.sum[a]
	}
	m.box = m.box.Union(o.box)
}

// gather adds the runs of one slice.
func gather(l *imaging.LabelMap, z int, to map[uint16]*moments) {
	for y := range l.Size[1] {
		at := l.Size[0] * (y + l.Size[1]*z)
		row := l.Data[at : at+l.Size[0]]
		for k := 0; k < len(row); {
			label, from := row[k], k
			for k++; k < len(row) && row[k] == label; {
				k++
			}
			n := k - from
			piece := &moments{n, [3]int{n * (from + k - 1) / 2, n * y, n * z}, Box{[3]int{from, y, z}, [3]int{k - 1, y, z}}}
			if m := to[label]; m != nil {
				m.merge(piece)
			} else {
				to[label] = piece
			}
		}
	}
}

func (m *moments) stats(label uint16, a imaging.Affine) Stats {
	s := Stats{Label: label, Voxels: m.n, Volume: float64(m.n) * math.Abs(a.Det()), Box: m.box}
	for i := range 3 {
		s.Centroid[i] = float64(m.sum[i]) / float64(m.n)
	}
	s.RAS = a.Apply(s.Centroid)
	return s
}
