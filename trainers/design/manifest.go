package design

import (
	"bytes"
	"fmt"
	"math"

	"go.yaml.in/yaml/v3"
)

// manifest is the part of a model folder's manifest.yaml (docs/models.md) that
// a new model needs, in the order in which it is written.
type manifest struct {
	Name        string      `yaml:"name,omitempty"`
	Description string      `yaml:"description"`
	Modality    string      `yaml:"modality,omitempty"`
	Dimension   int         `yaml:"dimension"`
	Provenance  yaml.Node   `yaml:"provenance"`
	Network     networkKeys `yaml:"network"`
	Inputs      []inputKeys `yaml:"inputs"`
	Orientation string      `yaml:"orientation"`
	Spacing     any         `yaml:"spacing"`
	Crop        *cropKeys   `yaml:"crop,omitempty"`
	Window      windowKeys  `yaml:"window"`
	Outputs     []outputKey `yaml:"outputs"`
	Labels      []labelKeys `yaml:"labels"`
}

type networkKeys struct {
	Input     string `yaml:"input"`
	Axes      string `yaml:"axes"`
	SliceAxis string `yaml:"slice_axis,omitempty"`
}

type inputKeys struct {
	Source    string `yaml:"source"`
	Normalize []any  `yaml:"normalize"`
}

type cropKeys struct {
	Above int    `yaml:"above"`
	When  string `yaml:"when"`
}

type windowKeys struct {
	Size    []int   `yaml:"size,flow"`
	Overlap float64 `yaml:"overlap"`
	Batch   int     `yaml:"batch"`
}

type outputKey struct {
	Name       string `yaml:"name"`
	Activation string `yaml:"activation"`
}

type labelKeys struct {
	Name    string `yaml:"name"`
	Value   int    `yaml:"value"`
	Channel int    `yaml:"channel"`
}

type ctKeys struct {
	CT struct {
		Lower float64 `yaml:"lower"`
		Upper float64 `yaml:"upper"`
		Mean  float64 `yaml:"mean"`
		Std   float64 `yaml:"std"`
	} `yaml:"ct"`
}

type zscoreKeys struct {
	ZScore struct {
		Mask string `yaml:"mask"`
	} `yaml:"nnunet_zscore"`
}

// cropShare is the share of the voxels that a crop to nonzero keeps below which
// nnU-Net normalises within the nonzero region only.
const cropShare = 0.75

// Labelling says what a model folder tells about itself.
type Labelling struct {
	Name     string
	Modality string // "": CT or MR by the fingerprint
	Seed     uint64
}

// Manifest writes manifest.yaml for a plan.
func (p *Plan) Manifest(f *Fingerprint, l Labelling) ([]byte, error) {
	if l.Modality == "" {
		l.Modality = "MR"
		if f.CT {
			l.Modality = "CT"
		}
	}
	m := manifest{
		Name:        l.Name,
		Description: fmt.Sprintf("%s U-Net designed from %d labelled images, not trained yet", title(p.Network.Type), len(f.Cases)),
		Modality:    l.Modality, Dimension: p.Network.Dimension, Provenance: provenance(l.Seed),
		Network:     networkKeys{Input: inputName, Axes: "xyz"},
		Orientation: "RAS", Spacing: "native",
		Window:  windowKeys{Size: p.Patch, Overlap: 0.5, Batch: 1},
		Outputs: []outputKey{{Name: outputName, Activation: "softmax"}},
	}
	if p.Network.Dimension == 2 {
		m.Network.SliceAxis = axisNames[p.SliceAxis]
		m.Window.Batch = 4
	}
	if p.Spacing != ([3]float64{}) {
		m.Spacing = flow(rounded(p.Spacing[0]), rounded(p.Spacing[1]), rounded(p.Spacing[2]))
	}
	for c := range f.Channels {
		m.Inputs = append(m.Inputs, inputKeys{"image[" + l.Modality + "]", []any{f.normalisation(c)}})
	}
	if f.masked() {
		m.Crop = &cropKeys{When: "before_normalize"}
	}
	for i, k := range f.Classes {
		m.Labels = append(m.Labels, labelKeys{k.Name, k.Value, i + 1})
	}
	return encodeYAML(m)
}

func encodeYAML(v any) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return out.Bytes(), e.Close()
}

// normalisation is the step of a channel: fixed numbers where values mean the
// same in every image (CT), each image's own otherwise.
func (f *Fingerprint) normalisation(channel int) any {
	if f.CT {
		var s ctKeys
		in := f.Foreground[channel]
		s.CT.Lower, s.CT.Upper, s.CT.Mean = rounded(in.Low), rounded(in.High), rounded(in.Mean)
		s.CT.Std = max(rounded(in.Std), 1e-6)
		return s
	}
	var s zscoreKeys
	s.ZScore.Mask = "none"
	if f.masked() {
		s.ZScore.Mask = "nonzero"
	}
	return s
}

// masked tells whether the images lie in so much nothing that it should not
// count.
func (f *Fingerprint) masked() bool {
	if f.CT || f.Kept >= cropShare {
		return false
	}
	for _, w := range f.Whole {
		if w.Min < 0 {
			return false // 0 is a value among others
		}
	}
	return true
}

// rounded keeps seven digits.
func rounded(v float64) float64 {
	if v == 0 {
		return 0
	}
	scale := math.Pow(10, 6-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

func provenance(seed uint64) yaml.Node {
	n := yaml.Node{Kind: yaml.MappingNode}
	for _, s := range []string{"designed by", "voxloop model new", "weights", fmt.Sprintf("random, seed %d: not trained yet", seed)} {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: s})
	}
	return n
}

func flow(values ...float64) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, v := range values {
		var s yaml.Node
		_ = s.Encode(v) // a float always encodes
		n.Content = append(n.Content, &s)
	}
	return n
}

func title(kind string) string {
	if kind == Residual {
		return "Residual encoder"
	}
	return "Plain"
}
