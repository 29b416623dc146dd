package codec_test

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/testkit"
)

func read(t *testing.T, elem ...string) *imaging.Volume {
	t.Helper()
	v, err := codec.Read(t.Context(), testkit.Shared(t, append([]string{"data"}, elem...)...), codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// One brain stored in 48 axis orders, named by them: turned to RAS, every file
// must give the same voxels at the same places.
func TestAllOrientationsAreOneBrain(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testkit.Shared(t, "data", "nifti_orientations", "nifti_space"), "*.nii.gz"))
	if err != nil || len(files) != 48 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	var want *imaging.LabelMap
	for _, f := range files {
		v, err := codec.Read(t.Context(), f, codec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if name := strings.TrimSuffix(filepath.Base(f), ".nii.gz"); v.Orientation() != name {
			t.Errorf("%s is read as %s", name, v.Orientation())
		}
		l := imaging.NewLabelMap(v.Grid)
		for i := range l.Data {
			l.Data[i] = uint16(math.Round(v.Data.At(i)*v.Slope + v.Intercept))
		}
		ras, _, err := v.Orient("RAS")
		if err != nil {
			t.Fatal(err)
		}
		got, ok := codec.Align(l, ras)
		if !ok {
			t.Fatalf("%s does not align with itself in RAS", f)
		}
		if want == nil {
			want = got
			continue
		}
		if got, ok = codec.Align(l, want.Grid); !ok {
			t.Errorf("%s is %g voxels away from the first file", filepath.Base(f), want.Distance(ras))
			continue
		}
		for i := range got.Data {
			if got.Data[i] != want.Data[i] {
				t.Errorf("%s: voxel %d is %d, want %d", filepath.Base(f), i, got.Data[i], want.Data[i])
				break
			}
		}
	}
}

// The same ball in pynrrd's encodings and as NIfTI.
func TestBallInEveryEncoding(t *testing.T) {
	want := read(t, "nrrd_pynrrd", "BallBinary30x30x30.nii.gz")
	sum, weighted := checksums(want)
	for _, name := range []string{
		"BallBinary30x30x30.nrrd", "BallBinary30x30x30.nhdr", "BallBinary30x30x30_gz.nrrd", "BallBinary30x30x30_bz2.nrrd",
		"BallBinary30x30x30_gz_lineskip.nrrd", "BallBinary30x30x30_gz_byteskip_minus_one.nrrd",
		"BallBinary30x30x30_byteskip_minus_one.nhdr", "BallBinary30x30x30_byteskip_minus_one_nifti.nhdr",
	} {
		v := read(t, "nrrd_pynrrd", name)
		if s, w := checksums(v); s != sum || w != weighted || v.Data.Type() != imaging.Int16 {
			t.Errorf("%s: sums %g, %g; want %g, %g", name, s, w, sum, weighted)
		}
		if d := want.Distance(v.Grid); d > 1e-6 {
			t.Errorf("%s lies %g voxels away from the NIfTI file", name, d)
		}
	}
	_, err := codec.Read(t.Context(), testkit.Shared(t, "data", "nrrd_pynrrd", "BallBinary30x30x30_byteskip_minus_five.nhdr"), codec.Limits{})
	if !errors.Is(err, imaging.ErrFormat) || !strings.Contains(err.Error(), "byteskip") {
		t.Errorf("a byte skip of -5: %v", err)
	}
}

func TestSlicerSegmentations(t *testing.T) {
	image := read(t, "nrrd_slicerio", "CTChest4.nrrd")
	one := read(t, "nrrd_slicerio", "Segmentation.seg.nrrd")
	two := read(t, "nrrd_slicerio", "SegmentationOverlapping.seg.nrrd")
	if image.Size != [3]int{128, 128, 34} || image.Orientation() != "RAS" || math.Abs(image.Affine[0][3]+193.09599304199222) > 1e-9 {
		t.Errorf("the image is %v", image.Grid)
	}
	if one.Channels != 1 || two.Channels != 2 {
		t.Fatalf("%d and %d channels", one.Channels, two.Channels)
	}
	if one.Grid != image.Grid || two.Grid != image.Grid {
		t.Error("image and segmentations lie on different grids")
	}
	// The layers are interleaved in the file (list axis first). Sums per layer
	// from SimpleITK 2.5.7.
	for c, want := range []float64{1488664, 19139} {
		var sum float64
		for i := range two.Voxels() {
			sum += two.Data.At(c*two.Voxels() + i)
		}
		if sum != want {
			t.Errorf("layer %d sums to %g, want %g", c, sum, want)
		}
	}
}

// Space, direction and origin as SimpleITK 2.5.7 reads them.
func TestObliqueNRRD(t *testing.T) {
	v := read(t, "nifti_orientations", "FLAIR.nrrd")
	want := imaging.Affine{
		{0.9935920092120875, 0.01600502019006122, 0.11188725988575336, -64.8982391357422},
		{-0.04970492721885441, 0.9509366513904123, 0.30536684015686016, -110.4311447143555},
		{-0.10151029228632795, -0.30897139733494045, 0.9456385852998352, -27.92553901672364},
		{0, 0, 0, 1},
	}
	if d := affineDiff(v.Affine, want); d > 1e-9 {
		t.Errorf("affine %v differs by %g", v.Affine, d)
	}
}

func TestEveryHippocampusHeader(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testkit.Shared(t, "data", "hippocampus", "images"), "*.nii.gz"))
	if err != nil || len(files) != 195 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		h, err := codec.ReadGrid(t.Context(), f)
		if err != nil {
			t.Error(err)
			continue
		}
		if s := h.Size; h.Channels != 1 || s[0] < 31 || s[0] > 43 || s[1] < 40 || s[1] > 59 || s[2] < 24 || s[2] > 47 {
			t.Errorf("%s: %v × %d", filepath.Base(f), s, h.Channels)
		}
		if h.Orientation() != "RAS" || (h.Type != imaging.Float32 && h.Type != imaging.Uint8) {
			t.Errorf("%s: %s %s", filepath.Base(f), h.Orientation(), h.Type)
		}
		label, err := codec.ReadGrid(t.Context(), strings.Replace(f, "images", "labels", 1))
		if err != nil || label.Distance(h.Grid) > 1e-3 {
			t.Errorf("%s: the label's grid is %v, %v", filepath.Base(f), label.Grid, err)
		}
	}
}

func TestForeignFilesAreRefused(t *testing.T) {
	for _, elem := range [][]string{
		{"data", "nifti_variants", "not-nifti.nii"},
		{"data", "nifti_orientations", "LICENSE"},
	} {
		path := testkit.Shared(t, elem...)
		_, err := codec.Read(t.Context(), path, codec.Limits{})
		_, headErr := codec.ReadGrid(t.Context(), path)
		for _, err := range []error{err, headErr} {
			if fault.KindOf(err) != fault.Invalid || !errors.Is(err, imaging.ErrFormat) || strings.Contains(err.Error(), "/") {
				t.Errorf("%s: %v", elem[2], err)
			}
		}
	}
}
