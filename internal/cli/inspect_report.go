package cli

import (
	"encoding/json"
	"math"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/nrrd"
)

// number is a float64 that is null in JSON where it is not finite.
type number float64

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	if !finite(float64(n)) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// inspection is what `voxloop inspect --json` prints of a file. Lengths are in
// millimetres, world coordinates RAS+.
type inspection struct {
	File        string          `json:"file"`
	Format      string          `json:"format"`
	Size        [3]int          `json:"size"` // voxels along x, y, z
	Channels    int             `json:"channels"`
	Axes        []axisReport    `json:"axes,omitempty"` // beyond space, the first fastest
	Type        string          `json:"type"`
	Slope       float64         `json:"slope"`
	Intercept   float64         `json:"intercept"`
	Spacing     [3]float64      `json:"spacing_mm"`
	Extent      [3]number       `json:"extent_mm"`
	Orientation string          `json:"orientation"` // where x, y, z point to
	Origin      [3]float64      `json:"origin"`      // centre of voxel (0, 0, 0)
	Affine      [4][4]float64   `json:"affine"`      // voxel → world
	NIfTI       *niftiReport    `json:"nifti,omitempty"`
	NRRD        *nrrdReport     `json:"nrrd,omitempty"`
	Statistics  []statsReport   `json:"statistics"` // per channel, of the first maxChannels
	Segments    []segmentReport `json:"segments,omitempty"`
	Problems    []string        `json:"problems"`
}

type axisReport struct {
	Size int    `json:"size"`
	Kind string `json:"kind,omitempty"`
	Step number `json:"step,omitempty"`
}

type niftiReport struct {
	BigEndian   bool              `json:"big_endian"`
	Sform       int               `json:"sform_code"`
	Qform       int               `json:"qform_code"`
	SpaceUnit   string            `json:"space_unit"`
	TimeUnit    string            `json:"time_unit"`
	Description string            `json:"description,omitempty"`
	IntentCode  int               `json:"intent_code"`
	IntentName  string            `json:"intent_name,omitempty"`
	Extensions  []extensionReport `json:"extensions,omitempty"`
}

type extensionReport struct {
	Code  int `json:"code"`
	Bytes int `json:"bytes"`
}

type nrrdReport struct {
	Space     string            `json:"space"`
	Encoding  string            `json:"encoding"`
	BigEndian bool              `json:"big_endian"`
	DataFiles int               `json:"data_files"`
	Content   string            `json:"content,omitempty"`
	Pairs     map[string]string `json:"pairs,omitempty"` // without those of a segmentation
}

type statsReport struct {
	Min         number             `json:"min"`
	Max         number             `json:"max"`
	Mean        number             `json:"mean"`
	Std         number             `json:"std"`
	Percentiles map[string]float64 `json:"percentiles"`
	NaN         int                `json:"nan"`
	Inf         int                `json:"inf"`
	Labels      []labelCountReport `json:"labels,omitempty"`
}

type labelCountReport struct {
	Value  float64 `json:"value"`
	Voxels int     `json:"voxels"`
	ML     number  `json:"ml"`
	Name   string  `json:"name,omitempty"`
}

type segmentReport struct {
	ID    string     `json:"id"`
	Name  string     `json:"name"`
	Value int        `json:"value"`
	Layer int        `json:"layer"`
	Color [3]float64 `json:"color"`
}

func newInspection(path string, f *codec.File) *inspection {
	r := &inspection{
		File: path, Format: f.Format, Size: f.Size, Channels: f.Channels, Type: f.Data.Type().String(),
		Slope: f.Slope, Intercept: f.Intercept, Spacing: f.Spacing(), Orientation: f.Orientation(), Affine: f.Affine,
		Problems: []string{},
	}
	for i := range 3 {
		for j := range 4 {
			r.Affine[i][j] += 0 // -0 is written 0
		}
		r.Extent[i] = number(r.Spacing[i] * float64(f.Size[i]))
		r.Origin[i] = r.Affine[i][3]
	}
	for _, a := range f.Axes() {
		r.Axes = append(r.Axes, axisReport{a.Size, a.Kind, number(a.Step)})
	}
	if m := f.NIfTI; m != nil {
		r.NIfTI = &niftiReport{
			BigEndian: m.BigEndian, Sform: m.SformCode, Qform: m.QformCode, Description: m.Description,
			IntentCode: m.Intent.Code, IntentName: m.Intent.Name,
		}
		r.NIfTI.SpaceUnit, r.NIfTI.TimeUnit = m.UnitNames()
		for _, e := range m.Extensions {
			r.NIfTI.Extensions = append(r.NIfTI.Extensions, extensionReport{e.Code, len(e.Data)})
		}
	}
	if m := f.NRRD; m != nil {
		r.NRRD = &nrrdReport{
			Space: m.Space, Encoding: m.Encoding, BigEndian: m.BigEndian, DataFiles: m.Files, Content: m.Content,
			Pairs: map[string]string{},
		}
		for _, p := range m.OtherPairs() {
			r.NRRD.Pairs[p.Key] = p.Value
		}
	}
	return r
}

func (r *inspection) addStatistics(stats []channelStats, segments []nrrd.Segment) {
	voxel := math.Abs(imaging.Affine(r.Affine).Det()) / 1000 // mm³ → ml
	names := segmentNames(segments)
	for _, s := range segments {
		r.Segments = append(r.Segments, segmentReport{s.ID, s.Name, s.Value, s.Layer, s.Color})
	}
	for c, s := range stats {
		out := statsReport{
			Min: number(s.min), Max: number(s.max), Mean: number(s.mean), Std: number(s.std), NaN: s.nan, Inf: s.inf,
			Percentiles: map[string]float64{},
		}
		for i, p := range s.percentiles {
			out.Percentiles[percentName(percentiles[i])] = p
		}
		for _, l := range s.labels {
			out.Labels = append(out.Labels, labelCountReport{
				Value: l.value, Voxels: l.voxels, ML: number(float64(l.voxels) * voxel), Name: names[[2]int{c, int(l.value)}],
			})
		}
		r.Statistics = append(r.Statistics, out)
	}
}
