package raw

import "github.com/voxloop/voxloop/internal/imaging"

// Gather fills dst, x fastest with extents size, from a source whose voxel
// (x, y, z) lies at start + x·stride[0] + y·stride[1] + z·stride[2]. Strides may
// be negative.
func Gather[T any](dst, src []T, size [3]int, start int, stride [3]int) {
	o := 0
	for z := range size[2] {
		for y := range size[1] {
			i := start + z*stride[2] + y*stride[1]
			row := dst[o : o+size[0]]
			if stride[0] == 1 {
				copy(row, src[i:i+size[0]])
			} else {
				for x := range row {
					row[x] = src[i]
					i += stride[0]
				}
			}
			o += size[0]
		}
	}
}

// GatherChannels reorders voxels into channel blocks, x fastest: channel c
// starts at start(c) of the source and has the given strides.
func GatherChannels(v imaging.Voxels, size [3]int, channels int, start func(c int) int, stride [3]int) imaging.Voxels {
	switch d := v.(type) {
	case imaging.Samples[uint8]:
		return gatherAll(d, size, channels, start, stride)
	case imaging.Samples[int8]:
		return gatherAll(d, size, channels, start, stride)
	case imaging.Samples[uint16]:
		return gatherAll(d, size, channels, start, stride)
	case imaging.Samples[int16]:
		return gatherAll(d, size, channels, start, stride)
	case imaging.Samples[uint32]:
		return gatherAll(d, size, channels, start, stride)
	case imaging.Samples[int32]:
		return gatherAll(d, size, channels, start, stride)
	case imaging.Samples[uint64]:
		return gatherAll(d, size, channels, start, stride)
	case imaging.Samples[int64]:
		return gatherAll(d, size, channels, start, stride)
	case imaging.Samples[float32]:
		return gatherAll(d, size, channels, start, stride)
	case imaging.Samples[float64]:
		return gatherAll(d, size, channels, start, stride)
	}
	return v
}

func gatherAll[T imaging.Number](src imaging.Samples[T], size [3]int, channels int, start func(c int) int, stride [3]int) imaging.Voxels {
	n := size[0] * size[1] * size[2]
	out := make(imaging.Samples[T], n*channels)
	for c := range channels {
		Gather(out[c*n:(c+1)*n], src, size, start(c), stride)
	}
	return out
}
