package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/nifti"
	"github.com/voxloop/voxloop/internal/imaging/nrrd"
)

// series is a 3×2×2 volume of six channels: 2 times × 3 components, voxel i
// holding i.
func series() *imaging.Volume {
	v := imaging.NewVolume(imaging.Grid{
		Size: [3]int{3, 2, 2}, Affine: imaging.Affine{{-0.5, 0, 0, 10}, {0, -0.5, 0, 20}, {0, 0, 2.5, -30}, {0, 0, 0, 1}},
	}, 6, imaging.Int16)
	for i := range v.Data.(imaging.Samples[int16]) {
		v.Data.(imaging.Samples[int16])[i] = int16(i)
	}
	return v
}

func writeSeries(t *testing.T, path string) *imaging.Volume {
	t.Helper()
	v := series()
	o := codec.WriteOptions{
		NIfTI: &nifti.Meta{
			Dim: []int{3, 2, 2, 2, 3}, Step: [4]float64{1.5}, Units: 10, Description: "kept",
			Extensions: []nifti.Extension{{Code: 6, Data: []byte("12345678")}},
		},
		Axes: []codec.Axis{{Size: 2}, {Size: 3}},
	}
	if err := codec.WriteFile(t.Context(), path, v, o); err != nil {
		t.Fatal(err)
	}
	return v
}

func load(t *testing.T, path string) *codec.File {
	t.Helper()
	f, err := codec.ReadFile(t.Context(), path, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Every format into every other, back and forth: the voxels and their place
// stay.
func TestConvertKeepsTheVolume(t *testing.T) {
	dir := t.TempDir()
	names := []string{"a.nii", "b.nii.gz", "c.hdr", "d.img.gz", "e.nrrd", "f.seg.nrrd"}
	for _, from := range names {
		in := filepath.Join(dir, from)
		want := writeSeries(t, in)
		for _, to := range names {
			out := filepath.Join(t.TempDir(), to)
			if code, stdout, stderr := convert(t, in, out); code != 0 || !strings.Contains(stdout, "3×2×2, int16, channels: 6") {
				t.Errorf("%s to %s: exit %d, %q, %q", from, to, code, stdout, stderr)
				continue
			}
			f := load(t, out)
			if f.Grid != want.Grid || f.Channels != 6 || f.Data.Type() != imaging.Int16 || len(f.Axes()) != 2 && sameFamily(from, to) {
				t.Errorf("%s to %s: %v × %d, axes %+v", from, to, f.Grid, f.Channels, f.Axes())
			}
			for i := range want.Data.Len() {
				if f.Data.At(i) != want.Data.At(i) {
					t.Errorf("%s to %s: voxel %d is %g", from, to, i, f.Data.At(i))
					break
				}
			}
			if m := f.NIfTI; m != nil && sameFamily(from, to) && (m.Description != "kept" || m.Step[0] != 1.5 || len(m.Extensions) != 1) {
				t.Errorf("%s to %s: %+v", from, to, m)
			}
		}
	}
}

func sameFamily(a, b string) bool {
	return strings.HasSuffix(a, ".nrrd") == strings.HasSuffix(b, ".nrrd")
}

func TestConvertOptions(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in.nii.gz")
	writeSeries(t, in)
	for _, tt := range []struct {
		args  []string
		out   string
		check func(f *codec.File) bool
	}{
		{[]string{"--channel", "4"}, "a.nii", func(f *codec.File) bool { return f.Channels == 1 && f.Data.At(0) == 48 && len(f.Axes()) == 0 }},
		{[]string{"--channel", "1,2"}, "a.nii", func(f *codec.File) bool { return f.Channels == 1 && f.Data.At(0) == 60 }},
		{[]string{"--dtype", "uint8"}, "a.nrrd", func(f *codec.File) bool { return f.Data.Type() == imaging.Uint8 && f.Data.At(71) == 71 }},
		{[]string{"--dtype", "float32"}, "a.nii.gz", func(f *codec.File) bool { return f.Data.Type() == imaging.Float32 }},
		{[]string{"--nifti", "2"}, "a.nii", func(f *codec.File) bool { return f.Format == "NIfTI-2" }},
		{[]string{"--nifti", "2"}, "a.hdr", func(f *codec.File) bool { return f.Format == "NIfTI-2 pair" }},
		{nil, "a.nrrd", func(f *codec.File) bool { return f.NRRD.Encoding == "gzip" }},
		{[]string{"--compress=false"}, "a.nrrd", func(f *codec.File) bool { return f.NRRD.Encoding == "raw" }},
	} {
		out := filepath.Join(t.TempDir(), tt.out)
		code, _, stderr := convert(t, append([]string{in, out}, tt.args...)...)
		if code != 0 {
			t.Errorf("%q: exit %d, %q", tt.args, code, stderr)
			continue
		}
		if f := load(t, out); !tt.check(f) {
			t.Errorf("%q: %s, %v × %d %s", tt.args, f.Format, f.Size, f.Channels, f.Data.Type())
		}
	}
}

func TestConvertRefuses(t *testing.T) {
	dir := t.TempDir()
	in, kept := filepath.Join(dir, "in.nii"), filepath.Join(dir, "kept.nii")
	writeSeries(t, in)
	half := series()
	half.Slope = 0.5
	if err := codec.WriteFile(t.Context(), filepath.Join(dir, "half.nii"), half, codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"no.nii": "no image", "kept.nii": "kept"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{in}, 2, "needs two files"},
		{[]string{in, "a.dcm"}, 2, "ending must be .nii"},
		{[]string{in, kept, "--dtype", "complex64"}, 2, "--dtype"},
		{[]string{in, kept, "--nifti", "3"}, 2, "--nifti 3"},
		{[]string{in, kept, "--channel", "x"}, 2, "--channel"},
		{[]string{in, kept, "--channel", "-1"}, 2, "--channel"},
		{[]string{in, kept, "--round"}, 2, "--round needs"},
		{[]string{in, kept, "--channel", "6"}, 1, "no channel 6"},
		{[]string{in, kept, "--channel", "2,0"}, 1, "no entry 2"},
		{[]string{in, kept, "--channel", "0,0,0"}, 1, "3 indices for 2 axes"},
		{[]string{filepath.Join(dir, "half.nii"), kept, "--dtype", "int8"}, 1, "0.5 at voxel (1, 0, 0) of channel 0 is no integer"},
		{[]string{filepath.Join(dir, "half.nii"), filepath.Join(dir, "a.seg.nrrd")}, 1, "no label map"},
		{[]string{filepath.Join(dir, "no.nii"), kept}, 1, "neither NIfTI nor NRRD"},
		{[]string{filepath.Join(dir, "none.nii"), kept}, 1, "does not exist"},
		{[]string{in, filepath.Join(dir, "none", "a.nii")}, 1, "a.nii"},
	} {
		code, _, stderr := convert(t, tt.args...)
		if code != tt.code || !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit %d, %q", tt.args, code, stderr)
		}
	}
	if b, err := os.ReadFile(kept); err != nil || string(b) != "kept" {
		t.Errorf("the earlier file is %q, %v", b, err)
	}
}

// A label map becomes a segmentation that names every label; a segmentation
// keeps its names.
func TestConvertNamesSegments(t *testing.T) {
	dir := t.TempDir()
	l := imaging.NewLabelMap(series().Grid)
	l.Data[1], l.Data[2], l.Data[3] = 1, 300, 300
	v, err := l.Volume(imaging.Float32)
	if err != nil {
		t.Fatal(err)
	}
	in, seg, again := filepath.Join(dir, "l.nii"), filepath.Join(dir, "l.seg.nrrd"), filepath.Join(dir, "m.seg.nrrd")
	if err := codec.WriteFile(t.Context(), in, v, codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := convert(t, in, seg); code != 0 {
		t.Fatal(stderr)
	}
	f := load(t, seg)
	segments, err := f.NRRD.Segments()
	if err != nil || len(segments) != 2 || segments[0].Value != 1 || segments[1].Value != 300 || segments[1].Name != "label 300" || segments[0].Color == segments[1].Color {
		t.Fatalf("%+v, %v", segments, err)
	}
	if f.Data.Type() != imaging.Uint16 {
		t.Errorf("float labels became %s", f.Data.Type())
	}
	segments = []nrrd.Segment{{ID: "one", Name: "spleen", Value: 1, Color: [3]float64{1, 0.5, 0}, Tags: "a:b"}}
	if err := codec.WriteFile(t.Context(), seg, f.Volume, codec.WriteOptions{Segments: segments}); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := convert(t, seg, again); code != 0 {
		t.Fatal(stderr)
	}
	got, err := load(t, again).NRRD.Segments()
	if err != nil || len(got) != 2 || got[0].ID != "one" || got[0].Name != "spleen" || got[0].Tags != "a:b" || got[1].Value != 300 {
		t.Errorf("%+v, %v", got, err)
	}
}

func convert(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	r := run(t, append([]string{"convert"}, args...)...)
	return r.code, r.out, r.errOut
}
