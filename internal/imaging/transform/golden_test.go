package transform_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// covered are the operations that this package does, each with its check.
var covered = map[string]func(*testing.T, golden){
	"LoadImage+EnsureChannelFirst": checkLoad,
	"Orientation":                  checkOrientation,
	"Spacing":                      checkSpacing,
	"SpatialResample":              checkStep,
	"ResampleToMatch":              checkStep,
	"Resize":                       checkStep,
	"Zoom":                         checkStep,
	"Affine":                       checkStep,
	"Rotate":                       checkStep,
	"Rotate90":                     checkStep,
	"Flip":                         checkStep,
	"SpatialCrop":                  checkStep,
	"CenterSpatialCrop":            checkStep,
	"CropForeground":               checkStep,
	"SpatialPad":                   checkStep,
	"DivisiblePad":                 checkStep,
	"BorderPad":                    checkStep,
	"ResizeWithPadOrCrop":          checkStep,
	"Invert":                       checkInvert,

	"ScaleIntensityRange":            checkIntensity,
	"ScaleIntensity":                 checkIntensity,
	"NormalizeIntensity":             checkIntensity,
	"ScaleIntensityRangePercentiles": checkIntensity,
	"ClipIntensityPercentiles":       checkIntensity,
	"ShiftIntensity":                 checkIntensity,
	"StdShiftIntensity":              checkIntensity,
	"ThresholdIntensity":             checkIntensity,
	"AdjustContrast":                 checkIntensity,
	"RandGaussianNoise":              checkIntensity,
	"percentile":                     checkPercentile,
	"GaussianSmooth":                 checkSmooth,
	"GaussianSharpen":                checkSmooth,
	"MedianSmooth":                   checkSmooth,

	"KeepLargestConnectedComponent": checkLargest,
	"Activations":                   checkActivations,
	"AsDiscrete":                    checkDiscrete,
	"LabelFilter":                   checkLabelFilter,
	"MeanEnsemble":                  checkMean,
	"VoteEnsemble":                  checkVote,
}

// elsewhere are the operations that another package does and checks against
// the same recordings.
var elsewhere = map[string]string{
	"HistogramNormalize":                "harmonize",
	"skimage.exposure.match_histograms": "harmonize",
	"Nyul histogram standardisation":    "harmonize",
	"nnU-Net CT normalisation":          "harmonize",
	"nnU-Net z-score":                   "harmonize",
	"FillHoles":                         "morph",
	"RemoveSmallObjects":                "morph",
}

// recordedCases is how many cases the recordings hold.
const recordedCases = 206

// TestGolden compares with MONAI 1.5.2. Every recorded case is checked here or
// by the package that elsewhere names; a table counts them.
func TestGolden(t *testing.T) {
	count := make(map[string]int)
	total := 0
	for _, g := range readGolden(t) {
		count[g.Operation]++
		total++
		if _, ok := elsewhere[g.Operation]; ok {
			continue
		}
		check, ok := covered[g.Operation]
		if !ok {
			t.Errorf("%s: operation %s is not covered", g.Name, g.Operation)
			continue
		}
		t.Run(g.Name, func(t *testing.T) {
			check(t, g)
			if t.Skipped() {
				t.Error("skipped")
			}
		})
	}
	if total != recordedCases {
		t.Errorf("%d cases are recorded, want %d", total, recordedCases)
	}
	for op, pkg := range elsewhere {
		if count[op] == 0 {
			t.Errorf("%s is not recorded", op)
		}
		checkNamed(t, pkg, op)
	}
	logCounts(t, count, total)
}

// checkNamed finds the operation in the tests of a sibling package.
func checkNamed(t *testing.T, pkg, op string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(`"`+op+`"`)) {
			return
		}
	}
	t.Errorf("no test of internal/imaging/%s names the operation %q", pkg, op)
}

func logCounts(t *testing.T, count map[string]int, total int) {
	t.Helper()
	var b strings.Builder
	here := 0
	fmt.Fprintf(&b, "\n%-36s %5s  %s\n", "operation", "cases", "checked in internal/imaging/")
	for _, op := range slices.Sorted(maps.Keys(count)) {
		where := "transform"
		if pkg, ok := elsewhere[op]; ok {
			where = pkg
		} else {
			here += count[op]
		}
		fmt.Fprintf(&b, "%-36s %5d  %s\n", op, count[op], where)
	}
	fmt.Fprintf(&b, "%-36s %5d  (%d operations; %d cases here, %d in harmonize and morph)\n", "all", total, len(count), here, total-here)
	t.Log(b.String())
}
