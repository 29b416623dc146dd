package cli

import (
	"fmt"
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/nifti"
	"github.com/voxloop/voxloop/internal/imaging/nrrd"
)

// Bounds of what is usual in medical images.
const (
	smallSpacing  = 0.01 // mm
	largeSpacing  = 20.0 // mm
	maxAnisotropy = 20.0
	maxShear      = 1e-3 // cosine between two axes
	maxApart      = 1e-2 // voxels between sform and qform
)

// findProblems lists what is odd about a file that could be read.
func findProblems(f *codec.File, stats []channelStats, segments []nrrd.Segment) []string {
	p := slices.Clone(f.Problems())
	p = append(p, gridProblems(f.Grid)...)
	if f.NIfTI != nil {
		p = append(p, formProblems(f)...)
	}
	p = append(p, valueProblems(f.Channels, stats)...)
	return append(p, segmentProblems(f.Channels, stats, segments)...)
}

func gridProblems(g imaging.Grid) []string {
	var p []string
	sp := g.Spacing()
	for i, s := range sp {
		if s < smallSpacing || s > largeSpacing {
			p = append(p, fmt.Sprintf("the spacing along axis %d is %.6g mm, outside of %g to %g", i, s, smallSpacing, largeSpacing))
		}
	}
	if lo, hi := min(sp[0], sp[1], sp[2]), max(sp[0], sp[1], sp[2]); hi > maxAnisotropy*lo {
		p = append(p, fmt.Sprintf("voxels are %.4g times as long as they are wide", hi/lo))
	}
	for i := range 3 {
		j := (i + 1) % 3
		var dot float64
		for k := range 3 {
			dot += g.Affine[k][i] * g.Affine[k][j]
		}
		if c := math.Abs(dot) / (sp[i] * sp[j]); c > maxShear {
			p = append(p, fmt.Sprintf("axes %d and %d are not at right angles (%.4g°)", min(i, j), max(i, j), math.Acos(c)*180/math.Pi))
		}
	}
	if slices.Contains(g.Size[:], 1) {
		p = append(p, "an axis has one voxel only")
	}
	return p
}

// formProblems looks at the ways in which NIfTI places a volume.
func formProblems(f *codec.File) []string {
	m := f.NIfTI
	var p []string
	sform, hasS := m.Sform()
	qform, hasQ := m.Qform()
	switch {
	case !hasS && m.QformCode <= 0:
		p = append(p, "neither sform nor qform is set: place and orientation are a guess")
	case m.QformCode > 0 && !hasQ:
		p = append(p, "the qform is no rotation")
	case hasS && hasQ:
		s, q := imaging.Grid{Size: f.Size, Affine: sform}, imaging.Grid{Size: f.Size, Affine: qform}
		if d := q.Distance(s); !(d <= maxApart) {
			p = append(p, fmt.Sprintf("sform and qform disagree by %.4g voxels", d))
		}
	}
	if hasS && f.Affine != sform {
		p = append(p, "the sform contradicts the voxel size in pixdim; the qform is used")
	}
	if space, _ := m.UnitNames(); space != "mm" {
		p = append(p, fmt.Sprintf("the unit of length is %q; it is taken as mm", space))
	}
	return append(p, pixdimProblems(m)...)
}

func pixdimProblems(m *nifti.Meta) []string {
	var p []string
	for i, s := range m.Pixdim() {
		if i < len(m.Dim) && !(s > 0 && finite(s)) {
			p = append(p, fmt.Sprintf("the voxel size along axis %d is %g in pixdim", i, s))
		}
	}
	return p
}

func valueProblems(channels int, stats []channelStats) []string {
	var p []string
	if channels > len(stats) {
		p = append(p, fmt.Sprintf("there are %d channels; statistics are of the first %d", channels, len(stats)))
	}
	for c, s := range stats {
		if s.nan > 0 {
			p = append(p, fmt.Sprintf("channel %d: %d voxels are NaN", c, s.nan))
		}
		if s.inf > 0 {
			p = append(p, fmt.Sprintf("channel %d: %d voxels are infinite", c, s.inf))
		}
		if s.min == s.max {
			p = append(p, fmt.Sprintf("channel %d: all finite voxels are %g", c, s.min))
		}
	}
	return p
}

// segmentProblems compares the names of a segmentation with the voxels of the
// channels that there are statistics of.
func segmentProblems(channels int, stats []channelStats, segments []nrrd.Segment) []string {
	if len(segments) == 0 {
		return nil
	}
	var p []string
	ids := map[string]bool{}
	for _, s := range segments {
		if s.Layer >= channels {
			p = append(p, fmt.Sprintf("segment %q lies in layer %d; the file has %d", s.Name, s.Layer, channels))
			continue
		}
		if s.Layer >= len(stats) {
			continue
		}
		if labels := stats[s.Layer].labels; labels != nil && count(labels, float64(s.Value)) == 0 {
			p = append(p, fmt.Sprintf("segment %q has no voxels", s.Name))
		}
		if ids[s.ID] {
			p = append(p, fmt.Sprintf("two segments have the id %q", s.ID))
		}
		ids[s.ID] = true
	}
	names := segmentNames(segments)
	for c, s := range stats {
		for _, l := range s.labels {
			if _, named := names[[2]int{c, int(l.value)}]; l.value != 0 && !named {
				p = append(p, fmt.Sprintf("no segment names the value %g of layer %d", l.value, c))
			}
		}
	}
	return p
}

func count(labels []labelCount, value float64) int {
	for _, l := range labels {
		if l.value == value {
			return l.voxels
		}
	}
	return 0
}
