package raw

import (
	"math"
	"math/bits"

	"github.com/voxloop/voxloop/internal/imaging"
)

// Header is what a file says about itself before its voxels.
type Header struct {
	imaging.Grid
	Channels int
	Type     imaging.DataType
}

// Limits bound what one file may hold, all channels together. A zero field
// means its default: 2^31 voxels, 16 GiB of decoded data. They are checked
// before anything is allocated.
type Limits struct {
	MaxVoxels int64
	MaxBytes  int64
}

// The defaults of Limits.
const (
	DefaultMaxVoxels = 1 << 31
	DefaultMaxBytes  = 16 << 30
)

func (l Limits) withDefaults() Limits {
	if l.MaxVoxels <= 0 {
		l.MaxVoxels = DefaultMaxVoxels
	}
	if l.MaxBytes <= 0 {
		l.MaxBytes = DefaultMaxBytes
	}
	return l
}

// Bytes returns the most bytes of decoded data.
func (l Limits) Bytes() int64 { return l.withDefaults().MaxBytes }

// Check returns the number of stored voxels of all channels. Errors are faults:
// Invalid for a grid, channel count or type that can be none, TooLarge beyond
// the limits.
func (l Limits) Check(h Header) (int, error) {
	l = l.withDefaults()
	if h.Type.Size() == 0 {
		return 0, Malformed("the type of the voxels is unknown")
	}
	if h.Channels < 1 {
		return 0, Malformed("%d channels", h.Channels)
	}
	if err := h.Grid.Validate(); err != nil {
		return 0, Classify(err)
	}
	hi, n := bits.Mul64(uint64(h.Voxels()), uint64(h.Channels)) //nolint:gosec // both are positive
	if hi != 0 || n > math.MaxInt64 || int64(n) > l.MaxVoxels {
		return 0, TooLarge("%d×%d×%d voxels in %d channels are more than the %d allowed",
			h.Size[0], h.Size[1], h.Size[2], h.Channels, l.MaxVoxels)
	}
	if size := int64(h.Type.Size()); int64(n) > l.MaxBytes/size {
		return 0, TooLarge("%d voxels of %s are more than the %d bytes allowed", n, h.Type, l.MaxBytes)
	}
	return int(n), nil
}
