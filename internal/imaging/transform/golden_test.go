package transform_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"

	"github.com/voxloop/voxloop/internal/testkit"
)

// golden is one recorded operation of shared golden/numerics/transforms.
type golden struct {
	Name       string                     `json:"name"`
	Operation  string                     `json:"operation"`
	Parameters map[string]json.RawMessage `json:"parameters"`
	Inputs     map[string]json.RawMessage `json:"inputs"` // each a recorded, or a list of them
	Expected   map[string]recorded        `json:"expected"`
	Tolerance  struct {
		Atol     float64 `json:"atol"`
		Rtol     float64 `json:"rtol"`
		Mismatch float64 `json:"mismatch_fraction"`
	} `json:"tolerance"`
	InverseMismatch float64 `json:"inverse_mismatch_fraction"`
	dir             string
}

// recorded is an array in a file, or a value.
type recorded struct {
	File  string          `json:"file"`
	Shape []int           `json:"shape"`
	Value json.RawMessage `json:"value"`
}

func readGolden(t *testing.T) []golden {
	t.Helper()
	dir := testkit.Shared(t, "golden", "numerics", "transforms")
	b, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Cases []golden }
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for i := range all.Cases {
		all.Cases[i].dir = dir
	}
	return all.Cases
}

// param decodes a parameter; absent or null leaves the default.
func param[T any](t *testing.T, g golden, key string, def T) T {
	t.Helper()
	raw, ok := g.Parameters[key]
	if !ok || string(raw) == "null" {
		return def
	}
	if err := json.Unmarshal(raw, &def); err != nil {
		t.Fatalf("parameter %s: %v", key, err)
	}
	return def
}

// vec3 decodes one number or three.
func vec3[T int | float64](t *testing.T, g golden, key string, def T) [3]T {
	t.Helper()
	raw, ok := g.Parameters[key]
	if ok {
		var one T
		if json.Unmarshal(raw, &one) == nil {
			return [3]T{one, one, one}
		}
	}
	return param(t, g, key, [3]T{def, def, def})
}

func value[T any](t *testing.T, r recorded) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(r.Value, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// source describes an input.
func (g golden) source(t *testing.T, key string) recorded {
	t.Helper()
	var r recorded
	if err := json.Unmarshal(g.Inputs[key], &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// volume reads a NIfTI input.
func (g golden) volume(t *testing.T, key string) *imaging.Volume {
	t.Helper()
	v, err := codec.Read(t.Context(), filepath.Join(g.dir, g.source(t, key).File), codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// input reads an .npy input as float32 [C, X, Y, Z].
func (g golden) input(t *testing.T, key string) (channels [][]float32, size [3]int) {
	t.Helper()
	a := testkit.ReadNPY(t, filepath.Join(g.dir, g.source(t, key).File))
	return split(t, a)
}

func (g golden) want(t *testing.T, key string) testkit.NPY {
	t.Helper()
	return testkit.ReadNPY(t, filepath.Join(g.dir, g.Expected[key].File))
}

func split(t *testing.T, a testkit.NPY) (channels [][]float32, size [3]int) {
	t.Helper()
	shape := a.Shape
	if len(shape) == 3 {
		shape = append([]int{1}, shape...)
	}
	if len(shape) != 4 {
		t.Fatalf("shape %v is not [C, X, Y, Z]", a.Shape)
	}
	copy(size[:], shape[1:])
	all := a.F32(t)
	n := size[0] * size[1] * size[2]
	for c := range shape[0] {
		channels = append(channels, all[c*n:(c+1)*n])
	}
	return channels, size
}

// compare checks got against the recorded array at the case's tolerance.
func (g golden) compare(t *testing.T, what string, got []float32, want testkit.NPY, mismatch float64) {
	t.Helper()
	w := want.F64(t)
	if len(got) != len(w) {
		t.Fatalf("%s: %d values, want %d (shape %v)", what, len(got), len(w), want.Shape)
	}
	bad, worst, at := 0, 0.0, 0
	for i := range w {
		d := math.Abs(float64(got[i]) - w[i])
		if !(d <= g.Tolerance.Atol+g.Tolerance.Rtol*math.Abs(w[i])) {
			bad++
		}
		if d > worst {
			worst, at = d, i
		}
	}
	if share := float64(bad) / float64(len(w)); share > mismatch {
		t.Errorf("%s: %d of %d values differ (%.4f, at most %.4f may); largest |difference| %g at %d: got %g, want %g",
			what, bad, len(w), share, mismatch, worst, at, got[at], w[at])
	}
}

func compareAffine(t *testing.T, what string, got imaging.Affine, want recorded) {
	t.Helper()
	w := value[imaging.Affine](t, want)
	for i := range 4 {
		for j := range 4 {
			if math.Abs(got[i][j]-w[i][j]) > 1e-4 {
				t.Errorf("%s: affine\n%v, want\n%v", what, got, w)
				return
			}
		}
	}
}

func compareSize(t *testing.T, what string, got [3]int, want []int) {
	t.Helper()
	if len(want) == 4 {
		want = want[1:]
	}
	if !slices.Equal(got[:], want) {
		t.Fatalf("%s: size %v, want %v", what, got, want)
	}
}

func asFloat(labels []uint16) []float32 {
	f := make([]float32, len(labels))
	for i, l := range labels {
		f[i] = float32(l)
	}
	return f
}

func asLabels(t *testing.T, v []float32) []uint16 {
	t.Helper()
	l := make([]uint16, len(v))
	for i, x := range v {
		if x != float32(uint16(x)) {
			t.Fatalf("%g is no label", x)
		}
		l[i] = uint16(x)
	}
	return l
}

// covered are the operations that Serve needs, each with its check.
var covered = map[string]func(*testing.T, golden){
	"LoadImage+EnsureChannelFirst":   checkLoad,
	"Orientation":                    checkOrientation,
	"Spacing":                        checkSpacing,
	"SpatialResample":                checkSpatialResample,
	"ResampleToMatch":                checkResampleToMatch,
	"ScaleIntensityRange":            checkIntensity,
	"ScaleIntensity":                 checkIntensity,
	"NormalizeIntensity":             checkIntensity,
	"ScaleIntensityRangePercentiles": checkIntensity,
	"ClipIntensityPercentiles":       checkIntensity,
	"ShiftIntensity":                 checkIntensity,
	"nnU-Net CT normalisation":       checkIntensity,
	"nnU-Net z-score":                checkIntensity,
	"percentile":                     checkPercentile,
	"CropForeground":                 checkForeground,
	"SpatialPad":                     checkPad,
	"KeepLargestConnectedComponent":  checkLargest,
	"Activations":                    checkActivations,
	"AsDiscrete":                     checkDiscrete,
	"Invert":                         checkInvert,
}

// later are operations that no manifest can ask for yet; they come with the
// imaging work that needs them.
var later = []string{
	"HistogramNormalize", "ThresholdIntensity", "StdShiftIntensity", "AdjustContrast", "GaussianSmooth", "MedianSmooth",
	"GaussianSharpen", "RandGaussianNoise", "skimage.exposure.match_histograms", "Nyul histogram standardisation",
	"CenterSpatialCrop", "ResizeWithPadOrCrop", "SpatialCrop", "DivisiblePad", "BorderPad", "Resize", "Flip", "Rotate90",
	"Affine", "Zoom", "Rotate", "FillHoles", "RemoveSmallObjects", "MeanEnsemble", "VoteEnsemble", "LabelFilter",
}

// laterCases are cases of covered operations whose option comes later.
var laterCases = []string{
	"spacing_opt_hip_align_corners-True", "spacing_opt_obl_diagonal-True", "spacing_opt_oblf_diagonal-True",
	"spacing_opt_hip_scale_extent-True", "spacing_opt_hip_scale_extent-True_up",
	"spacing_opt_hip_mode-3_padding_mode-mirror", "spacing_opt_hip_mode-3_padding_mode-nearest",
	"spacing_opt_an_min_pixdim-0.9x0.9x4.0_max_pixdim-1.1x1.1x6.0",
	"scale_intensity_factor", "scale_percentiles_relative", "nnunet_zscore_mask",
	"crop_foreground_k8", "crop_foreground_m1_k6", // sizes divisible by k
	"as_discrete_round",
}

// TestGolden compares with MONAI 1.5.2. Every recorded operation is either
// checked here or named as one that comes later.
func TestGolden(t *testing.T) {
	known := make(map[string]bool)
	for _, g := range readGolden(t) {
		known[g.Name], known[g.Operation] = true, true
		check, ok := covered[g.Operation]
		if !ok {
			if !slices.Contains(later, g.Operation) {
				t.Errorf("%s: operation %s is neither covered nor named as one that comes later", g.Name, g.Operation)
			}
			continue
		}
		if slices.Contains(laterCases, g.Name) {
			continue
		}
		t.Run(g.Name, func(t *testing.T) { check(t, g) })
	}
	for _, name := range slices.Concat(later, laterCases) {
		if !known[name] {
			t.Errorf("%s is named as one that comes later but is not recorded", name)
		}
	}
}
