package strategies

// Passes says how the predictions that an observation compares were made.
type Passes string

// The kinds of passes.
const (
	SinglePass   Passes = "single"   // one prediction: entropy and margin only
	Augmented    Passes = "tta"      // test-time augmentation
	Dropout      Passes = "mc"       // Monte-Carlo dropout
	EnsemblePass Passes = "ensemble" // several trained models
)

// Measure names a number that says how unsure a model is of an image; more is
// less sure. Entropies are in nats.
type Measure string

// The measures. Which ones an observation has depends on its passes: bald from
// mc and ensemble, js from tta, variance and dice from all but single.
const (
	Entropy  Measure = "entropy"  // of the mean prediction
	BALD     Measure = "bald"     // mutual information of prediction and model
	Variance Measure = "variance" // of the probabilities over the passes, mean over classes
	Margin   Measure = "margin"   // 1 minus the difference of the two largest mean probabilities
	JS       Measure = "js"       // Jensen–Shannon divergence of the passes
	Dice     Measure = "dice"     // 1 minus the mean pairwise Dice of the passes' segmentations
)

// Measures lists them, in the order in which an explanation shows them.
func Measures() []Measure { return []Measure{Entropy, BALD, Variance, Margin, JS, Dice} }

// measureIndex returns the place of m in Measures, or -1.
func measureIndex(m Measure) int {
	for i, k := range Measures() {
		if k == m {
			return i
		}
	}
	return -1
}

// ClassScore is what an observation says of one predicted class.
type ClassScore struct {
	Class  int     `json:"class"` // ≥ 1
	Score  float64 `json:"score"` // mean entropy over its predicted voxels
	Voxels int     `json:"voxels"`
}

// Region is a connected part of an image that the model is unsure of. Boxes
// are in voxels of the image's file (i, j, k), both ends included: its slices
// along axis k run from Min[2] to Max[2].
type Region struct {
	Min    [3]int      `json:"min"`
	Max    [3]int      `json:"max"`
	Peak   [3]int      `json:"peak"`             // the least sure voxel
	World  *[3]float64 `json:"world,omitempty"`  // the peak in RAS mm, where the image's affine is known
	Size   [3]float64  `json:"size_mm"`          // of the box along i, j, k
	Volume float64     `json:"volume_mm3"`       //
	Mean   float64     `json:"mean_uncertainty"` // entropy
}

// Observation is what one look of a model at an image has shown. It is small
// and becomes JSON without loss, so that the caller can keep it on disk and
// give it back to Index.Put after a restart.
//
// An observation without Model is of the image alone: fingerprint and flags.
// All numbers are finite.
type Observation struct {
	Image       string              `json:"image"`
	Model       string              `json:"model,omitempty"`
	Version     string              `json:"version,omitempty"`
	Passes      Passes              `json:"passes,omitempty"`
	Count       int                 `json:"count,omitempty"`       // passes
	Aggregation string              `json:"aggregation,omitempty"` // see ObserveOptions.Aggregation
	FellBack    bool                `json:"fell_back,omitempty"`   // no foreground was predicted: the top share was aggregated instead
	Scores      map[Measure]float64 `json:"scores,omitempty"`
	Classes     []ClassScore        `json:"classes,omitempty"` // predicted classes, rising
	Foreground  float64             `json:"foreground"`        // share of the voxels that are predicted foreground
	Predicted   float64             `json:"predicted_mm3"`     // volume of the predicted foreground
	Uncertain   float64             `json:"uncertain_mm3"`     // volume whose entropy is above the regions' threshold
	Regions     []Region            `json:"regions,omitempty"` // the most uncertain in total first
	Features    []float32           `json:"features,omitempty"`
	Fingerprint []float32           `json:"fingerprint,omitempty"` // see Fingerprint
	Corrupt     string              `json:"corrupt,omitempty"`     // why the image should not be asked for; empty: it is sound
	Seconds     float64             `json:"seconds,omitempty"`     // that the look took
	Time        int64               `json:"time,omitempty"`        // Unix seconds
}
