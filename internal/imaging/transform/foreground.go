package transform

// Foreground returns the smallest box that holds every voxel greater than
// above in any channel, grown by margin on both sides, also beyond the array
// (Within cuts it back). ok is false when there is no such voxel.
//
// Source: MONAI CropForeground.
func (c Channels) Foreground(size [3]int, above float32, margin [3]int) (start, box [3]int, ok bool) {
	lo, hi := size, [3]int{-1, -1, -1}
	for _, v := range c {
		for row := range size[0] * size[1] {
			i, j := row/size[1], row%size[1]
			line := v[row*size[2] : (row+1)*size[2]]
			first, last := -1, -1
			for k, x := range line {
				if x > above {
					if first < 0 {
						first = k
					}
					last = k
				}
			}
			if first < 0 {
				continue
			}
			for d, at := range [3][2]int{{i, i}, {j, j}, {first, last}} {
				lo[d], hi[d] = min(lo[d], at[0]), max(hi[d], at[1])
			}
		}
	}
	if hi[0] < 0 {
		return [3]int{}, size, false
	}
	for d := range 3 {
		start[d] = lo[d] - margin[d]
		box[d] = hi[d] + 1 + margin[d] - start[d]
	}
	return start, box, true
}

// Within cuts a box back to an array of the given size.
func Within(start, box, size [3]int) (from, cut [3]int) {
	for d := range 3 {
		from[d] = max(0, start[d])
		cut[d] = min(size[d], start[d]+box[d]) - from[d]
	}
	return from, cut
}
