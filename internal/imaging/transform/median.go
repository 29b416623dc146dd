package transform

import (
	"context"

	"github.com/voxloop/voxloop/internal/fault"
)

// Median returns the image with every voxel replaced by the median of the cube
// of 2·radius+1 voxels around it; the outermost voxels go on beyond the edge.
//
// Source: MONAI MedianSmooth.
func (m *Image) Median(ctx context.Context, radius int) (*Image, error) {
	if radius < 0 || radius > 15 {
		return nil, fault.New(fault.Invalid, "a median over %d voxels to either side is not in 0 to 15", radius)
	}
	return m.perChannel(m.Layout, func(dst, src []float32) error {
		return Parallel(ctx, m.Size[0]*m.Size[1], func(ctx context.Context, from, to int) error {
			side := 2*radius + 1
			w := window{side: side, rows: make([][]float32, side*side), values: make([]float32, side*side*side)}
			for r := from; r < to; r++ {
				if err := ctx.Err(); err != nil {
					return err
				}
				w.gather(src, m.Size, r/m.Size[1], r%m.Size[1])
				row := dst[r*m.Size[2] : (r+1)*m.Size[2]]
				for k := range row {
					row[k] = w.median(k)
				}
			}
			return nil
		})
	})
}

// window is the neighbourhood of one row.
type window struct {
	side   int
	rows   [][]float32
	values []float32
}

// gather finds the rows around row (i, j).
func (w *window) gather(src []float32, size [3]int, i, j int) {
	radius := w.side / 2
	for n := range w.rows {
		a := min(max(i+n/w.side-radius, 0), size[0]-1)
		b := min(max(j+n%w.side-radius, 0), size[1]-1)
		w.rows[n] = src[(a*size[1]+b)*size[2]:][:size[2]]
	}
}

// median returns the median around element k of the row.
func (w *window) median(k int) float32 {
	n, radius := 0, w.side/2
	for _, row := range w.rows {
		for c := k - radius; c <= k+radius; c++ {
			w.values[n] = row[min(max(c, 0), len(row)-1)]
			n++
		}
	}
	return selectRank(w.values, n/2)
}

// selectRank returns the value that would stand at index rank after sorting,
// reordering v (Hoare's quickselect, the middle as pivot).
func selectRank(v []float32, rank int) float32 {
	lo, hi := 0, len(v)-1
	for lo < hi {
		pivot := v[(lo+hi)/2]
		i, j := lo, hi
		for i <= j {
			for v[i] < pivot {
				i++
			}
			for v[j] > pivot {
				j--
			}
			if i <= j {
				v[i], v[j] = v[j], v[i]
				i++
				j--
			}
		}
		switch {
		case rank <= j:
			hi = j
		case rank >= i:
			lo = i
		default:
			return v[rank]
		}
	}
	return v[rank]
}
