package morph

// Box is a cuboid of voxels, both ends included.
type Box struct{ Min, Max [3]int }

// Size returns the voxels along x, y, z.
func (b Box) Size() [3]int {
	return [3]int{b.Max[0] - b.Min[0] + 1, b.Max[1] - b.Min[1] + 1, b.Max[2] - b.Min[2] + 1}
}

// Union returns the box around both.
func (b Box) Union(o Box) Box {
	for a := range 3 {
		b.Min[a], b.Max[a] = min(b.Min[a], o.Min[a]), max(b.Max[a], o.Max[a])
	}
	return b
}

// Grow returns the box widened by so many voxels on each side of each axis,
// cut to an array of the given size.
func (b Box) Grow(by, size [3]int) Box {
	for a := range 3 {
		b.Min[a], b.Max[a] = max(b.Min[a]-by[a], 0), min(b.Max[a]+by[a], size[a]-1)
	}
	return b
}

// row returns the index of the first voxel of row (y, z) of the box in an
// array of the given size.
func (b Box) row(y, z int, size [3]int) int {
	return b.Min[0] + size[0]*(b.Min[1]+y+size[1]*(b.Min[2]+z))
}

// Crop copies the box out of the array data of the given size.
func (b Box) Crop(data []uint16, size [3]int) []uint16 {
	n := b.Size()
	out := make([]uint16, 0, n[0]*n[1]*n[2])
	for z := range n[2] {
		for y := range n[1] {
			at := b.row(y, z, size)
			out = append(out, data[at:at+n[0]]...)
		}
	}
	return out
}

// paste copies the part back into data.
func (b Box) paste(data []uint16, size [3]int, part []uint16) {
	n := b.Size()
	for z := range n[2] {
		for y := range n[1] {
			copy(data[b.row(y, z, size):], part[:n[0]])
			part = part[n[0]:]
		}
	}
}

// Boxes returns the box around every label, 0 included.
func Boxes(data []uint16, size [3]int) map[uint16]Box {
	out := make(map[uint16]Box)
	for at := 0; at < len(data); at += size[0] {
		y, z := at/size[0]%size[1], at/(size[0]*size[1])
		row := data[at : at+size[0]]
		for k := 0; k < len(row); {
			l, from := row[k], k
			for k++; k < len(row) && row[k] == l; {
				k++
			}
			piece := Box{[3]int{from, y, z}, [3]int{k - 1, y, z}}
			if b, ok := out[l]; ok {
				piece = b.Union(piece)
			}
			out[l] = piece
		}
	}
	return out
}
