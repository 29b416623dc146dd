package raw

import "github.com/voxloop/voxloop/internal/imaging"

// Slice returns the voxels [from, to) of v, sharing their memory.
func Slice(v imaging.Voxels, from, to int) imaging.Voxels {
	switch d := v.(type) {
	case imaging.Samples[uint8]:
		return d[from:to:to]
	case imaging.Samples[int8]:
		return d[from:to:to]
	case imaging.Samples[uint16]:
		return d[from:to:to]
	case imaging.Samples[int16]:
		return d[from:to:to]
	case imaging.Samples[uint32]:
		return d[from:to:to]
	case imaging.Samples[int32]:
		return d[from:to:to]
	case imaging.Samples[uint64]:
		return d[from:to:to]
	case imaging.Samples[int64]:
		return d[from:to:to]
	case imaging.Samples[float32]:
		return d[from:to:to]
	case imaging.Samples[float64]:
		return d[from:to:to]
	}
	return v
}
