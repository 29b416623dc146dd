package cli

import (
	"context"
	"fmt"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/nrrd"
)

// segmentation makes v a label volume with a segment for every label: the
// file's own segments where it has them, new ones for the other values.
// channel is what was chosen of the file, nil for everything.
func segmentation(ctx context.Context, f *codec.File, v *imaging.Volume, channel []int) (*imaging.Volume, []nrrd.Segment, error) {
	var known []nrrd.Segment
	if f.NRRD != nil {
		var err error
		if known, err = f.NRRD.Segments(); err != nil {
			return nil, nil, err
		}
		if channel != nil {
			known = layerSegments(f.NRRD, known, channel)
		}
	}
	names := segmentNames(known)
	var added []nrrd.Segment
	top := 0.0
	for c := range v.Channels {
		s, _, err := rangeAndLabels(ctx, v, c, true)
		if err != nil {
			return nil, nil, err
		}
		if s.labels == nil || s.min < 0 || s.max > math.MaxUint16 {
			return nil, nil, fault.New(fault.Invalid,
				"channel %d is no label map: labels are at most %d different integers from 0 to %d", c, maxLabels, math.MaxUint16)
		}
		top = max(top, s.max)
		for _, l := range s.labels {
			if _, named := names[[2]int{c, int(l.value)}]; l.value != 0 && !named {
				added = append(added, newSegment(c, int(l.value)))
			}
		}
	}
	t := v.Data.Type()
	if t == imaging.Float32 || t == imaging.Float64 || v.Slope != 1 || v.Intercept != 0 {
		if t = imaging.Uint8; top > math.MaxUint8 {
			t = imaging.Uint16
		}
	}
	v, err := codec.Retype(ctx, v, t, false)
	return v, append(known, added...), err
}

// layerSegments keeps the segments of the chosen layer, which becomes the only
// one.
func layerSegments(m *nrrd.Meta, segments []nrrd.Segment, channel []int) []nrrd.Segment {
	layer := channel[0]
	if len(channel) > 1 {
		layer, _ = m.Channel(channel...) // the channel has been read already
	}
	var kept []nrrd.Segment
	for _, s := range segments {
		if s.Layer == layer {
			s.Layer = 0
			kept = append(kept, s)
		}
	}
	return kept
}

// segmentNames returns the names of segments by layer and label value.
func segmentNames(segments []nrrd.Segment) map[[2]int]string {
	names := make(map[[2]int]string, len(segments))
	for _, s := range segments {
		names[[2]int{s.Layer, s.Value}] = s.Name
	}
	return names
}

// newSegment names a label by its value. Colours of neighbouring values differ:
// hues are the golden ratio apart.
func newSegment(layer, value int) nrrd.Segment {
	_, hue := math.Modf(float64(value) * (math.Sqrt(5) - 1) / 2)
	s := nrrd.Segment{Value: value, Layer: layer, Name: fmt.Sprintf("label %d", value), NameAuto: true, ColorAuto: true}
	for i, shift := range []float64{0, 2.0 / 3, 1.0 / 3} {
		_, h := math.Modf(hue + shift)
		part := min(max(math.Abs(h*6-3)-1, 0), 1) // of a fully saturated colour
		s.Color[i] = math.Round((0.3+0.7*part)*255) / 255
	}
	return s
}
