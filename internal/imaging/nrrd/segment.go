package nrrd

import (
	"fmt"
	"strconv"

	"github.com/voxloop/voxloop/internal/imaging"
)

// Segment describes one label of a .seg.nrrd file, as 3D Slicer reads it.
type Segment struct {
	ID    string     // unique; empty means Segment_<value> (of its layer)
	Name  string     // shown to people; empty means the id
	Value int        // label value
	Layer int        // channel that holds it, 0 for a file with one channel
	Color [3]float64 // red, green, blue in 0..1
}

// SegmentPairs returns the key:=value lines that make a label file on grid g a
// Slicer segmentation: Segment<i>_ID, _Name, _Color, _LabelValue, _Layer and
// _Extent (the whole grid).
func SegmentPairs(g imaging.Grid, segments []Segment) []KeyValue {
	extent := fmt.Sprintf("0 %d 0 %d 0 %d", g.Size[0]-1, g.Size[1]-1, g.Size[2]-1)
	pairs := make([]KeyValue, 0, 6*len(segments))
	for i, s := range segments {
		id := s.ID
		if id == "" {
			id = fmt.Sprintf("Segment_%d", s.Value)
			if s.Layer > 0 {
				id = fmt.Sprintf("Segment_%d_%d", s.Layer, s.Value)
			}
		}
		name := s.Name
		if name == "" {
			name = id
		}
		for _, p := range []KeyValue{
			{"Color", fmt.Sprintf("%g %g %g", s.Color[0], s.Color[1], s.Color[2])},
			{"Extent", extent},
			{"ID", id},
			{"LabelValue", strconv.Itoa(s.Value)},
			{"Layer", strconv.Itoa(s.Layer)},
			{"Name", name},
		} {
			pairs = append(pairs, KeyValue{fmt.Sprintf("Segment%d_%s", i, p.Key), p.Value})
		}
	}
	return pairs
}
