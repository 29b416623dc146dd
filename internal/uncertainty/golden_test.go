package uncertainty

import (
	"math"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging/goldentest"
)

// The recorded operations that this package answers for, and those that select
// images, which the package strategies does.
var (
	measured = map[string]func(*testing.T, goldentest.Case){
		"uncertainty maps (own definition)":                       goldenMaps,
		"pass disagreement (own definition)":                      goldenDisagreement,
		"aggregation (own definition)":                            goldenAggregation,
		"predictive entropy per predicted class (own definition)": goldenClasses,
		"MONAI Label EpistemicScoring":                            goldenEpistemic,
		"monai compute_variance":                                  goldenVariance,
		"monai label_quality_score":                               goldenQuality,
	}
	selecting = []string{
		"power acquisition with given Gumbel noise",
		"softmax acquisition with given Gumbel noise",
		"softrank acquisition with given Gumbel noise",
		"class-stratified power-noised entropy (own definition, after ClaSP-PE)",
		"core-set greedy k-centre (own definition)",
		"k-means++ / BADGE-like selection (own definition)",
	}
)

// TestGolden compares all recorded measures: 38 of the 61 cases of the topic,
// the others being selections.
func TestGolden(t *testing.T) {
	n, elsewhere := goldentest.Counts{}, 0
	for _, c := range goldentest.Read(t, "acquisition") {
		check := measured[c.Operation]
		switch {
		case check != nil:
			t.Run(c.Name, func(t *testing.T) { check(t, c) })
			n[c.Operation]++
		case slices.Contains(selecting, c.Operation):
			elsewhere++
		default:
			t.Errorf("nobody checks the operation %q of case %s", c.Operation, c.Name)
		}
	}
	n.Table(t, 38)
	t.Logf("%d further cases select images", elsewhere)
	if elsewhere != 23 {
		t.Errorf("%d cases select images, want 23", elsewhere)
	}
}

// passes reads [pass][class][voxel] and the size in voxels.
func passes(t *testing.T, c goldentest.Case) (p [][][]float32, size [3]int) {
	t.Helper()
	a := c.Input(t, "probabilities")
	copy(size[:], a.Shape[2:])
	return cut(a.F32(t), a.Shape[0], a.Shape[1]), size
}

func cut(v []float32, passes, classes int) (p [][][]float32) {
	n := len(v) / passes / classes
	for range passes {
		var q [][]float32
		for range classes {
			q, v = append(q, v[:n]), v[n:]
		}
		p = append(p, q)
	}
	return p
}

func mapsOf(t *testing.T, c goldentest.Case) (*Maps, [3]int) {
	t.Helper()
	p, size := passes(t, c)
	a, err := New(len(p[0]), len(p[0][0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range p {
		n, err := a.Begin()
		if err != nil {
			t.Fatal(err)
		}
		a.Add(n, 0, q)
	}
	m, err := a.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m, size
}

// named returns the maps under the names of the recorded numbers.
func named(m *Maps) map[string][]float32 {
	return map[string][]float32{
		"predictive_entropy": m.Entropy, "expected_entropy": m.ExpectedEntropy(), "bald": m.Information, "variance": m.Variance,
		"variation_ratio": m.VariationRatio(), "margin": m.Margin, "least_confidence": m.LeastConfidence(),
	}
}

func expectMap(t *testing.T, c goldentest.Case, key string, got []float32) {
	t.Helper()
	want := c.Want(t, key).F64(t)
	if len(got) != len(want) {
		t.Fatalf("%s: %d voxels, want %d", key, len(got), len(want))
	}
	for i := range want {
		if !c.Close(float64(got[i]), want[i]) {
			t.Fatalf("%s[%d] = %v, want %v", key, i, got[i], want[i])
		}
	}
}

func goldenMaps(t *testing.T, c goldentest.Case) {
	t.Helper()
	m, _ := mapsOf(t, c)
	got := named(m)
	if len(got) != len(c.Expected) {
		t.Errorf("%d maps, want %d", len(got), len(c.Expected))
	}
	for key := range c.Expected {
		expectMap(t, c, key, got[key])
	}
}

func goldenDisagreement(t *testing.T, c goldentest.Case) {
	t.Helper()
	m, _ := mapsOf(t, c)
	p, _ := passes(t, c)
	c.Expect(t, "pairwise_dice", m.PairwiseDice()...)
	c.Expect(t, "mean_pairwise_dice", 1-m.Disagreement())
	c.Expect(t, "disagreement", m.Disagreement())
	var js []float64
	sum := 0.0
	for i := range p {
		for j := i + 1; j < len(p); j++ {
			js = append(js, JensenShannon(p[i], p[j]))
			sum += js[len(js)-1]
		}
	}
	c.Expect(t, "pairwise_js", js...)
	c.Expect(t, "mean_pairwise_js", sum/float64(len(js)))
	c.Expect(t, "generalised_js", JensenShannon(p...))
	if whole := mean(m.Information, nil); !c.Close(whole, JensenShannon(p...)) {
		t.Errorf("the mean of the mutual information is %g, the divergence of all passes %g", whole, JensenShannon(p...))
	}
	var volumes []float64
	for _, v := range m.Volumes() {
		volumes = append(volumes, float64(v))
	}
	c.Expect(t, "foreground_volumes", volumes...)
	c.Expect(t, "volume_variation_coefficient", m.VolumeVariation())
}

func goldenAggregation(t *testing.T, c goldentest.Case) {
	t.Helper()
	m, size := mapsOf(t, c)
	patch := goldentest.Param(t, c, "patch", [3]int{})
	share := goldentest.Param(t, c, "top", 0.0)
	for name, v := range named(m) {
		want, ok := c.Expected[name].Value.(map[string]any)
		if !ok || len(want) != 7 {
			t.Fatalf("%s: %v", name, c.Expected[name].Value)
		}
		got := map[string]float64{}
		for key, how := range map[string]Aggregation{"mean": Whole, "top1_percent_mean": TopShare, "max_patch_mean": Patch} {
			score, _, err := Aggregate(v, m.Labels, size, AggregateOptions{How: how, Top: share, Patch: patch})
			if err != nil {
				t.Fatal(err)
			}
			got[key] = score
		}
		region := 0
		got["foreground_boundary_mean"], region = ForegroundMean(v, m.Labels, size, 1)
		got["sum"], got["max"] = got["mean"]*float64(len(v)), float64(slices.Max(v))
		for key, g := range got {
			if w, ok := want[key].(float64); !ok || !c.Close(g, w) {
				t.Errorf("%s %s: %v, want %v", name, key, g, want[key])
			}
		}
		_, start := LargestPatch(v, size, patch)
		for d, w := range want["max_patch_start"].([]any) {
			if float64(start[d]) != w {
				t.Errorf("%s: the largest patch starts at %v, want %v", name, start, want["max_patch_start"])
				break
			}
		}
		c.Expect(t, "region_voxels", float64(region))
	}
	_, n := ForegroundMean(m.Entropy, m.Labels, size, 0)
	c.Expect(t, "foreground_voxels", float64(n))
}

func goldenClasses(t *testing.T, c goldentest.Case) {
	t.Helper()
	m, _ := mapsOf(t, c)
	means, voxels := ClassMeans(m.Entropy, m.Labels, len(m.Mean))
	c.Expect(t, "mean_entropy_per_class", means...)
	var n []float64
	for _, v := range voxels {
		n = append(n, float64(v))
	}
	c.Expect(t, "voxels_per_class", n...)
}

func goldenEpistemic(t *testing.T, c goldentest.Case) {
	t.Helper()
	p, _ := passes(t, c)
	all, scoreAll := EpistemicEntropy(p, true)
	foreground, score := EpistemicEntropy(p, false)
	variance, scoreVariance := EpistemicVariance(p)
	expectMap(t, c, "entropy_volume_all_channels", all)
	expectMap(t, c, "entropy_volume_foreground_channels", foreground)
	expectMap(t, c, "variance_volume", variance)
	c.Expect(t, "score_entropy_all", scoreAll)
	c.Expect(t, "score_entropy_foreground", score)
	c.Expect(t, "score_variance", scoreVariance)
}

func goldenVariance(t *testing.T, c goldentest.Case) {
	t.Helper()
	p, _ := passes(t, c)
	m, score, err := PooledVariance(p, goldentest.Param(t, c, "include_background", true), goldentest.Param(t, c, "threshold", math.NaN()), goldentest.Param(t, c, "scalar_reduction", ""))
	if err != nil {
		t.Fatal(err)
	}
	expectMap(t, c, "map", m)
	c.Expect(t, "scalar", score)
}

func goldenQuality(t *testing.T, c goldentest.Case) {
	t.Helper()
	a, b := c.Input(t, "prediction"), c.Input(t, "truth")
	var scores []float64
	labels := make([]float32, 0, b.Len())
	for _, v := range b.F64(t) {
		labels = append(labels, float32(v))
	}
	want := cut(labels, a.Shape[0], a.Shape[1])
	for i, p := range cut(a.F32(t), a.Shape[0], a.Shape[1]) {
		s, err := LabelQuality(p, want[i], goldentest.Param(t, c, "include_background", true), goldentest.Param(t, c, "scalar_reduction", ""))
		if err != nil {
			t.Fatal(err)
		}
		scores = append(scores, s)
	}
	c.Expect(t, "score", scores...)
}
