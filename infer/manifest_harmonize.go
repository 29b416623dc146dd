package infer

import (
	"fmt"
	"math"
	"path"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/harmonize"
)

// CTStep is nnU-Net's CT normalisation with given numbers, all of them needed.
type CTStep struct {
	Lower float64 `yaml:"lower"`
	Upper float64 `yaml:"upper"`
	Mean  float64 `yaml:"mean"`
	Std   float64 `yaml:"std"`
}

// NNUNetZScoreStep is nnU-Net's z-score of the image by itself.
type NNUNetZScoreStep struct {
	Mask string `yaml:"mask"` // none or nonzero
}

// HistogramNormalizeStep makes all values about equally frequent.
type HistogramNormalizeStep struct {
	Bins   int        `yaml:"bins"`
	To     [2]float64 `yaml:"to"`
	Voxels string     `yaml:"voxels"` // all, nonzero or foreground
}

// HarmonizeStep applies a model that `voxloop harmonize fit` has written.
type HarmonizeStep struct {
	File     string  `yaml:"file"` // in the model folder
	Site     string  `yaml:"site"`
	TestTime float64 `yaml:"test_time"` // 0..1, how much of the numbers is estimated on the case

	model *harmonize.Model // attach reads it
}

// setDefaults marks the numbers as missing.
func (s *CTStep) setDefaults() {
	s.Lower, s.Upper, s.Mean, s.Std = math.NaN(), math.NaN(), math.NaN(), math.NaN()
}

func (s *NNUNetZScoreStep) setDefaults() { s.Mask = maskNone }

func (s *HistogramNormalizeStep) setDefaults() {
	s.Bins, s.To, s.Voxels = 256, [2]float64{0, 255}, voxelsAll // MONAI's
}

// foregrounds are the voxels that a step's key voxels means.
var foregrounds = map[string]harmonize.Foreground{
	voxelsAll: harmonize.All, voxelsNonzero: harmonize.Nonzero, voxelsForeground: harmonize.AboveMean,
}

// checkHarmonizing is checkOne for the steps of this file: how many of them
// are set, the name of the last one and what is wrong with it.
func (s *Step) checkHarmonizing(at string) (set int, name string, err error) {
	if s.CT != nil {
		set, name, err = set+1, "ct", s.CT.check(at+".ct")
	}
	if s.NNUNetZScore != nil {
		set, name = set+1, "nnunet_zscore"
		err = oneOf(at+".nnunet_zscore.mask", s.NNUNetZScore.Mask, maskNone, voxelsNonzero)
	}
	if s.HistogramNormalize != nil {
		set, name = set+1, "histogram_normalize"
		err = s.HistogramNormalize.check(at + ".histogram_normalize")
	}
	if s.Harmonize != nil {
		set, name, err = set+1, "harmonize", s.Harmonize.check(at+".harmonize")
	}
	return set, name, err
}

func equalHarmonizing(a, b *Step) bool {
	return equal(a.CT, b.CT) && equal(a.NNUNetZScore, b.NNUNetZScore) && equal(a.HistogramNormalize, b.HistogramNormalize) &&
		equal(a.Harmonize, b.Harmonize)
}

func (s *CTStep) check(at string) error {
	for _, k := range []struct {
		key string
		v   float64
	}{{"lower", s.Lower}, {"upper", s.Upper}, {"mean", s.Mean}, {"std", s.Std}} {
		if math.IsNaN(k.v) {
			return keyErrorf(join(at, k.key), "is missing")
		}
	}
	if !(s.Lower < s.Upper) {
		return keyErrorf(at+".upper", "%g is not above lower, %g", s.Upper, s.Lower)
	}
	if !(s.Std > 0) {
		return keyErrorf(at+".std", "%g is no standard deviation", s.Std)
	}
	return nil
}

func (s *HistogramNormalizeStep) check(at string) error {
	if s.Bins < 2 || s.Bins > harmonize.MaxBins {
		return keyErrorf(at+".bins", "%d is no number of bins from 2 to %d", s.Bins, harmonize.MaxBins)
	}
	if harmonize.CheckScale(s.To) != nil {
		return keyErrorf(at+".to", "%g and %g must rise", s.To[0], s.To[1])
	}
	return oneOf(at+".voxels", s.Voxels, voxelsAll, voxelsNonzero, voxelsForeground)
}

func (s *HarmonizeStep) check(at string) error {
	switch {
	case s.File == "":
		return keyErrorf(at+".file", "is missing; name a file of `voxloop harmonize fit` in the model folder")
	case s.File != path.Base(s.File) || s.File == "." || s.File == ".." || s.File == ManifestFile || s.File == NetworkFile:
		return keyErrorf(at+".file", "%q is not the name of a further file in the model folder itself", s.File)
	case !(s.TestTime >= 0 && s.TestTime <= 1):
		return keyErrorf(at+".test_time", "%g is not within 0..1", s.TestTime)
	}
	return nil
}

// keyError puts what a fitted model says about its use behind the step's key.
func (s *HarmonizeStep) keyError(at string, err error) error {
	msg, ok := fault.Message(err)
	if !ok {
		msg = err.Error()
	}
	return keyErrorf(at, "%s", fmt.Sprintf("%s: %s", s.File, msg))
}
