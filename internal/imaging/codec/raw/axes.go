package raw

import (
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
)

// Axis is an axis beyond space: time, vector components, layers.
type Axis struct {
	Size int
	Kind string  // the format's word for it; empty when the file does not say
	Step float64 // distance of two entries as stored (of time: usually seconds); 0 when the file does not say
}

// ChannelOf returns the channel that holds the entry index along axes, the
// first axis being the fastest. Missing indices at the end are 0. Errors are
// Invalid.
func ChannelOf(axes []Axis, index ...int) (int, error) {
	if len(index) > len(axes) {
		return 0, fault.New(fault.Invalid, "%d indices for %d axes beyond space", len(index), len(axes))
	}
	channel, stride := 0, 1
	for i, a := range axes {
		if i < len(index) {
			if index[i] < 0 || index[i] >= a.Size {
				return 0, fault.New(fault.Invalid, "there is no entry %d along the axis of %d entries", index[i], a.Size)
			}
			channel += index[i] * stride
		}
		stride *= a.Size
	}
	return channel, nil
}

// Channels returns how many channels axes make.
func Channels(axes []Axis) int {
	n := 1
	for _, a := range axes {
		n *= a.Size
	}
	return n
}

// FitAxes returns axes when they make the given number of channels, else one
// axis that does; none for one channel. A volume may have been changed since
// its axes were read.
func FitAxes(axes []Axis, channels int) []Axis {
	switch {
	case len(axes) > 0 && Channels(axes) == channels:
		return slices.Clone(axes)
	case channels > 1:
		return []Axis{{Size: channels}}
	}
	return nil
}
