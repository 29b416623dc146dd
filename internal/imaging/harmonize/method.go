// Package harmonize brings the intensities of images onto one scale: z-score,
// percentile and CT normalisation with the numbers of a training set, matching
// of histograms, Nyul's landmarks.
//
// Fit looks at a set of images and returns a Model, which is kept as JSON
// (Model.Write, Read) and applied to one channel at a time (Model.Apply). The
// functions that need no set (ZScore, Equalize, MatchHistograms) stand beside
// it.
//
// Voxels are float32, in any order: nothing here looks at where a voxel lies,
// FillHoles apart. Statistics are formed in float64. Sums are added up in blocks of a fixed
// size, so that results do not depend on the number of cores. NaN and infinite
// values are refused, by fitting and by applying.
package harmonize

import (
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
)

// Method is a way of harmonising.
type Method string

// The methods.
const (
	// ZScore subtracts the set's mean and divides by its standard deviation.
	ZScore Method = "zscore"
	// ZScoreSite is ZScore with numbers of their own for every site.
	ZScoreSite Method = "zscore_site"
	// Percentile maps two percentiles of the set to a range.
	Percentile Method = "percentile"
	// CT is nnU-Net's scheme: cut off at two percentiles of the set's
	// foreground, then its z-score.
	CT Method = "ct"
	// Histogram matches an image's histogram with the set's mean one.
	Histogram Method = "histogram"
	// Nyul maps an image's landmarks to the set's mean landmarks.
	Nyul Method = "nyul"
)

// Methods lists all methods.
func Methods() []Method { return []Method{ZScore, ZScoreSite, Percentile, CT, Histogram, Nyul} }

// MethodNames lists the methods for a message.
func MethodNames() string {
	var names []string
	for _, m := range Methods() {
		names = append(names, string(m))
	}
	return strings.Join(names, ", ")
}

// stored reports whether the method's numbers come from the set alone: only
// then can they be estimated again from a case.
func (m Method) stored() bool { return m != Histogram && m != Nyul }

// DefaultForeground returns the voxels that a method looks at unless told
// otherwise.
func (m Method) DefaultForeground() Foreground {
	switch m {
	case Nyul:
		return AboveMean
	case CT:
		return Labelled
	case ZScore, ZScoreSite, Percentile, Histogram:
	}
	return All
}

// foregrounds lists what a method may look at. Methods that look at an image
// again when they are applied have no label map then. Matching a histogram
// needs the place of every voxel that it changes among those that it counts.
func (m Method) foregrounds() []Foreground {
	switch m {
	case Nyul:
		return []Foreground{AboveMean, Nonzero, All}
	case Histogram:
		return []Foreground{All, Nonzero}
	case ZScore, ZScoreSite, Percentile, CT:
	}
	return []Foreground{All, Nonzero, AboveMean, Labelled}
}

// CheckForeground reports a method that does not exist or cannot look at f
// (fault.Invalid).
func (m Method) CheckForeground(f Foreground) error {
	if !slices.Contains(Methods(), m) {
		return fault.New(fault.Invalid, "method %q is none of %s", string(m), MethodNames())
	}
	if slices.Contains(m.foregrounds(), f) {
		return nil
	}
	var names []string
	for _, ok := range m.foregrounds() {
		names = append(names, string(ok))
	}
	return fault.New(fault.Invalid, "foreground %q is none of what method %s can look at: %s", string(f), m, strings.Join(names, ", "))
}
