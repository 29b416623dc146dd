package transform

import "fmt"

// PadMode says what stands beyond the edge of an array.
type PadMode string

// The padding modes of MONAI's sliding window.
const (
	PadConstant  PadMode = "constant"
	PadReplicate PadMode = "replicate" // the edge voxel again
	PadReflect   PadMode = "reflect"   // mirrored at the edge voxel's centre
	PadCircular  PadMode = "circular"  // from the other end
)

// PadIndex returns the voxel of an axis of n that stands at index i, which may
// lie outside [0, n); -1 is the padding constant. Reflection goes to and fro
// when the padding is wider than the axis, and repeats a single voxel.
func PadIndex(mode PadMode, i, n int) int {
	if i >= 0 && i < n {
		return i
	}
	switch mode {
	case PadReplicate:
		return min(max(i, 0), n-1)
	case PadCircular:
		return ((i % n) + n) % n
	case PadReflect:
		if n == 1 {
			return 0
		}
		period := 2 * (n - 1)
		i = ((i % period) + period) % period
		return min(i, period-i)
	case PadConstant:
	}
	return -1
}

// ParsePadMode reads a mode's name.
func ParsePadMode(s string) (PadMode, error) {
	switch m := PadMode(s); m {
	case PadConstant, PadReplicate, PadReflect, PadCircular:
		return m, nil
	}
	return "", fmt.Errorf("%q is none of constant, replicate, reflect, circular", s)
}

// CopyPadded fills dst (row-major, of the given size) with the voxels of src
// that start at start, which may be negative; what lies outside src is padded.
func CopyPadded(dst []float32, size [3]int, src []float32, srcSize, start [3]int, mode PadMode, value float32) {
	inside := start[2] >= 0 && start[2]+size[2] <= srcSize[2]
	for i := range size[0] {
		a := PadIndex(mode, start[0]+i, srcSize[0])
		for j := range size[1] {
			b := PadIndex(mode, start[1]+j, srcSize[1])
			row := dst[(i*size[1]+j)*size[2]:][:size[2]]
			if a < 0 || b < 0 {
				fillWith(row, value)
				continue
			}
			from := src[(a*srcSize[1]+b)*srcSize[2]:][:srcSize[2]]
			if inside {
				copy(row, from[start[2]:])
				continue
			}
			copyRowPadded(row, from, start[2], mode, value)
		}
	}
}

func copyRowPadded(row, from []float32, start int, mode PadMode, value float32) {
	for k := range row {
		if c := PadIndex(mode, start+k, len(from)); c >= 0 {
			row[k] = from[c]
		} else {
			row[k] = value
		}
	}
}

func fillWith(s []float32, v float32) {
	for i := range s {
		s[i] = v
	}
}
