package morph_test

import (
	"math"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/goldentest"
	"github.com/voxloop/voxloop/internal/imaging/morph"
)

// TestLabelsGolden checks all cases of golden/numerics/labels.
func TestLabelsGolden(t *testing.T) {
	checks := map[string]func(*testing.T, goldentest.Case){
		"per-label counts, volume, box, centroid": checkDescribe,
		"connected components":                    checkComponents,
		"index to physical point and back":        checkPoints,
		"per-label intensity statistics":          checkIntensity,
	}
	n := goldentest.Counts{}
	for _, c := range goldentest.Read(t, "labels") {
		t.Run(c.Name, func(t *testing.T) {
			check := checks[c.Operation]
			if check == nil {
				t.Fatalf("no check for %q", c.Operation)
			}
			check(t, c)
			n[c.Operation]++
		})
	}
	n.Table(t, 44)
}

func labelMap(t *testing.T, c goldentest.Case) *imaging.LabelMap {
	t.Helper()
	v, err := codec.Read(t.Context(), c.Path("label"), codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := imaging.LabelMapOf(v)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// rows returns the list of per-label objects of the expected value.
func rows(c goldentest.Case) []map[string]any {
	var out []map[string]any
	for _, r := range c.Expected["labels"].Value.([]any) {
		out = append(out, r.(map[string]any))
	}
	return out
}

// expect compares the fields of one expected object.
func expect(t *testing.T, c goldentest.Case, row map[string]any, got map[string][]float64) {
	t.Helper()
	for key, value := range row {
		g, ok := got[key]
		want := c.Numbers(t, goldentest.Recorded{Value: value})
		if !ok || len(g) != len(want) {
			t.Errorf("%s: %v, want %v", key, g, want)
			continue
		}
		for i := range want {
			if !c.Close(g[i], want[i]) {
				t.Errorf("label %v, %s[%d] = %v, want %v", row["label"], key, i, g[i], want[i])
			}
		}
	}
}

func checkDescribe(t *testing.T, c goldentest.Case) {
	l := labelMap(t, c)
	stats, err := morph.Describe(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	c.Expect(t, "voxel_volume_mm3", math.Abs(l.Affine.Det()))
	want := rows(c)
	if len(stats) != len(want) {
		t.Fatalf("%d labels, want %d", len(stats), len(want))
	}
	for i, s := range stats {
		expect(t, c, want[i], map[string][]float64{
			"label": {float64(s.Label)}, "voxels": {float64(s.Voxels)}, "volume_mm3": {s.Volume}, "volume_ml": {s.ML()},
			"bbox_min": floats(s.Box.Min[:]), "bbox_max": floats(s.Box.Max[:]),
			"centroid_voxel": s.Centroid[:], "centroid_ras": s.RAS[:],
			"centroid_lps": {-s.RAS[0], -s.RAS[1], s.RAS[2]},
		})
	}
}

func checkComponents(t *testing.T, c goldentest.Case) {
	l := labelMap(t, c)
	scan := [3]int{l.Size[1] * l.Size[2], l.Size[2], 1} // k fastest
	o := morph.FindOptions{Connectivity: morph.Connectivity(goldentest.Param(t, c, "connectivity", 0)), Order: scan}
	found, err := morph.Find(t.Context(), l.Data, l.Size, o)
	if err != nil {
		t.Fatal(err)
	}
	sizes, first := map[uint16][]float64{}, map[uint16][]float64{}
	for _, m := range found.List {
		sizes[m.Label] = append(sizes[m.Label], float64(m.Voxels))
		first[m.Label] = append(first[m.Label], float64(m.First))
	}
	want := rows(c)
	if len(sizes) != len(want) {
		t.Errorf("%d labels, want %d", len(sizes), len(want))
	}
	for _, row := range want {
		label := uint16(row["label"].(float64))
		expect(t, c, row, map[string][]float64{
			"label": {float64(label)}, "count": {float64(len(sizes[label]))},
			"sizes_in_scan_order": sizes[label], "first_flat_index": first[label], "largest": {slices.Max(sizes[label])},
		})
	}
	checkForeground(t, c, l, o)
}

// checkForeground takes all labels together.
func checkForeground(t *testing.T, c goldentest.Case, l *imaging.LabelMap, o morph.FindOptions) {
	t.Helper()
	o.Joint = true
	found, err := morph.Find(t.Context(), l.Data, l.Size, o)
	if err != nil {
		t.Fatal(err)
	}
	var sizes []float64
	for _, m := range found.List {
		sizes = append(sizes, float64(m.Voxels))
	}
	c.Expect(t, "foreground_count", float64(len(sizes)))
	slices.SortFunc(sizes, func(a, b float64) int { return int(b - a) })
	c.Expect(t, "foreground_sizes_descending", sizes...)
	if c.Expected["component_map"].File == "" {
		return
	}
	got, err := found.Map(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, _ := goldentest.Channels(t, c.Want(t, "component_map"))
	for i, w := range want[0] {
		if float64(got[i]) != w {
			t.Fatalf("component_map: voxel %d is in %d, want %g", i, got[i], w)
		}
	}
}

func checkPoints(t *testing.T, c goldentest.Case) {
	l := labelMap(t, c)
	indices := goldentest.Param(t, c, "indices", [][3]float64(nil))
	var ras, lps, back []float64
	for _, p := range indices {
		r, q := morph.Physical(l.Grid, p, morph.RAS), morph.Physical(l.Grid, p, morph.LPS)
		ras, lps = append(ras, r[:]...), append(lps, q[:]...)
		b, err := morph.Index(l.Grid, q, morph.LPS)
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, b[:]...)
	}
	c.Expect(t, "ras", ras...)
	c.Expect(t, "lps", lps...)
	c.Expect(t, "sitk_lps", lps...)
	f, err := morph.FrameOf(l.Grid, morph.LPS)
	if err != nil {
		t.Fatal(err)
	}
	c.Expect(t, "sitk_origin", f.Origin[:]...)
	c.Expect(t, "sitk_spacing", f.Spacing[:]...)
	c.Expect(t, "sitk_direction", flat3(f.Direction)...)
	if got, want := l.Orientation(), c.Expected["axis_codes"].Value; got != want {
		t.Errorf("axis_codes %s, want %v", got, want)
	}
	if _, ok := c.Expected["continuous_ras"]; !ok {
		return
	}
	c.Expect(t, "back_to_index_from_lps", back...)
	ras, lps = nil, nil
	for _, p := range goldentest.Param(t, c, "continuous_indices", [][3]float64(nil)) {
		r, q := morph.Physical(l.Grid, p, morph.RAS), morph.Physical(l.Grid, p, morph.LPS)
		ras, lps = append(ras, r[:]...), append(lps, q[:]...)
	}
	c.Expect(t, "continuous_ras", ras...)
	c.Expect(t, "sitk_continuous_lps", lps...)
	inv, ok := l.Affine.Inverse()
	if !ok {
		t.Fatal("no inverse")
	}
	var all []float64
	for i := range inv {
		all = append(all, inv[i][:]...)
	}
	c.Expect(t, "inverse_affine", all...)
}

func flat3(m [3][3]float64) []float64 {
	return []float64{m[0][0], m[0][1], m[0][2], m[1][0], m[1][1], m[1][2], m[2][0], m[2][1], m[2][2]}
}

func checkIntensity(t *testing.T, c goldentest.Case) {
	l := labelMap(t, c)
	values, _ := goldentest.Channels(t, c.Input(t, "image"))
	v := imaging.NewVolume(l.Grid, 1, imaging.Float32)
	for i, f := range values[0] {
		v.Data.(imaging.Samples[float32])[i] = float32(f)
	}
	got, err := morph.Intensities(t.Context(), l, v, 0, 0.5, 10, 90, 99.5)
	if err != nil {
		t.Fatal(err)
	}
	want := rows(c)
	if len(got) != len(want) {
		t.Fatalf("%d labels, want %d", len(got), len(want))
	}
	for i, s := range got {
		p := s.Percentiles
		expect(t, c, want[i], map[string][]float64{
			"label": {float64(s.Label)}, "mean": {s.Mean}, "std_population": {s.Std}, "min": {s.Min}, "max": {s.Max},
			"median": {s.Median}, "sum": {s.Sum},
			"percentile_05": {p[0]}, "percentile_10": {p[1]}, "percentile_90": {p[2]}, "percentile_995": {p[3]},
		})
	}
}

func floats(v []int) []float64 {
	var out []float64
	for _, i := range v {
		out = append(out, float64(i))
	}
	return out
}

// TestTransformsGolden checks FillHoles, RemoveSmallObjects and
// KeepLargestConnectedComponent of golden/numerics/transforms, as MONAI means
// them: on label maps, and channel by channel on one-hot arrays.
func TestTransformsGolden(t *testing.T) {
	n := goldentest.Counts{}
	for _, c := range goldentest.Read(t, "transforms", "FillHoles", "RemoveSmallObjects", "KeepLargestConnectedComponent") {
		t.Run(c.Name, func(t *testing.T) {
			channels, size := goldentest.Channels(t, c.Input(t, "label"))
			want, _ := goldentest.Channels(t, c.Want(t, "label"))
			data := make([][]uint16, len(channels))
			for i, ch := range channels {
				for _, v := range ch {
					data[i] = append(data[i], uint16(v))
				}
			}
			switch c.Operation {
			case "FillHoles":
				fillHoles(t, c, data[0], size)
			case "RemoveSmallObjects":
				removeSmall(t, c, data, size)
			default:
				keepLargest(t, c, data, size)
			}
			for i := range want {
				for j, w := range want[i] {
					if float64(data[i][j]) != w {
						t.Fatalf("channel %d, voxel %d: %d, want %g", i, j, data[i][j], w)
					}
				}
			}
			n[c.Operation]++
		})
	}
	n.Table(t, 6+6+15)
}

// hops maps SciPy's connectivity (0: all) to neighbours.
var hops = map[int]morph.Connectivity{0: 26, 1: 6, 2: 18, 3: 26}

func fillHoles(t *testing.T, c goldentest.Case, data []uint16, size [3]int) {
	t.Helper()
	labels := goldentest.Param(t, c, "applied_labels", []uint16(nil))
	err := morph.FillHoles(t.Context(), data, size, labels, hops[goldentest.Param(t, c, "connectivity", 0)])
	if err != nil {
		t.Fatal(err)
	}
}

func removeSmall(t *testing.T, c goldentest.Case, channels [][]uint16, size [3]int) {
	t.Helper()
	least := int(goldentest.Param(t, c, "min_size", 0.0))
	if goldentest.Param(t, c, "by_measure", false) {
		p := goldentest.Param(t, c, "pixdim", [3]float64{})
		least = morph.MinVoxels(goldentest.Param(t, c, "min_size", 0.0), p[0]*p[1]*p[2])
	}
	independent := goldentest.Param(t, c, "independent_channels", true)
	for _, data := range channels {
		if independent && slices.Max(data) > 1 {
			morph.RemoveRare(data, least)
			continue
		}
		o := morph.FindOptions{Connectivity: hops[goldentest.Param(t, c, "connectivity", 0)], Joint: true}
		if err := morph.RemoveSmall(t.Context(), data, size, o, least); err != nil {
			t.Fatal(err)
		}
	}
}

func keepLargest(t *testing.T, c goldentest.Case, channels [][]uint16, size [3]int) {
	t.Helper()
	o := morph.FindOptions{
		Connectivity: hops[goldentest.Param(t, c, "connectivity", 0)],
		Joint:        !goldentest.Param(t, c, "independent", true),
		Labels:       goldentest.Param(t, c, "applied_labels", []uint16(nil)),
		Order:        [3]int{size[1] * size[2], size[2], 1},
	}
	count := goldentest.Param(t, c, "num_components", 1)
	if goldentest.Param(t, c, "is_onehot", false) {
		keepOneHot(t, o, channels, size, count)
		return
	}
	if err := morph.KeepLargest(t.Context(), channels[0], size, o, count); err != nil {
		t.Fatal(err)
	}
}

// keepOneHot takes the chosen channels as a label map and writes it back; the
// background channel is not filled.
func keepOneHot(t *testing.T, o morph.FindOptions, channels [][]uint16, size [3]int, count int) {
	t.Helper()
	labels := make([]uint16, len(channels[0]))
	for c := 1; c < len(channels); c++ {
		for i, v := range channels[c] {
			if v != 0 {
				labels[i] = uint16(c)
			}
		}
	}
	if err := morph.KeepLargest(t.Context(), labels, size, o, count); err != nil {
		t.Fatal(err)
	}
	for c := 1; c < len(channels); c++ {
		for i := range channels[c] {
			channels[c][i] = 0
			if labels[i] == uint16(c) {
				channels[c][i] = 1
			}
		}
	}
}
