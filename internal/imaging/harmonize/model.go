package harmonize

import (
	"context"
	"fmt"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
)

// Version is the version of the JSON format.
const Version = 1

// Model holds what was learned from a set of images. The field named like the
// method is set, the others are nil. Apply may be called from many goroutines.
type Model struct {
	Version    int        `json:"version"`
	Method     Method     `json:"method"`
	Modality   string     `json:"modality,omitempty"` // of the images; "" is not checked
	Foreground Foreground `json:"foreground"`

	ZScore     *ZScoreParams     `json:"zscore,omitempty"`
	Sites      []SiteParams      `json:"zscore_site,omitempty"` // by name
	Percentile *PercentileParams `json:"percentile,omitempty"`
	CT         *CTParams         `json:"ct,omitempty"`
	Histogram  *HistogramParams  `json:"histogram,omitempty"`
	Nyul       *NyulParams       `json:"nyul,omitempty"`

	Provenance Provenance `json:"provenance"`
}

// Provenance says where a model comes from.
type Provenance struct {
	Images  int    `json:"images"`            // used
	Skipped int    `json:"skipped"`           // could not be used
	Empty   int    `json:"without_label"`     // of Images: without a labelled voxel
	Voxels  int    `json:"foreground_voxels"` // voxels that were looked at, all images together
	Library string `json:"library"`           // program and version
}

// Use says how a model is applied to one case.
type Use struct {
	// Site chooses the numbers of method zscore_site; other methods take none.
	Site string

	// TestTime moves the stored numbers to those of the case at hand: 0 uses
	// the stored ones, 1 the case's only. Means and percentiles are blended
	// linearly, deviations by their variances. It is for methods whose numbers
	// come from the set alone: zscore, zscore_site, percentile, ct.
	//
	// Source: Schneider et al., "Improving robustness against common
	// corruptions by covariate shift adaptation", NeurIPS 2020, section 3, for
	// the input's statistics in place of a layer's.
	TestTime float64
}

// Check reports a use that the model does not allow (fault.Invalid).
func (m *Model) Check(u Use) error {
	switch {
	case !(u.TestTime >= 0 && u.TestTime <= 1):
		return fault.New(fault.Invalid, "test-time weight %g is not within 0..1", u.TestTime)
	case u.TestTime > 0 && !m.Method.stored():
		return fault.New(fault.Invalid, "method %s takes its numbers from the case at hand already; a test-time weight is for zscore, zscore_site, percentile and ct", m.Method)
	case u.TestTime > 0 && m.Foreground == Labelled:
		return fault.New(fault.Invalid, "the model was fitted over labelled voxels, which a case at hand does not have; a test-time weight needs a model fitted with foreground all, nonzero or above_mean")
	case u.Site != "" && m.Method != ZScoreSite:
		return fault.New(fault.Invalid, "method %s has no sites; site %q is for zscore_site", m.Method, u.Site)
	case m.Method == ZScoreSite && u.TestTime < 1:
		_, err := m.site(u.Site)
		return err
	case m.Method == ZScoreSite && u.Site != "":
		return fault.New(fault.Invalid, "a test-time weight of 1 uses no site's numbers; leave the site out")
	}
	return nil
}

func (m *Model) site(name string) (ZScoreParams, error) {
	var names []string
	for _, s := range m.Sites {
		if s.Site == name {
			return ZScoreParams{s.Mean, s.Std}, nil
		}
		names = append(names, s.Site)
	}
	known := strings.Join(names[:min(len(names), 20)], ", ")
	if name == "" {
		return ZScoreParams{}, fault.New(fault.Invalid, "method zscore_site needs a site: %s", known)
	}
	return ZScoreParams{}, fault.New(fault.Invalid, "site %q is none of %s", name, known)
}

// Apply harmonises one channel in place. Errors: fault.Invalid for a use that
// Check refuses, for NaN and infinite values, and where a method that looks at
// the image finds no foreground or no contrast in it; the values are unchanged
// then. After ctx's error they are not defined.
func (m *Model) Apply(ctx context.Context, values []float32, u Use) error {
	if err := m.Check(u); err != nil {
		return err
	}
	if err := checkFinite(ctx, values); err != nil {
		return err
	}
	switch m.Method {
	case ZScore:
		return m.applyZScore(ctx, values, *m.ZScore, u.TestTime)
	case ZScoreSite:
		var p ZScoreParams
		if u.TestTime < 1 {
			p, _ = m.site(u.Site) // Check found it
		}
		return m.applyZScore(ctx, values, p, u.TestTime)
	case Percentile:
		return m.applyPercentile(ctx, values, u.TestTime)
	case CT:
		return m.applyCT(ctx, values, u.TestTime)
	case Histogram:
		return m.Histogram.apply(ctx, values, m.Foreground)
	case Nyul:
		return m.Nyul.apply(ctx, values, m.Foreground)
	}
	return fmt.Errorf("method %q cannot be applied", m.Method)
}

func (m *Model) applyZScore(ctx context.Context, values []float32, p ZScoreParams, weight float64) error {
	if weight > 0 {
		own, err := caseMoments(ctx, values, m.Foreground)
		if err != nil {
			return err
		}
		p = ZScoreParams{blend(p.Mean, own.mean, weight), blendStd(p.Std, own.std(), weight)}
	}
	return p.apply(ctx, values)
}

func (m *Model) applyPercentile(ctx context.Context, values []float32, weight float64) error {
	p := *m.Percentile
	if weight > 0 {
		v, err := m.Foreground.present(ctx, Sample{Values: values})
		if err != nil {
			return err
		}
		q, err := percentiles(ctx, v, p.Percent[:])
		if err != nil {
			return err
		}
		for i := range q {
			p.Values[i] = blend(p.Values[i], q[i], weight)
		}
	}
	return p.apply(ctx, values)
}

func (m *Model) applyCT(ctx context.Context, values []float32, weight float64) error {
	p := *m.CT
	if weight > 0 {
		v, err := m.Foreground.present(ctx, Sample{Values: values})
		if err != nil {
			return err
		}
		q, err := percentiles(ctx, v, ctPercent[:2])
		if err != nil {
			return err
		}
		own, err := momentsOf(ctx, v, nil)
		if err != nil {
			return err
		}
		p.Lower, p.Upper = blend(p.Lower, q[0], weight), blend(p.Upper, q[1], weight)
		p.Mean, p.Std = blend(p.Mean, own.mean, weight), blendStd(p.Std, own.std(), weight)
	}
	return p.apply(ctx, values)
}
