package codec_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/testkit"
)

type goldenArray struct {
	File  string `json:"file"`
	Value json.RawMessage
}

type goldenCase struct {
	Name      string                     `json:"name"`
	Operation string                     `json:"operation"`
	Inputs    map[string]json.RawMessage `json:"inputs"`
	Expected  map[string]goldenArray     `json:"expected"`
	Tolerance struct{ Atol, Rtol float64 }
}

// loadCases returns the golden cases of MONAI's LoadImage.
func loadCases(t *testing.T, dir string) []goldenCase {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Cases []goldenCase }
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	var load []goldenCase
	for _, c := range all.Cases {
		if c.Operation == "LoadImage+EnsureChannelFirst" {
			load = append(load, c)
		}
	}
	if len(load) < 12 {
		t.Fatalf("only %d load cases in the golden numbers", len(load))
	}
	return load
}

func value[T any](t *testing.T, a goldenArray) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(a.Value, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLoadsWhatMONAILoads(t *testing.T) {
	dir := testkit.Shared(t, "golden", "numerics", "transforms")
	for _, c := range loadCases(t, dir) {
		t.Run(c.Name, func(t *testing.T) {
			var in goldenArray
			if err := json.Unmarshal(c.Inputs["image"], &in); err != nil {
				t.Fatal(err)
			}
			v, err := codec.Read(t.Context(), filepath.Join(dir, in.File), codec.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, dir, c, v)
		})
	}
}

func checkGolden(t *testing.T, dir string, c goldenCase, v *imaging.Volume) {
	t.Helper()
	shape := value[[]int](t, c.Expected["channel_first_shape"])
	if got := []int{v.Channels, v.Size[0], v.Size[1], v.Size[2]}; got[0] != shape[0] || got[1] != shape[1] || got[2] != shape[2] || got[3] != shape[3] {
		t.Fatalf("[C, X, Y, Z] = %v, want %v", got, shape)
	}
	if d := affineDiff(v.Affine, value[[4][4]float64](t, c.Expected["affine"])); d > 1e-4 {
		t.Errorf("affine %v differs by %g", v.Affine, d)
	}
	pixdim := value[[3]float64](t, c.Expected["pixdim"])
	for i, s := range v.Spacing() {
		if math.Abs(s-pixdim[i]) > 1e-4 {
			t.Errorf("spacing %v, want %v", v.Spacing(), pixdim)
		}
	}
	var sum float64
	for i := range v.Data.Len() {
		sum += v.Data.At(i)*v.Slope + v.Intercept
	}
	if want := value[float64](t, c.Expected["sum"]); math.Abs(sum-want) > 1e-6*math.Abs(want)+1e-4 {
		t.Errorf("sum %g, want %g", sum, want)
	}
	// first_values: per channel, the first voxels along MONAI's last axis, z.
	for ch, row := range value[[][]float64](t, c.Expected["first_values"]) {
		for z, want := range row {
			if got := v.At(0, 0, z, ch); math.Abs(got-want) > c.Tolerance.Atol+c.Tolerance.Rtol*math.Abs(want) {
				t.Errorf("channel %d, voxel (0, 0, %d) is %g, want %g", ch, z, got, want)
			}
		}
	}
	if a, ok := c.Expected["image"]; ok {
		want := testkit.ReadNPY(t, filepath.Join(dir, a.File)).F32(t)
		if d := testkit.MaxDiff(t, channelFirst(v), want); d > 1e-4 {
			t.Errorf("voxels differ by %g", d)
		}
	}
}

// channelFirst is the volume in MONAI's order [C, X, Y, Z], Z fastest.
func channelFirst(v *imaging.Volume) []float32 {
	out := make([]float32, 0, v.Data.Len())
	for c := range v.Channels {
		for x := range v.Size[0] {
			for y := range v.Size[1] {
				for z := range v.Size[2] {
					out = append(out, float32(v.At(x, y, z, c)))
				}
			}
		}
	}
	return out
}

func affineDiff(a, b [4][4]float64) float64 {
	var worst float64
	for i := range 4 {
		for j := range 4 {
			d := math.Abs(a[i][j] - b[i][j])
			if math.IsNaN(d) {
				return math.Inf(1)
			}
			worst = max(worst, d)
		}
	}
	return worst
}
