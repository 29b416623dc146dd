package augment_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/augment"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/testkit"
)

// scan is an int16 volume with blobs and texture on an oblique, anisotropic grid.
func scan(t imaging.DataType) *imaging.Volume {
	g := imaging.Grid{Size: [3]int{20, 18, 12}, Affine: imaging.Affine{{0.8, 0.1, 0, -3}, {-0.1, 0.8, 0, 4}, {0, 0, 2.5, 9}, {0, 0, 0, 1}}}
	v := imaging.NewVolume(g, 1, t)
	v.Slope, v.Intercept = 2, -100
	i := 0
	for z := range 12 {
		for y := range 18 {
			for x := range 20 {
				r := math.Hypot(math.Hypot(float64(x)-9, float64(y)-8), 2*float64(z)-12)
				value := 900*math.Exp(-r*r/60) + float64((x*5+y*3+z*7)%11)/2 + 20
				switch d := v.Data.(type) {
				case imaging.Samples[int16]:
					d[i] = int16(value)
				case imaging.Samples[uint8]:
					d[i] = uint8(value / 4)
				case imaging.Samples[float32]:
					d[i] = float32(value)
				}
				i++
			}
		}
	}
	return v
}

// Every kind keeps geometry and type, is reproducible, depends on the seed, and
// grows with the severity.
func TestSeveritiesGrow(t *testing.T) {
	random := map[string]bool{
		"noise": true, "rician": true, "bias_field": true, "ghosting": true, "spike": true, "motion": true, "style": true,
	}
	v := scan(imaging.Int16)
	kept := slices.Clone(v.Data.(imaging.Samples[int16]))
	for _, kind := range augment.Kinds() {
		last := 0.0
		for severity := 1; severity <= augment.Severities; severity++ {
			out, what, err := augment.Corrupt(t.Context(), v, kind, severity, 1, "case")
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			if out.Grid != v.Grid || out.Data.Type() != v.Data.Type() || out.Slope != 2 || out.Intercept != -100 || out.Channels != 1 {
				t.Errorf("%s: grid or storage changed", kind)
			}
			var square float64
			for i := range out.Data.Len() {
				d := 2 * (out.Data.At(i) - v.Data.At(i))
				square += d * d / float64(out.Data.Len())
			}
			near(t, kind+": change", what.Change, math.Sqrt(square), 1e-9)
			if what.Change <= last*1.02 {
				t.Errorf("%s: severity %d changes by %.3f, the one below by %.3f", kind, severity, what.Change, last)
			}
			last = what.Change
		}
		again, _, err := augment.Corrupt(t.Context(), v, kind, augment.Severities, 1, "case")
		if err != nil {
			t.Fatal(err)
		}
		different := false
		for seed := range uint64(4) { // ghosting draws an axis alone
			_, o, err := augment.Corrupt(t.Context(), v, kind, augment.Severities, seed+2, "case")
			if err != nil {
				t.Fatal(err)
			}
			different = different || o.Change != last
		}
		_, what, err := augment.Corrupt(t.Context(), v, kind, augment.Severities, 1, "case")
		if err != nil || what.Change != last || again.Data.Len() != v.Data.Len() {
			t.Errorf("%s: %g in a second run, %g in the first (%v)", kind, what.Change, last, err)
		}
		if different != random[kind] {
			t.Errorf("%s: depends on the seed: %t, want %t", kind, different, random[kind])
		}
	}
	if !slices.Equal(kept, v.Data.(imaging.Samples[int16])) {
		t.Error("the image itself was changed")
	}
}

// On real images, too, every severity changes more than the one below.
func TestSeveritiesGrowOnRealImages(t *testing.T) {
	for _, name := range []string{"hippocampus/images/hippocampus_001.nii.gz", "totalseg_ct/example_ct.nii.gz"} {
		v, err := codec.Read(t.Context(), testkit.Shared(t, "data", filepath.FromSlash(name)), codec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range augment.Kinds() {
			last := 0.0
			for severity := 1; severity <= augment.Severities; severity++ {
				_, what, err := augment.Corrupt(t.Context(), v, kind, severity, 1, "case")
				if err != nil {
					t.Fatal(err)
				}
				if what.Change <= last*1.02 {
					t.Errorf("%s, %s: severity %d changes by %.3f, the one below by %.3f", name, kind, severity, what.Change, last)
				}
				last = what.Change
			}
		}
	}
}

// Stored integers are cut off at the ends of their type and counted.
func TestClipping(t *testing.T) {
	v := scan(imaging.Uint8)
	out, what, err := augment.Corrupt(t.Context(), v, "brightness", 5, 1, "case")
	if err != nil {
		t.Fatal(err)
	}
	full := 0
	for _, x := range out.Data.(imaging.Samples[uint8]) {
		if x == 255 {
			full++
		}
	}
	if what.Clipped == 0 || what.Clipped > full {
		t.Errorf("%d voxels counted as cut off, %d are at 255", what.Clipped, full)
	}
	f := scan(imaging.Float32)
	if _, what, err = augment.Corrupt(t.Context(), f, "noise", 5, 1, "case"); err != nil || what.Clipped != 0 {
		t.Errorf("float32: %d cut off, %v", what.Clipped, err)
	}
}

// Channels get noise of their own, and every stored type is written.
func TestChannelsAndTypes(t *testing.T) {
	g := imaging.Grid{Size: [3]int{8, 8, 8}, Affine: imaging.Identity()}
	for dt := imaging.Uint8; dt <= imaging.Float64; dt++ {
		v := imaging.NewVolume(g, 2, dt)
		for i := range v.Data.Len() {
			set(v.Data, i, float64(i%512%101))
		}
		out, what, err := augment.Corrupt(t.Context(), v, "noise", 3, 1, "case")
		if err != nil || what.Change < 5 || what.Change > 15 {
			t.Fatalf("%s: change %g, want about 10 (%v)", dt, what.Change, err)
		}
		equal := 0
		for i := range 512 {
			if out.Data.At(i) == out.Data.At(i+512) {
				equal++
			}
		}
		if equal > 100 {
			t.Errorf("%s: both channels got the same noise (%d voxels)", dt, equal)
		}
	}
}

func set(d imaging.Voxels, i int, x float64) {
	switch d := d.(type) {
	case imaging.Samples[uint8]:
		d[i] = uint8(x)
	case imaging.Samples[int8]:
		d[i] = int8(x)
	case imaging.Samples[uint16]:
		d[i] = uint16(x)
	case imaging.Samples[int16]:
		d[i] = int16(x)
	case imaging.Samples[uint32]:
		d[i] = uint32(x)
	case imaging.Samples[int32]:
		d[i] = int32(x)
	case imaging.Samples[uint64]:
		d[i] = uint64(x)
	case imaging.Samples[int64]:
		d[i] = int64(x)
	case imaging.Samples[float32]:
		d[i] = float32(x)
	case imaging.Samples[float64]:
		d[i] = x
	}
}

func TestCorruptRefuses(t *testing.T) {
	v := scan(imaging.Float32)
	if _, _, err := augment.Corrupt(t.Context(), v, "rust", 1, 1, "x"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("unknown kind: %v", err)
	}
	for _, s := range []int{0, 6, -1} {
		if _, _, err := augment.Corrupt(t.Context(), v, "noise", s, 1, "x"); fault.KindOf(err) != fault.Invalid {
			t.Errorf("severity %d: %v", s, err)
		}
	}
	v.Data.(imaging.Samples[float32])[7] = float32(math.NaN())
	if _, _, err := augment.Corrupt(t.Context(), v, "noise", 1, 1, "x"); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "not finite: 1") {
		t.Errorf("NaN: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := augment.Corrupt(ctx, scan(imaging.Float32), "blur", 1, 1, "x"); fault.KindOf(err) != fault.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	flat := imaging.NewVolume(imaging.Grid{Size: [3]int{3, 1, 1}, Affine: imaging.Identity()}, 1, imaging.Float32)
	for _, kind := range augment.Kinds() { // constant, and thin in two axes
		out, _, err := augment.Corrupt(t.Context(), flat, kind, 5, 1, "x")
		if err != nil {
			t.Errorf("%s of a constant image: %v", kind, err)
			continue
		}
		for i := range 3 {
			if x := out.Data.At(i); math.IsNaN(x) || math.IsInf(x, 0) {
				t.Errorf("%s of a constant image gives %g", kind, x)
			}
		}
	}
}

// The documentation's table is the program's.
func TestSeverityTable(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "augmentation.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range augment.Kinds() {
		var cells strings.Builder
		for n := 1; n <= augment.Severities; n++ {
			_, value, err := augment.Graded(kind, n)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&cells, " %g |", value)
		}
		found := false
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSpace(line)
			found = found || strings.HasPrefix(line, "| "+kind+" |") && strings.HasSuffix(line, "|"+cells.String())
		}
		if !found {
			t.Errorf("no row of %s with%s", kind, cells.String())
		}
	}
}
