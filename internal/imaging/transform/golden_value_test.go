package transform_test

import (
	"math"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging/transform"
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
		return c.MinMax(ctx, [2]float64{param(t, g, "minv", 0.0), param(t, g, "maxv", 0.0)})
	case "ScaleIntensityRangePercentiles":
		return c.Percentile(ctx, percent, to, param(t, g, "clip", false))
	case "ClipIntensityPercentiles":
		q, err := c.Percentiles(ctx, percent[:])
		if err != nil {
			return err
		}
		return c.Clip(ctx, q[0], q[1])
	case "ShiftIntensity":
		o := param(t, g, "offset", 0.0)
		return c.Linear(ctx, [2]float64{0, 1}, [2]float64{o, o + 1}, false)
	case "nnU-Net CT normalisation":
		p := value[map[string]float64](t, g.Expected["foreground_intensity_properties"])
		if err := c.Clip(ctx, p["percentile_00_5"], p["percentile_99_5"]); err != nil {
			return err
		}
		return c.Linear(ctx, [2]float64{p["mean"], p["mean"] + p["std"]}, [2]float64{0, 1}, false)
	case "nnU-Net z-score":
		return c.ZScore(ctx, false)
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
	key := "logits"
	if _, ok := g.Inputs[key]; !ok {
		key = "image"
		if _, ok := g.Inputs[key]; !ok {
			key = "label"
		}
	}
	ch, size := g.input(t, key)
	n := size[0] * size[1] * size[2]
	want := g.want(t, "label")
	if th := param(t, g, "threshold", -1.0); th >= 0 {
		var got []float32
		for _, c := range ch {
			for _, x := range c {
				got = append(got, b2f(float64(x) >= th))
			}
		}
		g.compare(t, "label", got, want, 0)
		return
	}
	labels := make([]uint16, n)
	if key == "label" {
		labels = asLabels(t, ch[0])
	} else {
		transform.Argmax(labels, flat(ch), n, 0, n)
	}
	hot := param(t, g, "to_onehot", 0)
	if hot == 0 {
		g.compare(t, "label", asFloat(labels), want, 0)
		return
	}
	var got []float32
	for c := range hot {
		for _, l := range labels {
			got = append(got, b2f(int(l) == c))
		}
	}
	g.compare(t, "label", got, want, 0)
}

func b2f(b bool) float32 {
	if b {
		return 1
	}
	return 0
}
