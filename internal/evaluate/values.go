package evaluate

import (
	"context"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/metrics"
)

// Metric is a column of the table.
type Metric int

// The columns, in their order.
const (
	Dice Metric = iota
	IoU
	HD95
	ASSD
	HD
	ASD
	NSD
	Sensitivity
	Specificity
	Precision
	PredictedVolume
	TrueVolume
	VolumeError
	RelativeVolumeError
	TrueLesions
	PredictedLesions
	LesionTP
	LesionFP
	LesionFN
	LesionSensitivity
	LesionPrecision
	TP
	FP
	FN
	metricCount
)

// Values are the metrics of one class in one case; NaN is undefined.
type Values [metricCount]float64

// column says how a metric is written and summed up.
type column struct {
	key     string
	title   string // in summary.md; empty: not shown there
	whole   bool   // an integer
	summary bool   // has statistics over the cohort
}

var columns = [metricCount]column{
	Dice:                {"dice", "Dice", false, true},
	IoU:                 {"iou", "IoU", false, true},
	HD95:                {"hd95_mm", "HD95 (mm)", false, true},
	ASSD:                {"assd_mm", "ASSD (mm)", false, true},
	HD:                  {"hd_mm", "", false, true},
	ASD:                 {"asd_mm", "", false, true},
	NSD:                 {"nsd", "NSD", false, true},
	Sensitivity:         {"sensitivity", "sensitivity", false, true},
	Specificity:         {"specificity", "", false, true},
	Precision:           {"precision", "precision", false, true},
	PredictedVolume:     {"volume_pred_mm3", "", false, true},
	TrueVolume:          {"volume_truth_mm3", "", false, true},
	VolumeError:         {"volume_error_mm3", "volume error (mm³)", false, true},
	RelativeVolumeError: {"volume_error_rel", "", false, true},
	TrueLesions:         {"lesions_truth", "", true, false},
	PredictedLesions:    {"lesions_pred", "", true, false},
	LesionTP:            {"lesion_tp", "", true, false},
	LesionFP:            {"lesion_fp", "", true, false},
	LesionFN:            {"lesion_fn", "", true, false},
	LesionSensitivity:   {"lesion_sensitivity", "", false, true},
	LesionPrecision:     {"lesion_precision", "", false, true},
	TP:                  {"tp", "", true, false},
	FP:                  {"fp", "", true, false},
	FN:                  {"fn", "", true, false},
}

func (m Metric) String() string { return columns[m].key }

// measurement is what is known of one pair.
type measurement struct {
	pair        Pair
	rows        map[uint16]Values // of the classes that occur
	wrong       int
	voxels      int
	generalised float64
	calibration *metrics.Calibration // nil without probabilities
}

// maxLabels bounds the classes of one pair. An image taken for a label map has
// thousands, and every one would be measured over the whole volume.
const maxLabels = 1024

// checkLabels refuses maps of too many different labels, 0 counted.
func checkLabels(n int) error {
	if n > maxLabels {
		return fault.New(fault.Invalid, "the maps have %d different labels, at most %d are compared; are they label maps?", n, maxLabels)
	}
	return nil
}

// measure computes all metrics of a pair.
func measure(ctx context.Context, p Pair, m *labelMaps, o Options) (*measurement, error) {
	c, err := metrics.Compare(ctx, m.pred, m.truth)
	if err != nil {
		return nil, err
	}
	classes := c.Classes()
	if err := checkLabels(len(classes)); err != nil {
		return nil, err
	}
	out := &measurement{pair: p, rows: make(map[uint16]Values), wrong: c.Wrong(), voxels: m.truth.Voxels()}
	voxel := math.Abs(m.truth.Affine.Det())
	var counts []metrics.Counts
	for _, label := range classes {
		if label == 0 {
			continue
		}
		counts = append(counts, c.Counts(label))
		v := overlapValues(counts[len(counts)-1], voxel, o)
		if err := v.surfaces(ctx, c, label, o); err != nil {
			return nil, err
		}
		if err := v.lesions(ctx, c, label, o); err != nil {
			return nil, err
		}
		out.rows[label] = v
	}
	out.generalised = metrics.GeneralisedDice(counts, o.Weight)
	return out, nil
}

// absent returns the values of a class that is in neither map.
func (m *measurement) absent(o Options) Values {
	v := overlapValues(metrics.Counts{TN: m.voxels}, 1, o)
	nan := math.NaN()
	v[HD95], v[ASSD], v[HD], v[ASD], v[NSD] = nan, nan, nan, nan, nan
	v[LesionSensitivity], v[LesionPrecision] = nan, nan
	return v
}

// overlapValues fills in what follows from counting voxels of the given volume.
func overlapValues(n metrics.Counts, voxel float64, o Options) Values {
	var v Values
	v[Dice], v[IoU] = n.Dice(o.Empty), n.IoU(o.Empty)
	v[Sensitivity], v[Specificity], v[Precision] = n.Sensitivity(), n.Specificity(), n.Precision()
	v[PredictedVolume], v[TrueVolume] = float64(n.TP+n.FP)*voxel, float64(n.TP+n.FN)*voxel
	v[VolumeError], v[RelativeVolumeError] = n.VolumeError(voxel)
	v[TP], v[FP], v[FN] = float64(n.TP), float64(n.FP), float64(n.FN)
	return v
}

func (v *Values) surfaces(ctx context.Context, c *metrics.Comparison, label uint16, o Options) error {
	s, err := c.Surfaces(ctx, label, metrics.SurfaceOptions{Empty: o.Empty})
	if err != nil {
		return err
	}
	if v[HD95], err = s.Percentile(ctx, 95); err != nil {
		return err
	}
	v[HD], v[ASD], v[ASSD], v[NSD] = s.Hausdorff(), s.ASD(), s.ASSD(), s.NSD(o.Tolerance)
	if !o.Area {
		return nil
	}
	if s, err = c.Surfaces(ctx, label, metrics.SurfaceOptions{Empty: o.Empty, SubVoxel: true}); err != nil {
		return err
	}
	v[NSD] = s.NSD(o.Tolerance)
	return nil
}

func (v *Values) lesions(ctx context.Context, c *metrics.Comparison, label uint16, o Options) error {
	l, err := c.Lesions(ctx, label, metrics.LesionOptions{Connectivity: o.Connectivity, Overlap: o.Overlap})
	if err != nil {
		return err
	}
	v[TrueLesions], v[PredictedLesions] = float64(l.True), float64(l.Predicted)
	v[LesionTP], v[LesionFP], v[LesionFN] = float64(l.TP), float64(l.FP), float64(l.FN)
	v[LesionSensitivity], v[LesionPrecision] = l.Sensitivity(), l.Precision()
	return nil
}
