package apps

import (
	"github.com/voxloop/voxloop/internal/imaging"
)

// runs is a label map in little memory: values and how often each comes in a
// row, voxels in their order.
type runs struct {
	grid   imaging.Grid
	values []uint16
	counts []uint32
}

func runsOf(l *imaging.LabelMap) *runs {
	r := &runs{grid: l.Grid}
	for i := 0; i < len(l.Data); {
		k := i
		for k < len(l.Data) && l.Data[k] == l.Data[i] && k-i < 1<<31 {
			k++
		}
		r.values, r.counts = append(r.values, l.Data[i]), append(r.counts, uint32(k-i))
		i = k
	}
	return r
}

func (r *runs) labels() *imaging.LabelMap {
	l := imaging.NewLabelMap(r.grid)
	i := 0
	for k, v := range r.values {
		n := int(r.counts[k])
		for j := range l.Data[i : i+n] {
			l.Data[i+j] = v
		}
		i += n
	}
	return l
}

func (r *runs) bytes() int { return 6 * len(r.values) }
