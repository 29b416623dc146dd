package transform

// run is a stretch of equal class along the fastest axis: elements from..to-1.
type run struct {
	from, to int
	class    uint32
	parent   int32
}

// forest finds connected components by joining runs of neighbouring rows
// (union by smallest run, paths halved).
type forest struct {
	size         [3]int
	connectivity int
	runs         []run
	rows         []int32 // first run of every row; one more entry closes the last
}

// scan collects the runs of every row.
func (f *forest) scan(data []uint16, class func(uint16) uint32) {
	n := f.size[2]
	f.rows = make([]int32, 0, f.size[0]*f.size[1]+1)
	for base := 0; base < len(data); base += n {
		f.rows = append(f.rows, int32(len(f.runs))) //nolint:gosec // at most one run per two voxels, of at most 2^31 voxels
		row := data[base : base+n]
		for k := 0; k < n; {
			l := row[k]
			if l == 0 {
				k++
				continue
			}
			c, from := class(l), k
			for k++; k < n && (row[k] == l || class(row[k]) == c); {
				k++
			}
			if c != 0 {
				f.runs = append(f.runs, run{base + from, base + k, c, int32(len(f.runs))}) //nolint:gosec // as above
			}
		}
	}
	f.rows = append(f.rows, int32(len(f.runs))) //nolint:gosec // as above
}

// join connects the runs of every row with those of the rows before it.
func (f *forest) join() {
	for i := range f.size[0] {
		for j := range f.size[1] {
			diagonal := 0 // how far runs may miss each other along the fastest axis
			if f.connectivity >= 18 {
				diagonal = 1
			}
			f.joinRows(i, j, i, j-1, diagonal)
			f.joinRows(i, j, i-1, j, diagonal)
			if f.connectivity >= 18 {
				if f.connectivity == 18 {
					diagonal = 0
				}
				f.joinRows(i, j, i-1, j-1, diagonal)
				f.joinRows(i, j, i-1, j+1, diagonal)
			}
		}
	}
}

// joinRows joins touching runs of rows (i, j) and (pi, pj).
func (f *forest) joinRows(i, j, pi, pj, diagonal int) {
	if pi < 0 || pj < 0 || pj >= f.size[1] {
		return
	}
	row, before := i*f.size[1]+j, pi*f.size[1]+pj
	shift := (row - before) * f.size[2]
	a, endA := f.rows[row], f.rows[row+1]
	b, endB := f.rows[before], f.rows[before+1]
	for ; a < endA; a++ {
		ra := &f.runs[a]
		for b < endB && f.runs[b].to+shift+diagonal <= ra.from {
			b++ // ends before this run and all later ones
		}
		for c := b; c < endB && f.runs[c].from+shift < ra.to+diagonal; c++ {
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
