package morph

import (
	"context"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/parallel"
)

// run is a stretch of one class along x: voxels from..to-1 of a row.
type run struct {
	from, to int32
	parent   int32 // an earlier run of the same component, or itself; in the end the component's place in the list
	class    uint16
}

// forest finds components by joining runs of neighbouring rows (union by the
// smallest run, paths halved). Row r holds y = r mod ny, z = r / ny.
type forest struct {
	size  [3]int
	first int     // row of rows[0]
	runs  []run   // by row, then x
	rows  []int32 // first run of every row; one more entry closes the last
}

// classTable maps every label to its class; 0 takes no part. Voxels are
// connected when their classes are equal.
type classTable [1 << 16]uint16

// grow returns the joined runs of the whole array. Blocks of rows are scanned
// and joined in parallel, then joined with each other.
func grow(ctx context.Context, data []uint16, size [3]int, class *classTable, c Connectivity) (*forest, error) {
	rows := size[1] * size[2]
	step := parallel.Step(rows)
	parts := make([]*forest, (rows+step-1)/step)
	near := c.reach()
	err := parallel.For(ctx, rows, func(ctx context.Context, from, to int) error {
		f := &forest{size: size, first: from}
		for r := from; r < to; r++ {
			if r%size[1] == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			f.scan(data[r*size[0]:(r+1)*size[0]], class)
			f.join(r, near, from, r)
		}
		f.rows = append(f.rows, int32(len(f.runs))) //nolint:gosec // scan stops before 2^31
		parts[from/step] = f
		return nil
	})
	if err != nil {
		return nil, err
	}
	f, err := concat(parts, size)
	if err != nil {
		return nil, err
	}
	for from := step; from < rows; from += step {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for r := from; r < min(from+size[1]+1, from+step, rows); r++ {
			f.join(r, near, 0, from)
		}
	}
	return f, nil
}

// scan appends the runs of one row.
func (f *forest) scan(row []uint16, class *classTable) {
	f.rows = append(f.rows, int32(len(f.runs))) //nolint:gosec // a block of 2^31 runs would need 32 GiB
	open := none                                // end of the last run of this row
	for k := 0; k < len(row); {
		l, from := row[k], k
		for k++; k < len(row) && row[k] == l; {
			k++
		}
		c := class[l]
		switch {
		case c == 0:
			continue
		case open == from && f.runs[len(f.runs)-1].class == c:
			f.runs[len(f.runs)-1].to = int32(k)
		default:
			f.runs = append(f.runs, run{int32(from), int32(k), int32(len(f.runs)), c}) //nolint:gosec // see above; an axis is shorter than 2^31
		}
		open = k
	}
}

// concat puts the runs of consecutive blocks into one forest.
func concat(parts []*forest, size [3]int) (*forest, error) {
	n := 0
	for _, p := range parts {
		n += len(p.runs)
	}
	if n > math.MaxInt32 {
		return nil, fault.New(fault.TooLarge, "the label map has too many pieces: %d runs, at most %d", n, math.MaxInt32)
	}
	out := &forest{size: size, runs: make([]run, 0, n), rows: make([]int32, 0, size[1]*size[2]+1)}
	for i, p := range parts {
		base := int32(len(out.runs)) //nolint:gosec // n fits
		for _, r := range p.rows[:len(p.rows)-1] {
			out.rows = append(out.rows, base+r)
		}
		out.runs = append(out.runs, p.runs...)
		for j := range p.runs {
			out.runs[int(base)+j].parent += base
		}
		parts[i] = nil
	}
	out.rows = append(out.rows, int32(n))
	return out, nil
}

// join connects the runs of row r with those of its earlier neighbours among
// the rows from..to-1.
func (f *forest) join(r int, near reach, from, to int) {
	ny := f.size[1]
	y, z := r%ny, r/ny
	at := func(by int32, dy, dz int) {
		if p := r + dy - dz*ny; by != none && p >= from && p < to && y+dy >= 0 && y+dy < ny && z >= dz {
			f.joinRows(r, p, by)
		}
	}
	at(near.row, -1, 0)
	at(near.plane, 0, 1)
	at(near.diagonal, -1, 1)
	at(near.diagonal, 1, 1)
}

// joinRows connects the touching runs of equal class of two rows.
func (f *forest) joinRows(row, before int, by int32) {
	a, b := f.rows[row-f.first], f.rows[before-f.first]
	endB := f.rows[before-f.first+1]
	endA := int32(len(f.runs)) //nolint:gosec // see scan
	if i := row - f.first + 1; i < len(f.rows) {
		endA = f.rows[i]
	}
	for ; a < endA; a++ {
		ra := &f.runs[a]
		for b < endB && f.runs[b].to+by <= ra.from {
			b++ // ends before this run and all later ones
		}
		for c := b; c < endB && f.runs[c].from < ra.to+by; c++ {
			if f.runs[c].class == ra.class {
				f.union(a, c)
			}
		}
	}
}

func (f *forest) find(i int32) int32 {
	for f.runs[i].parent != i {
		f.runs[i].parent = f.runs[f.runs[i].parent].parent
		i = f.runs[i].parent
	}
	return i
}

func (f *forest) union(a, b int32) {
	ra, rb := f.find(a), f.find(b)
	if ra < rb {
		ra, rb = rb, ra
	}
	f.runs[ra].parent = rb
}
