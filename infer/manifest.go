package infer

import (
	"fmt"

	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// ManifestFile is the file that makes a folder a model, NetworkFile the network
// beside it.
const (
	ManifestFile = "manifest.yaml"
	NetworkFile  = "model.onnx"
)

// Manifest says how a network is used: what it expects, how it is run and what
// its outputs mean. docs/models.md explains every key.
type Manifest struct {
	Name        string            `yaml:"name"` // shown only; a model is known by the name it is added under
	Version     string            `yaml:"version"`
	Type        string            `yaml:"type"`
	Description string            `yaml:"description"`
	Dimension   int               `yaml:"dimension"`
	Modality    string            `yaml:"modality"`
	Licence     string            `yaml:"licence"`
	Provenance  map[string]string `yaml:"provenance"`

	Network       NetworkSpec  `yaml:"network"`
	Inputs        []InputSpec  `yaml:"inputs"`
	Orientation   string       `yaml:"orientation"`
	Spacing       SpacingSpec  `yaml:"spacing"`
	Interpolation string       `yaml:"interpolation"`
	Crop          *CropSpec    `yaml:"crop"`
	Window        WindowSpec   `yaml:"window"`
	Outputs       []OutputSpec `yaml:"outputs"`
	Labels        []LabelSpec  `yaml:"labels"`
	Postprocess   []PostStep   `yaml:"postprocess"`

	attached []byte // hashes of the further files that the manifest names, for the content's hash
}

// NetworkSpec describes the tensor that the network takes.
type NetworkSpec struct {
	Input     string `yaml:"input"`      // tensor name; "" takes the only one
	Axes      string `yaml:"axes"`       // order of the spatial axes: xyz or zyx
	SliceAxis string `yaml:"slice_axis"` // axis across the slices of a 2-D model: x, y or z

	Members []string `yaml:"members"` // of an ensemble: the outputs with the members' own scores
	Dropout float64  `yaml:"dropout"` // ratio in Monte-Carlo passes in place of the network's own; 0: its own
}

// InputSpec is one channel of the network's input.
type InputSpec struct {
	Name      string   `yaml:"name"`
	Source    Source   `yaml:"source"`
	Required  bool     `yaml:"required"`
	Missing   float64  `yaml:"missing"` // fills the whole channel when the image is not supplied
	Normalize []Step   `yaml:"normalize"`
	Value     *float64 `yaml:"value"` // of a constant channel
	Sigma     *float64 `yaml:"sigma"` // of clicks, in voxels of the network's grid
}

// SourceKind says where a channel comes from.
type SourceKind string

// The kinds of sources.
const (
	SourceImage    SourceKind = "image"
	SourceGuidance SourceKind = "guidance"
	SourcePrevious SourceKind = "previous_label"
	SourceConstant SourceKind = "constant"
)

// Source is a kind with its argument: image[CT], guidance[spleen].
type Source struct {
	Kind SourceKind
	Arg  string
}

func (s Source) String() string {
	if s.Arg == "" {
		return string(s.Kind)
	}
	return fmt.Sprintf("%s[%s]", s.Kind, s.Arg)
}

// Step is one normalisation step; exactly one field is set.
type Step struct {
	Linear     *LinearStep     `yaml:"linear"`
	Clip       *[2]float64     `yaml:"clip"`
	MinMax     *MinMaxStep     `yaml:"minmax"`
	ZScore     *ZScoreStep     `yaml:"zscore"`
	Percentile *PercentileStep `yaml:"percentile"`

	CT                 *CTStep                 `yaml:"ct"`
	NNUNetZScore       *NNUNetZScoreStep       `yaml:"nnunet_zscore"`
	HistogramNormalize *HistogramNormalizeStep `yaml:"histogram_normalize"`
	Harmonize          *HarmonizeStep          `yaml:"harmonize"`
}

// LinearStep maps From to To in a straight line.
type LinearStep struct {
	From [2]float64 `yaml:"from"`
	To   [2]float64 `yaml:"to"`
	Clip bool       `yaml:"clip"`
}

// MinMaxStep maps the smallest and the largest value to To.
type MinMaxStep struct {
	To    [2]float64 `yaml:"to"`
	Scope string     `yaml:"scope"` // channel or all
}

// ZScoreStep subtracts the mean and divides by the standard deviation.
type ZScoreStep struct {
	Voxels string `yaml:"voxels"` // all, nonzero or foreground
	Scope  string `yaml:"scope"`
}

// PercentileStep maps two percentiles to To.
type PercentileStep struct {
	Percent [2]float64 `yaml:"percent"`
	To      [2]float64 `yaml:"to"`
	Clip    bool       `yaml:"clip"`
	Scope   string     `yaml:"scope"`
}

// SpacingSpec is the voxel size of the network's grid in mm along x, y, z; 0
// keeps the image's own along that axis.
type SpacingSpec [3]float64

// CropSpec cuts the prepared image down to its foreground.
type CropSpec struct {
	Above  float64 `yaml:"above"` // voxels greater than this are foreground
	Margin Three   `yaml:"margin"`
	When   string  `yaml:"when"` // before_normalize or after_normalize
}

// Three is a value per axis x, y, z, written as one number or as a list.
type Three []float64

// WindowSpec says how the network is moved over the image. Lists are in the
// order x, y, z (2-D: the two axes of a slice in that order).
type WindowSpec struct {
	Size       WindowSize        `yaml:"size"`
	Multiple   int               `yaml:"multiple"` // with size: image, every axis is padded up to a multiple of this
	Overlap    Three             `yaml:"overlap"`
	Blend      string            `yaml:"blend"` // constant or gaussian
	SigmaScale Three             `yaml:"sigma_scale"`
	Padding    transform.PadMode `yaml:"padding"`
	PadValue   float64           `yaml:"pad_value"` // after normalisation
	Batch      int               `yaml:"batch"`
}

// WindowSize is empty for the whole image in one window.
type WindowSize []int

// OutputSpec is one output tensor (a head) and how it becomes labels.
type OutputSpec struct {
	Name       string     `yaml:"name"`  // tensor name; "" goes by Index
	Index      int        `yaml:"index"` // place among the network's outputs
	Activation string     `yaml:"activation"`
	Decision   string     `yaml:"decision"`
	Threshold  float64    `yaml:"threshold"`
	Restore    string     `yaml:"restore"`
	Priority   []Priority `yaml:"priority"`
	ElseValue  int        `yaml:"else_value"`
}

// Priority is one rule of overlapping outputs: where the channel is on, and no
// earlier rule applied, Value is written.
type Priority struct {
	Channel int  `yaml:"channel"`
	Value   *int `yaml:"value"` // nil: the value of the channel's label
}

// LabelSpec is a class.
type LabelSpec struct {
	Name    string  `yaml:"name"`
	Value   int     `yaml:"value"`
	Color   *Colour `yaml:"color"`
	Channel *int    `yaml:"channel"` // nil: Value (argmax) or the place in the list (threshold)
	Output  int     `yaml:"output"`  // place in outputs
}

// Colour is red, green, blue, written "#rrggbb" or as a list.
type Colour [3]uint8

// PostStep is one post-processing step; exactly one field is set.
type PostStep struct {
	KeepLargest *KeepLargest `yaml:"keep_largest"`
}

// KeepLargest removes all but the largest connected components.
type KeepLargest struct {
	Labels       []string `yaml:"labels"`
	EachAlone    bool     `yaml:"each_alone"`
	Connectivity int      `yaml:"connectivity"`
	Count        int      `yaml:"count"`
	When         string   `yaml:"when"` // before_restore or after_restore
}

// Words of the manifest.
const (
	stored = "stored"
	native = "native"
	whole  = "image"

	axesXYZ = "xyz"
	axesZYX = "zyx"

	interpLinear  = "linear"
	interpNearest = "nearest"

	scopeChannel = "channel"
	scopeAll     = "all"

	voxelsAll        = "all"
	voxelsNonzero    = "nonzero"
	voxelsForeground = "foreground"

	maskNone = "none"

	blendConstant = "constant"
	blendGaussian = "gaussian"

	activationNone    = "none"
	activationSoftmax = "softmax"
	activationSigmoid = "sigmoid"

	decideArgmax    = "argmax"
	decideThreshold = "threshold"

	restoreScores = "scores_linear"
	restoreLabels = "labels_nearest"

	beforeNormalize = "before_normalize"
	afterNormalize  = "after_normalize"

	beforeRestore = "before_restore"
	afterRestore  = "after_restore"

	typeSegmentation = "segmentation"
)
