package transform_test

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
	"github.com/voxloop/voxloop/internal/testkit"
)

// checkIntensity runs one intensity step on all channels together, or on each.
func checkIntensity(t *testing.T, g golden) {
	want := g.want(t, "image")
	var channels [][]float32
	if f := g.source(t, "image").File; len(f) > 4 && f[len(f)-4:] == ".npy" {
		channels, _ = g.input(t, "image")
	} else {
		v := g.volume(t, "image")
		channels = [][]float32{sample(t, v, 0, v.Grid, transform.Options{})}
	}
	groups := []transform.Channels{channels}
	if param(t, g, "channel_wise", false) {
		groups = nil
		for _, c := range channels {
			groups = append(groups, transform.Channels{c})
		}
	}
	for i, c := range groups {
		if err := step(t, g, c, i); err != nil {
			t.Fatal(err)
		}
	}
	var got []float32
	for _, c := range channels {
		got = append(got, c...)
	}
	g.compare(t, "image", got, want, g.Tolerance.Mismatch)
}

func step(t *testing.T, g golden, c transform.Channels, group int) error {
	ctx := t.Context()
	to := [2]float64{param(t, g, "b_min", 0.0), param(t, g, "b_max", 1.0)}
	percent := [2]float64{param(t, g, "lower", 0.0), param(t, g, "upper", 0.0)}
	switch g.Operation {
	case "ScaleIntensityRange":
		return c.Linear(ctx, [2]float64{param(t, g, "a_min", 0.0), param(t, g, "a_max", 0.0)}, to, param(t, g, "clip", false))
	case "ScaleIntensity":
		if g.has("factor") {
			return c.Scale(ctx, param(t, g, "factor", 0.0))
		}
		return c.MinMax(ctx, [2]float64{param(t, g, "minv", 0.0), param(t, g, "maxv", 0.0)})
	case "ScaleIntensityRangePercentiles":
		if param(t, g, "relative", false) {
			return c.PercentileRelative(ctx, percent, to, param(t, g, "clip", false))
		}
		return c.Percentile(ctx, percent, to, param(t, g, "clip", false))
	case "ClipIntensityPercentiles":
		return c.ClipPercentiles(ctx, percent)
	case "ShiftIntensity":
		return c.Shift(ctx, param(t, g, "offset", 0.0))
	case "StdShiftIntensity":
		return c.StdShift(ctx, param(t, g, "factor", 0.0), false)
	case "ThresholdIntensity":
		return c.Threshold(ctx, param(t, g, "threshold", 0.0), param(t, g, "above", true), param(t, g, "cval", 0.0))
	case "AdjustContrast":
		return c.Gamma(ctx, transform.Gamma{
			Exponent: param(t, g, "gamma", 0.0), Invert: param(t, g, "invert_image", false), Keep: param(t, g, "retain_stats", false),
		})
	case "RandGaussianNoise":
		noise, _ := g.input(t, "noise")
		return c.Add(ctx, noise)
	case "NormalizeIntensity":
		if _, ok := g.Parameters["subtrahend"]; ok { // given mean and deviation: a straight line
			m, d := given(t, g, "subtrahend", group), given(t, g, "divisor", group)
			return c.Linear(ctx, [2]float64{m, m + d}, [2]float64{0, 1}, false)
		}
		return c.ZScore(ctx, param(t, g, "nonzero", false))
	}
	t.Fatalf("no step for %s", g.Operation)
	return nil
}

func given(t *testing.T, g golden, key string, group int) float64 {
	if g.Parameters[key][0] == '[' {
		return param(t, g, key, []float64(nil))[group]
	}
	return param(t, g, key, 0.0)
}

func checkPercentile(t *testing.T, g golden) {
	ch, _ := g.input(t, "image")
	got, err := transform.Channels(ch).Percentiles(t.Context(), param(t, g, "q", []float64(nil)))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range value[[]float64](t, g.Expected["values"]) {
		if math.Abs(got[i]-want) > g.Tolerance.Atol+g.Tolerance.Rtol*math.Abs(want) {
			t.Errorf("percentile %d: %g, want %g", i, got[i], want)
		}
	}
}

func checkLargest(t *testing.T, g golden) {
	ch, size := g.input(t, "label")
	k := transform.Keep{
		Joint: !param(t, g, "independent", true), Connectivity: [4]int{26, 6, 18, 26}[param(t, g, "connectivity", 0)],
		Count: param(t, g, "num_components", 1),
	}
	applied := param(t, g, "applied_labels", []uint16(nil))
	want := g.want(t, "label")
	if !param(t, g, "is_onehot", false) {
		k.Labels = applied
		labels := asLabels(t, ch[0])
		if err := k.Largest(labels, size); err != nil {
			t.Fatal(err)
		}
		g.compare(t, "label", asFloat(labels), want, 0)
		return
	}
	// One-hot channels: the class of a voxel is its channel. Each alone is a
	// label map per channel; together they are the union's mask.
	if applied == nil {
		for c := 1; c < len(ch); c++ {
			applied = append(applied, uint16(c))
		}
	}
	union := make([]uint16, len(ch[0]))
	var got []float32
	for c := range ch {
		for i, x := range ch[c] {
			if contains(applied, c) && x > 0 {
				union[i] = 1
			}
		}
	}
	if err := k.Largest(union, size); err != nil {
		t.Fatal(err)
	}
	for c := range ch {
		labels := asLabels(t, ch[c])
		switch {
		case !contains(applied, c):
		case k.Joint:
			for i := range labels {
				labels[i] *= union[i]
			}
		default:
			if err := k.Largest(labels, size); err != nil {
				t.Fatal(err)
			}
		}
		got = append(got, asFloat(labels)...)
	}
	g.compare(t, "label", got, want, 0)
}

func contains(labels []uint16, c int) bool {
	for _, l := range labels {
		if int(l) == c {
			return true
		}
	}
	return false
}

func checkActivations(t *testing.T, g golden) {
	ch, size := g.input(t, "logits")
	n := size[0] * size[1] * size[2]
	scores := flat(ch)
	if param(t, g, "softmax", false) {
		transform.Softmax(scores, n, 0, n)
	} else {
		transform.Sigmoid(scores, n, 0, n)
	}
	g.compare(t, "image", scores, g.want(t, "image"), 0)
}

func flat(ch [][]float32) []float32 {
	var s []float32
	for _, c := range ch {
		s = append(s, c...)
	}
	return s
}

func checkDiscrete(t *testing.T, g golden) {
	if g.has("rounding") {
		c := transform.Channels{testkit.ReadNPY(t, filepath.Join(g.dir, g.source(t, "image").File)).F32(t)}
		if err := c.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, want := range value[[][]float32](t, g.Expected["values"])[0] {
			if c[0][i] != want {
				t.Errorf("value %d rounds to %g, want %g", i, c[0][i], want)
			}
		}
		return
	}
	want := g.want(t, "label")
	if g.has("threshold") {
		ch, _ := g.input(t, "image")
		if err := transform.Channels(ch).Binarize(t.Context(), param(t, g, "threshold", 0.0)); err != nil {
			t.Fatal(err)
		}
		g.compare(t, "label", flat(ch), want, 0)
		return
	}
	var labels []uint16
	if _, ok := g.Inputs["label"]; ok {
		ch, _ := g.input(t, "label")
		labels = asLabels(t, ch[0])
	} else {
		ch, _ := g.input(t, "logits")
		n := len(ch[0])
		labels = make([]uint16, n)
		transform.Argmax(labels, flat(ch), n, 0, n)
	}
	if !g.has("to_onehot") {
		g.compare(t, "label", asFloat(labels), want, 0)
		return
	}
	hot, err := transform.OneHot(t.Context(), labels, param(t, g, "to_onehot", 0))
	if err != nil {
		t.Fatal(err)
	}
	g.compare(t, "label", flat(hot), want, 0)
}

func checkLabelFilter(t *testing.T, g golden) {
	ch, _ := g.input(t, "label")
	labels := asLabels(t, ch[0])
	if err := transform.FilterLabels(t.Context(), labels, param(t, g, "applied_labels", []uint16(nil))); err != nil {
		t.Fatal(err)
	}
	g.compare(t, "label", asFloat(labels), g.want(t, "label"), 0)
}

// stack reads an array [E, C, X, Y, Z] as E results of C channels.
func stack(t *testing.T, g golden) []transform.Channels {
	t.Helper()
	a := testkit.ReadNPY(t, filepath.Join(g.dir, g.source(t, "stack").File))
	all := a.F32(t)
	n := len(all) / a.Shape[0] / a.Shape[1]
	out := make([]transform.Channels, a.Shape[0])
	for e := range out {
		for range a.Shape[1] {
			out[e], all = append(out[e], all[:n]), all[n:]
		}
	}
	return out
}

func checkMean(t *testing.T, g golden) {
	got, err := transform.Mean(t.Context(), stack(t, g), param(t, g, "weights", []float64(nil)))
	if err != nil {
		t.Fatal(err)
	}
	g.compare(t, "image", flat(got), g.want(t, "image"), 0)
}

func checkVote(t *testing.T, g golden) {
	var votes [][]uint16
	for _, one := range stack(t, g) {
		votes = append(votes, asLabels(t, one[0]))
	}
	got, err := transform.Vote(t.Context(), votes)
	if err != nil {
		t.Fatal(err)
	}
	g.compare(t, "label", asFloat(got), g.want(t, "label"), 0)
}

// checkSmooth runs the filters.
func checkSmooth(t *testing.T, g golden) {
	ch, size := g.input(t, "image")
	m := &transform.Image{Layout: transform.Layout{Size: size, Affine: imaging.Identity()}, Data: ch}
	kinds := map[string]transform.KernelKind{"erf": transform.KernelErf, "sampled": transform.KernelSampled, "scalespace": transform.KernelScaleSpace}
	gauss := func(key string) transform.Gaussian {
		return transform.Gaussian{
			Sigma: vec3(t, g, key, 0.0), Kind: kinds[param(t, g, "approx", "erf")], Truncate: param(t, g, "truncated", 0.0),
		}
	}
	var out *transform.Image
	var err error
	switch g.Operation {
	case "MedianSmooth":
		out, err = m.Median(t.Context(), param(t, g, "radius", 0))
	case "GaussianSharpen":
		out, err = m.Sharpen(t.Context(), transform.Sharpen{First: gauss("sigma1"), Second: gauss("sigma2"), Alpha: param(t, g, "alpha", 0.0)})
	default:
		out, err = m.Smooth(t.Context(), gauss("sigma"))
		for d, want := range value[[][]float32](t, g.Expected["kernels"]) {
			if diff := testkit.MaxDiff(t, gauss("sigma").Kernel(d), want); diff > 1e-6 {
				t.Errorf("kernel %d is off by %g", d, diff)
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	g.compare(t, "image", flat(out.Data), g.want(t, "image"), 0)
}
