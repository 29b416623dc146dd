package evaluate

import (
	"context"
	"encoding/csv"
	"io"
	"path/filepath"
	"strconv"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/metrics"
)

// maxBins bounds the bins of a calibration.
const maxBins = 1000

// AddProbabilities gives the pairs the probability images of a folder, by
// name. A pair without exactly one is a Skip; it stays without. A folder that
// cannot be listed is NotFound or Invalid.
func AddProbabilities(pairs []Pair, dir string) ([]Skip, error) {
	files, err := listImages(dir)
	if err != nil {
		return nil, err
	}
	var skips []Skip
	for i, p := range pairs {
		switch f := files[p.Case]; len(f) {
		case 1:
			pairs[i].Probabilities = filepath.Join(dir, f[0])
		case 0:
			skips = append(skips, Skip{p.Case, "there are no probabilities of this name"})
		default:
			skips = append(skips, Skip{p.Case, "there are several files of probabilities of this name"})
		}
	}
	return skips, nil
}

// calibrate compares a probability image with the truth. It has a channel per
// class, background first, or one channel, which is that of the only foreground
// class; the classes are o's, without them channel k is label k.
func calibrate(ctx context.Context, path string, m *labelMaps, o Options) (*metrics.Calibration, error) {
	v, err := codec.Read(ctx, path, codec.Limits{})
	if err != nil {
		return nil, err
	}
	truth, ok := codec.Align(m.truth, v.Grid)
	if !ok {
		return nil, fault.Wrap(fault.Invalid, imaging.ErrShape, "the probabilities lie on another grid: %s", gridText(v.Grid))
	}
	classes, err := truthClasses(truth.Data, v.Channels, o.Classes)
	if err != nil {
		return nil, err
	}
	return metrics.Calibrate(ctx, classProbabilities(v), classes, o.Bins)
}

// truthClasses turns labels into the channels of their classes.
func truthClasses(labels []uint16, channels int, known []Class) ([]uint16, error) {
	n := max(channels, 2)
	if len(known) > 0 && len(known) != n-1 {
		return nil, fault.New(fault.Invalid, "%d channels of probabilities for %d classes and background", channels, len(known))
	}
	channel := make(map[uint16]uint16, n)
	for k := range n {
		channel[uint16(k)] = uint16(k)
	}
	if len(known) > 0 {
		clear(channel)
		channel[0] = 0
		for k, c := range known {
			channel[c.Label] = uint16(k + 1)
		}
	}
	out := make([]uint16, len(labels))
	last, at := uint16(0), uint16(0)
	for i, l := range labels {
		if l != last {
			k, ok := channel[l]
			if !ok {
				return nil, fault.New(fault.Invalid, "the truth has label %d, but no channel of the probabilities is its", l)
			}
			last, at = l, k
		}
		out[i] = at
	}
	return out, nil
}

// classProbabilities returns an array per class; a single channel gets its
// complement as background.
func classProbabilities(v *imaging.Volume) [][]float32 {
	n := v.Voxels()
	out := make([][]float32, 0, max(v.Channels, 2))
	if v.Channels == 1 {
		out = append(out, make([]float32, n))
	}
	stored, plain := v.Data.(imaging.Samples[float32])
	plain = plain && v.Slope == 1 && v.Intercept == 0
	for c := range v.Channels {
		if plain {
			out = append(out, stored[c*n:(c+1)*n])
			continue
		}
		p := make([]float32, n)
		v.Float32s(p, c, 0)
		out = append(out, p)
	}
	if v.Channels == 1 {
		for i, p := range out[1] {
			out[0][i] = 1 - p
		}
	}
	return out
}

// CalibrationSummary sums the calibration up over the cohort.
type CalibrationSummary struct {
	Cases   int        `json:"cases"`
	Skipped []Skip     `json:"skipped"`
	ECE     Statistics `json:"ece"` // of the cases'
	MCE     Statistics `json:"mce"`
	Brier   Statistics `json:"brier"`
	NLL     Statistics `json:"nll"`

	// Pooled is over the voxels of all cases together; nil without any.
	Pooled *PooledCalibration `json:"pooled,omitempty"`
}

// PooledCalibration is the calibration of all voxels of a cohort.
type PooledCalibration struct {
	ECE   float64      `json:"ece"`
	MCE   float64      `json:"mce"`
	Brier float64      `json:"brier"`
	NLL   float64      `json:"nll"`
	Bins  []BinSummary `json:"bins"` // from confidence 0 to 1, equally wide
}

// BinSummary is a point of the reliability diagram; without voxels the rates
// are absent.
type BinSummary struct {
	Voxels     int      `json:"voxels"`
	Confidence *float64 `json:"confidence,omitempty"` // mean
	Accuracy   *float64 `json:"accuracy,omitempty"`
}

func (r *Result) calibration(ctx context.Context, b bootstrap) (*CalibrationSummary, error) {
	if !r.Calibrated && len(r.Uncalibrated) == 0 {
		return nil, nil //nolint:nilnil // nothing was asked for
	}
	var list []*metrics.Calibration
	var ece, mce, brier, nll []float64
	for _, c := range r.Cases {
		if k := c.Calibration; k != nil {
			list = append(list, k)
			ece, mce, brier, nll = append(ece, k.ECE), append(mce, k.MCE), append(brier, k.Brier), append(nll, k.NLL)
		}
	}
	s := &CalibrationSummary{Cases: len(list), Skipped: append([]Skip{}, r.Uncalibrated...)}
	for i, d := range []struct {
		to     *Statistics
		values []float64
	}{{&s.ECE, ece}, {&s.MCE, mce}, {&s.Brier, brier}, {&s.NLL, nll}} {
		var err error
		if *d.to, err = b.describe(ctx, d.values, 2+uint64(i)); err != nil {
			return nil, err
		}
	}
	if all := metrics.Pool(list); all != nil {
		s.Pooled = &PooledCalibration{ECE: all.ECE, MCE: all.MCE, Brier: all.Brier, NLL: all.NLL}
		for _, b := range all.Bins {
			one := BinSummary{Voxels: b.Voxels}
			if b.Voxels > 0 {
				one.Confidence, one.Accuracy = known(b.Confidence/float64(b.Voxels)), known(float64(b.Correct)/float64(b.Voxels))
			}
			s.Pooled.Bins = append(s.Pooled.Bins, one)
		}
	}
	return s, nil
}

// writeCalibration writes a row per calibrated case, with nine decimals.
func (r *Result) writeCalibration(w io.Writer) error {
	c := csv.NewWriter(w)
	if err := c.Write([]string{"case", "voxels", "ece", "mce", "brier", "nll"}); err != nil {
		return err
	}
	for _, one := range r.Cases {
		k := one.Calibration
		if k == nil {
			continue
		}
		line := []string{one.Name, strconv.Itoa(k.Voxels)}
		for _, f := range []float64{k.ECE, k.MCE, k.Brier, k.NLL} {
			line = append(line, cellText(f, false))
		}
		if err := c.Write(line); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}
