package metrics_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/goldentest"
	"github.com/voxloop/voxloop/internal/imaging/metrics"
)

// TestGolden checks all cases of golden/numerics/metrics.
func TestGolden(t *testing.T) {
	checks := map[string]func(*testing.T, goldentest.Case){
		"compute_dice, compute_iou": checkOverlap,
		"compute_hausdorff_distance, compute_average_surface_distance, compute_surface_dice": checkSurface,
		"get_confusion_matrix, compute_confusion_matrix_metric, compute_generalized_dice":    checkConfusion,
		"DiceMetric.aggregate":                  checkAggregate,
		"ECE, MCE, Brier, NLL (own definition)": checkCalibration,
		"get_mask_edges":                        checkEdges,
	}
	n := goldentest.Counts{}
	for _, c := range goldentest.Read(t, "metrics") {
		t.Run(c.Name, func(t *testing.T) {
			check := checks[c.Operation]
			if check == nil {
				t.Fatalf("no check for %q", c.Operation)
			}
			check(t, c)
			n[c.Operation]++
		})
	}
	n.Table(t, 92)
}

// comparison reads the two label maps of a case.
func comparison(t *testing.T, c goldentest.Case) *metrics.Comparison {
	t.Helper()
	pred, size := goldentest.Labels(t, c.Input(t, "prediction"))
	truth, _ := goldentest.Labels(t, c.Input(t, "truth"))
	g := imaging.Grid{Size: size, Affine: imaging.Identity()}
	cmp, err := metrics.Compare(t.Context(), &imaging.LabelMap{Grid: g, Data: pred}, &imaging.LabelMap{Grid: g, Data: truth})
	if err != nil {
		t.Fatal(err)
	}
	return cmp
}

func counts(t *testing.T, c goldentest.Case, from int) []metrics.Counts {
	t.Helper()
	cmp := comparison(t, c)
	var out []metrics.Counts
	for class := from; class < goldentest.Param(t, c, "classes", 0); class++ {
		out = append(out, cmp.Counts(uint16(class)))
	}
	return out
}

func each[T any](in []T, fn func(T) float64) []float64 {
	var out []float64
	for _, v := range in {
		out = append(out, fn(v))
	}
	return out
}

func checkOverlap(t *testing.T, c goldentest.Case) {
	seen := 0
	for bg := range 2 {
		n := counts(t, c, 1-bg)
		for ignore, e := range []metrics.Empty{metrics.MONAIKeep, metrics.MONAI} {
			key := fmt.Sprintf("_bg%d_ignore%d", bg, ignore)
			c.Expect(t, "dice"+key, each(n, func(n metrics.Counts) float64 { return n.Dice(e) })...)
			c.Expect(t, "iou"+key, each(n, func(n metrics.Counts) float64 { return n.IoU(e) })...)
			seen += 2
		}
	}
	if seen != len(c.Expected) {
		t.Errorf("%d of %d values were compared", seen, len(c.Expected))
	}
}

func checkConfusion(t *testing.T, c goldentest.Case) {
	n := counts(t, c, 0)
	var raw []float64
	for _, k := range n {
		raw = append(raw, float64(k.TP), float64(k.FP), float64(k.TN), float64(k.FN))
	}
	got := map[string][]float64{"tp_fp_tn_fn_per_class": raw}
	for name, fn := range map[string]func(metrics.Counts) float64{
		"sensitivity": metrics.Counts.Sensitivity, "specificity": metrics.Counts.Specificity, "precision": metrics.Counts.Precision,
		"negative predictive value": metrics.Counts.NegativePredictive, "miss rate": metrics.Counts.MissRate,
		"fall out": metrics.Counts.FallOut, "false discovery rate": metrics.Counts.FalseDiscovery,
		"false omission rate": metrics.Counts.FalseOmission, "prevalence threshold": metrics.Counts.PrevalenceThreshold,
		"threat score": metrics.Counts.ThreatScore, "accuracy": metrics.Counts.Accuracy,
		"balanced accuracy": metrics.Counts.BalancedAccuracy, "matthews correlation coefficient": metrics.Counts.Matthews,
		"fowlkes mallows index": metrics.Counts.FowlkesMallows, "informedness": metrics.Counts.Informedness,
		"markedness": metrics.Counts.Markedness,
		"f1 score":   func(n metrics.Counts) float64 { return n.FBeta(1) },
		"f_beta_0.5": func(n metrics.Counts) float64 { return n.FBeta(0.5) },
		"f_beta_1.0": func(n metrics.Counts) float64 { return n.FBeta(1) },
		"f_beta_2.0": func(n metrics.Counts) float64 { return n.FBeta(2) },
	} {
		got[name] = each(n, fn)
	}
	for name, w := range map[string]metrics.Weight{"square": metrics.Square, "simple": metrics.Simple, "uniform": metrics.Uniform} {
		for bg := range 2 {
			key := fmt.Sprintf("generalized_dice_%s_sum%%d_bg%d", name, bg)
			got[fmt.Sprintf(key, 0)] = metrics.GeneralisedDiceEach(n[1-bg:], w)
			got[fmt.Sprintf(key, 1)] = []float64{metrics.GeneralisedDice(n[1-bg:], w)}
		}
	}
	for key := range c.Expected {
		if v, ok := got[key]; ok {
			c.Expect(t, key, v...)
		} else {
			t.Errorf("%s was not compared", key)
		}
	}
}

func checkSurface(t *testing.T, c goldentest.Case) {
	cmp := comparison(t, c)
	got := map[string][]float64{}
	put := func(key string, v float64) { got[key] = append(got[key], v) }
	for class := range goldentest.Param(t, c, "classes", 0) {
		mm, voxel := goldentest.Param(t, c, "spacing", [3]float64{}), [3]float64{1, 1, 1}
		surfaces := func(o metrics.SurfaceOptions) *metrics.Surfaces {
			s, err := cmp.Surfaces(t.Context(), uint16(class), o)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		put("hd_mm_with_background", surfaces(metrics.SurfaceOptions{Spacing: mm}).Hausdorff())
		if class == 0 {
			continue
		}
		for unit, spacing := range map[string][3]float64{"_mm": mm, "_voxel": voxel} {
			s := surfaces(metrics.SurfaceOptions{Spacing: spacing})
			put("hd"+unit, s.Hausdorff())
			put("hd"+unit+"_directed", s.HausdorffDirected())
			p, err1 := s.Percentile(t.Context(), 95)
			d, err2 := s.PercentileDirected(t.Context(), 95)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			put("hd95"+unit, p)
			put("hd95"+unit+"_directed", d)
			put("asd"+unit, s.ASD())
			put("assd"+unit, s.ASSD())
			put("nsd1"+unit, s.NSD(1))
			put("nsd2"+unit, s.NSD(2))
		}
		put("hd_voxel_chessboard", surfaces(metrics.SurfaceOptions{Spacing: voxel, Norm: metrics.Chessboard}).Hausdorff())
		put("hd_voxel_taxicab", surfaces(metrics.SurfaceOptions{Spacing: voxel, Norm: metrics.Taxicab}).Hausdorff())
		sub := surfaces(metrics.SurfaceOptions{Spacing: mm, SubVoxel: true})
		put("nsd1_mm_subvoxel", sub.NSD(1))
		put("nsd2_mm_subvoxel", sub.NSD(2))
	}
	for key := range c.Expected {
		if v, ok := got[key]; ok {
			c.Expect(t, key, v...)
		} else {
			t.Errorf("%s was not compared", key)
		}
	}
}

func checkEdges(t *testing.T, c goldentest.Case) {
	pred, truth, err := comparison(t, c).Edges(t.Context(), uint16(goldentest.Param(t, c, "class", 0)))
	if err != nil {
		t.Fatal(err)
	}
	for key, got := range map[string][]bool{"prediction_edges": pred, "truth_edges": truth} {
		want, _ := goldentest.Labels(t, c.Want(t, key))
		for i, w := range want {
			if got[i] != (w != 0) {
				t.Fatalf("%s: voxel %d is %v, want %d", key, i, got[i], w)
			}
		}
	}
}

func checkAggregate(t *testing.T, c goldentest.Case) {
	var rows [][]float64
	for _, r := range c.Inputs["per_sample_per_class"].Value.([]any) {
		rows = append(rows, c.Numbers(t, goldentest.Recorded{Value: r}))
	}
	name := goldentest.Param(t, c, "reduction", "")
	if name == "none" { // the table itself
		var values, defined []float64
		for _, row := range rows {
			for _, v := range row {
				values = append(values, v)
				_, n, err := metrics.Reduce([][]float64{{v}}, metrics.Sum)
				if err != nil {
					t.Fatal(err)
				}
				defined = append(defined, float64(n[0]))
			}
		}
		c.Expect(t, "value", values...)
		c.Expect(t, "not_nans", defined...)
		return
	}
	r, ok := map[string]metrics.Reduction{
		"mean": metrics.Mean, "sum": metrics.Sum, "mean_batch": metrics.MeanBatch, "sum_batch": metrics.SumBatch,
		"mean_channel": metrics.MeanChannel, "sum_channel": metrics.SumChannel,
	}[name]
	if !ok {
		t.Fatalf("reduction %q", name)
	}
	values, defined, err := metrics.Reduce(rows, r)
	if err != nil {
		t.Fatal(err)
	}
	c.Expect(t, "value", values...)
	c.Expect(t, "not_nans", each(defined, func(n int) float64 { return float64(n) })...)
}

func checkCalibration(t *testing.T, c goldentest.Case) {
	channels, _ := goldentest.Channels(t, c.Input(t, "probabilities"))
	truth, _ := goldentest.Labels(t, c.Input(t, "truth"))
	var p [][]float32
	for _, ch := range channels {
		var out []float32
		for _, v := range ch {
			out = append(out, float32(v))
		}
		p = append(p, out)
	}
	got, err := metrics.Calibrate(t.Context(), p, truth, goldentest.Param(t, c, "bins", 0))
	if err != nil {
		t.Fatal(err)
	}
	c.Expect(t, "ece", got.ECE)
	c.Expect(t, "mce", got.MCE)
	c.Expect(t, "brier", got.Brier)
	c.Expect(t, "brier_per_class_mean", got.Brier/float64(len(p)))
	c.Expect(t, "nll", got.NLL)
	c.Expect(t, "bin_counts", each(got.Bins, func(b metrics.Bin) float64 { return float64(b.Voxels) })...)
	c.Expect(t, "bin_confidence_sums", each(got.Bins, func(b metrics.Bin) float64 { return b.Confidence })...)
	c.Expect(t, "bin_correct_sums", each(got.Bins, func(b metrics.Bin) float64 { return float64(b.Correct) })...)
	if math.IsNaN(got.ECE) {
		t.Error("ECE is NaN")
	}
}
