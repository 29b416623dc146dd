package strategies

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/testkit"
)

func TestFingerprint(t *testing.T) {
	v := make([]float32, 10*10*10)
	for i := range v {
		v[i] = float32(i)
	}
	got, corrupt := Fingerprint(v, [3]int{10, 10, 10}, [3]float64{1, 2, 3})
	const unit = 994.005 - 4.995
	want := []float64{
		-494.505 / unit, -399.6 / unit, -249.75 / unit, 249.75 / unit, 399.6 / unit, 494.505 / unit, 0, math.Sqrt(999999.0/12) / unit, 0.001,
		math.Log(unit), 499.5 / unit, 0, math.Log(10), math.Log(2), math.Log(20), math.Log(3), math.Log(30),
	}
	if corrupt != "" || len(got) != len(want) {
		t.Fatalf("%v, %q", got, corrupt)
	}
	for d := range want {
		if math.Abs(float64(got[d])-want[d]) > 1e-5 {
			t.Errorf("number %d is %g, want %g", d, got[d], want[d])
		}
	}
	nan := []float32{1, float32(math.NaN())}
	for want, f := range map[string]func() ([]float32, string){
		"no voxels":  func() ([]float32, string) { return Fingerprint(nil, [3]int{}, [3]float64{1, 1, 1}) },
		"not finite": func() ([]float32, string) { return Fingerprint(nan, [3]int{1, 1, 2}, [3]float64{1, 1, 1}) },
		"one value": func() ([]float32, string) {
			return Fingerprint(make([]float32, 8), [3]int{2, 2, 2}, [3]float64{1, 1, 1})
		},
		"not positive": func() ([]float32, string) { return Fingerprint(v, [3]int{10, 10, 10}, [3]float64{1, 0, 1}) },
		"out of range": func() ([]float32, string) {
			return Fingerprint([]float32{-3e38, 3e38}, [3]int{1, 1, 2}, [3]float64{1e300, 1, 1e-300})
		},
	} {
		if p, corrupt := f(); p != nil && want != "out of range" || want != "out of range" && !strings.Contains(corrupt, want) {
			t.Errorf("%v, %q; want %q", p, corrupt, want)
		}
	}
}

// TestFarOff: an image unlike the pool is flagged and comes last; not while
// there are too few images to tell.
func TestFarOff(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	shot := func(scale, mm float64) []float32 {
		v := make([]float32, 12*12*12)
		for i := range v {
			v[i] = float32(scale * (1000 + 100*rng.NormFloat64()) * rng.Float64())
		}
		p, corrupt := Fingerprint(v, [3]int{12, 12, 12}, [3]float64{mm, mm, mm})
		if corrupt != "" {
			t.Fatal(corrupt)
		}
		return p
	}
	x := Open(Options{ColdStart: -1})
	put := func(id string, p []float32) {
		t.Helper()
		x.Handle(Event{ID: id})
		if err := x.Put(&Observation{Image: id, Model: "m", Fingerprint: p, Scores: entropyOf(1)}); err != nil {
			t.Fatal(err)
		}
	}
	put("a_far", shot(40, 1))
	for i := range 8 {
		put(caseID(i), shot(0.9+0.2*rng.Float64(), 1))
	}
	if f := x.Flags("a_far"); len(f) > 0 {
		t.Errorf("flagged among 9 images: %v", f)
	}
	for i := range 40 {
		put(caseID(8+i), shot(0.9+0.2*rng.Float64(), 0.95+0.1*rng.Float64()))
	}
	put("b_far", shot(1, 9))
	for _, id := range []string{"a_far", "b_far"} {
		if f := x.Flags(id); len(f) != 1 || !strings.Contains(f[0], "far from") {
			t.Errorf("%s: flags %v", id, f)
		}
	}
	if c := x.Coverage("m"); c.Flagged != 2 {
		t.Errorf("%d images are flagged, want 2", c.Flagged)
	}
	s := mustNew(t, x, Spec{Kind: KindEntropy})
	for range 48 {
		p := mustNext(t, s, "", 1)
		if strings.HasSuffix(p.ID, "_far") {
			t.Fatalf("%s came before sound images", p.ID)
		}
		x.Handle(Event{ID: p.ID, Labelled: true})
	}
	if p := mustNext(t, s, "", 1); len(p.Explanation.Flags) != 1 || !strings.Contains(p.Explanation.Why, "flagged") {
		t.Errorf("%s: %+v", p.ID, p.Explanation)
	}
	if p := mustNext(t, NewRandom(x, nil), "", 1); !strings.HasSuffix(p.ID, "_far") {
		t.Errorf("random: %s", p.ID)
	}
}

// TestFarOffReal: of the hippocampus images none is far off, although an eighth
// of them has intensities 200 times as large; images of other kinds among them
// are.
func TestFarOffReal(t *testing.T) {
	root := testkit.Shared(t, "data")
	files, err := filepath.Glob(filepath.Join(root, "hippocampus", "images", "*.nii.gz"))
	if err != nil || len(files) < 100 {
		t.Fatalf("%d images: %v", len(files), err)
	}
	x := NewIndex()
	put := func(id string, v []float32, size [3]int, mm [3]float64) {
		p, corrupt := Fingerprint(v, size, mm)
		x.Handle(Event{ID: id})
		if err := x.Put(&Observation{Image: id, Fingerprint: p, Corrupt: corrupt}); err != nil {
			t.Fatal(err)
		}
	}
	var voxels []float32
	var size [3]int
	for _, f := range append(files, filepath.Join(root, "sts_nifti", "STS_025", "PET_image.nii.gz")) {
		v, err := codec.Read(t.Context(), f, codec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(f)[0] == 'h' {
			size, voxels = v.Size, make([]float32, v.Voxels())
			v.Float32s(voxels, 0, 0)
			put(f, voxels, v.Size, v.Affine.Spacing())
			continue
		}
		pet := make([]float32, v.Voxels())
		v.Float32s(pet, 0, 0)
		put("pet", pet, v.Size, v.Affine.Spacing())
	}
	put("coarse", voxels, size, [3]float64{5, 5, 5})
	binary := make([]float32, len(voxels))
	for i, v := range voxels {
		if v > 600 {
			binary[i] = 1
		}
	}
	put("binary", binary, size, [3]float64{1, 1, 1})
	put("empty", make([]float32, len(voxels)), size, [3]float64{1, 1, 1})
	for _, f := range files {
		if flags := x.Flags(f); len(flags) > 0 {
			t.Errorf("%s: %v", filepath.Base(f), flags)
		}
	}
	for _, id := range []string{"pet", "coarse", "binary", "empty"} {
		flags := x.Flags(id)
		t.Logf("%s: %v", id, flags)
		if len(flags) != 1 {
			t.Errorf("%s is not flagged", id)
		}
	}
}
