package harmonize

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
)

// maxQuantiles bounds the list of a histogram.
const maxQuantiles = 1 << 16

// check reports the first thing that is wrong with a model that was read.
func (m *Model) check() error {
	if m.Version != Version {
		return fmt.Errorf("version: %d, this program reads %d", m.Version, Version)
	}
	if err := m.Method.CheckForeground(m.Foreground); err != nil {
		msg, _ := fault.Message(err)
		return errors.New(msg)
	}
	have := map[Method]bool{
		ZScore: m.ZScore != nil, ZScoreSite: m.Sites != nil, Percentile: m.Percentile != nil,
		CT: m.CT != nil, Histogram: m.Histogram != nil, Nyul: m.Nyul != nil,
	}
	for _, k := range Methods() {
		if have[k] != (k == m.Method) {
			return fmt.Errorf("%s: method %s needs exactly the numbers under its own name", k, m.Method)
		}
	}
	p := m.Provenance
	if p.Images < 1 || p.Skipped < 0 || p.Empty < 0 || p.Empty > p.Images || p.Voxels < 1 {
		return errors.New("provenance: the counts are missing or make no sense")
	}
	return m.checkParams()
}

func (m *Model) checkParams() error {
	switch m.Method {
	case ZScore:
		return checkStd("zscore", m.ZScore.Mean, m.ZScore.Std)
	case ZScoreSite:
		return m.checkSites()
	case Percentile:
		return m.Percentile.check()
	case CT:
		if !(m.CT.Lower <= m.CT.Upper) {
			return fmt.Errorf("ct: percentile_00_5 %g is above percentile_99_5 %g", m.CT.Lower, m.CT.Upper)
		}
		return checkStd("ct", m.CT.Mean, m.CT.Std)
	case Histogram:
		return m.Histogram.check()
	case Nyul:
		return m.Nyul.check()
	}
	return nil
}

// usable reports whether a float32 image can have the value.
func usable(x float64) bool { return math.Abs(x) <= math.MaxFloat32 }

func checkStd(key string, mean, std float64) error {
	if !usable(mean) || !usable(std) || !(std > 0) {
		return fmt.Errorf("%s: mean %g and std %g: finite numbers and a deviation above 0 are needed", key, mean, std)
	}
	return nil
}

func (m *Model) checkSites() error {
	if len(m.Sites) == 0 {
		return errors.New("zscore_site: there is no site")
	}
	for i, s := range m.Sites {
		key := fmt.Sprintf("zscore_site[%d]", i)
		if s.Site == "" || s.Images < 1 {
			return fmt.Errorf("%s: a name and the number of images are needed", key)
		}
		if i > 0 && m.Sites[i-1].Site >= s.Site {
			return fmt.Errorf("%s: sites must be in the order of their names, each once", key)
		}
		if err := checkStd(key, s.Mean, s.Std); err != nil {
			return err
		}
	}
	return nil
}

func (p *PercentileParams) check() error {
	if err := CheckRange(p.Percent, p.To); err != nil {
		msg, _ := fault.Message(err)
		return fmt.Errorf("percentile: %s", msg)
	}
	if !(p.Values[0] < p.Values[1]) || !usable(p.Values[0]) || !usable(p.Values[1]) {
		return fmt.Errorf("percentile: values %g and %g must rise", p.Values[0], p.Values[1])
	}
	return nil
}

// CheckRange reports two percentiles that do not rise within 0..100, and a
// range that does not rise (fault.Invalid).
func CheckRange(percent, to [2]float64) error {
	if err := checkPercentiles(percent[:]); err != nil {
		return err
	}
	return CheckScale(to)
}

// CheckScale reports ends that do not rise (fault.Invalid).
func CheckScale(to [2]float64) error {
	if !(to[0] < to[1]) || !usable(to[0]) || !usable(to[1]) {
		return fault.New(fault.Invalid, "range %g to %g does not rise", to[0], to[1])
	}
	return nil
}

func (h *HistogramParams) check() error {
	q := h.Quantiles
	if len(q) < 2 || len(q) > maxQuantiles {
		return fmt.Errorf("histogram: %d quantiles: from 2 to %d are needed", len(q), maxQuantiles)
	}
	return rising("histogram", q)
}

func (n *NyulParams) check() error {
	if err := checkPercentiles(n.Percentiles); err != nil {
		msg, _ := fault.Message(err)
		return fmt.Errorf("nyul: %s", msg)
	}
	if len(n.Landmarks) != len(n.Percentiles) {
		return fmt.Errorf("nyul: %d landmarks for %d percentiles", len(n.Landmarks), len(n.Percentiles))
	}
	return rising("nyul", n.Landmarks)
}

func rising(key string, v []float64) error {
	if !slices.IsSorted(v) || !(v[0] < v[len(v)-1]) || !usable(v[0]) || !usable(v[len(v)-1]) {
		return fmt.Errorf("%s: the numbers must rise from %g to %g", key, v[0], v[len(v)-1])
	}
	return nil
}
