package codec_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

func TestWriteFileChoosesByName(t *testing.T) {
	for _, tt := range []struct {
		name, format string
		files        []string
	}{
		{"a.nii", "NIfTI-1", []string{"a.nii"}},
		{"a.NII.GZ", "NIfTI-1", []string{"a.NII.GZ"}},
		{"a.hdr", "NIfTI-1 pair", []string{"a.hdr", "a.img"}},
		{"a.img", "NIfTI-1 pair", []string{"a.hdr", "a.img"}},
		{"a.HDR", "NIfTI-1 pair", []string{"a.HDR", "a.IMG"}},
		{"a.img.gz", "NIfTI-1 pair", []string{"a.hdr.gz", "a.img.gz"}},
		{"a.b.nrrd", "NRRD0004", []string{"a.b.nrrd"}},
		{"a.seg.nrrd", "NRRD0004", []string{"a.seg.nrrd"}},
		{"a.dcm", "", nil},
		{"nii", "", nil},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, tt.name)
		want := small(imaging.Int16)
		want.Slope = 1
		err := codec.WriteFile(t.Context(), path, want, codec.WriteOptions{Compress: true})
		var names []string
		entries, readErr := os.ReadDir(dir)
		if readErr != nil {
			t.Fatal(readErr)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if len(names) != len(tt.files) {
			t.Errorf("%s: files %q, want %q", tt.name, names, tt.files)
		}
		if tt.format == "" {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		f, err := codec.ReadFile(t.Context(), path, codec.Limits{})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if f.Format != tt.format || want.Distance(f.Grid) > 1e-5 || !bytes.Equal(stored(t, f.Volume), stored(t, want)) {
			t.Errorf("%s: %s, %v", tt.name, f.Format, f.Grid)
		}
	}
}

// A pair that cannot be written leaves no file of the two.
func TestPairsAreWrittenWholly(t *testing.T) {
	dir := t.TempDir()
	flat := small(imaging.Uint8)
	flat.Affine[0], flat.Affine[1] = [4]float64{}, [4]float64{}
	if err := codec.WriteFile(t.Context(), filepath.Join(dir, "a.hdr"), flat, codec.WriteOptions{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("%v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// What the file system refuses is told without the name of a temporary file, and
// nothing is left behind; so it is when the work is stopped.
func TestWriteFileRefused(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"taken.nii", "taken.hdr"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "inside"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, tt := range []struct {
		ctx  context.Context
		name string
		kind fault.Kind
		want string
	}{
		{t.Context(), "none/a.nii.gz", fault.NotFound, "the folder does not exist"},
		{t.Context(), "none/a.hdr", fault.NotFound, "the folder does not exist"},
		{t.Context(), "taken.nii", fault.Invalid, "is in the way"},
		{t.Context(), "taken.hdr", fault.Invalid, "is in the way"},
		{stopped, "a.nii", fault.Internal, ""},
		{stopped, "a.nii.gz", fault.Internal, ""},
		{stopped, "a.img", fault.Internal, ""},
		{stopped, "a.nrrd", fault.Internal, ""},
	} {
		err := codec.WriteFile(tt.ctx, filepath.Join(dir, tt.name), small(imaging.Int16), codec.WriteOptions{})
		msg, _ := fault.Message(err)
		if err == nil || fault.KindOf(err) != tt.kind || !strings.Contains(msg, tt.want) || strings.Contains(err.Error(), ".tmp") {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.ctx == stopped && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if n := e.Name(); n != "taken.nii" && n != "taken.hdr" {
			t.Errorf("%s was left", n)
		}
	}
}

func TestChannelsAreViews(t *testing.T) {
	v := numbered(imaging.Grid{Size: [3]int{2, 3, 4}, Affine: affines["lps"]}, 6, imaging.Int16)
	v.Slope, v.Intercept = 2, -1
	path := filepath.Join(t.TempDir(), "a.nrrd")
	if err := codec.WriteFile(t.Context(), path, numbered(v.Grid, 6, imaging.Int16), codec.WriteOptions{Axes: []codec.Axis{{Size: 2}, {Size: 3}}}); err != nil {
		t.Fatal(err)
	}
	f, err := codec.ReadFile(t.Context(), path, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		index []int
		want  int // -1: refused
	}{{[]int{0}, 0}, {[]int{5}, 5}, {[]int{1, 0}, 1}, {[]int{1, 2}, 5}, {[]int{6}, -1}, {[]int{-1}, -1}, {[]int{2, 0}, -1}, {[]int{0, 0, 0}, -1}} {
		c, err := f.Channel(tt.index...)
		if tt.want < 0 {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%v: %v", tt.index, err)
			}
			continue
		}
		if err != nil || c.Channels != 1 || c.Data.Len() != 24 || c.At(1, 2, 3, 0) != f.At(1, 2, 3, tt.want) {
			t.Errorf("%v: %v", tt.index, err)
		}
	}
	one, err := codec.Channel(v, 3)
	if err != nil || one.At(1, 1, 1, 0) != v.At(1, 1, 1, 3) {
		t.Errorf("%v", err)
	}
	v.Data.(imaging.Samples[int16])[3*24] = 77
	if one.Data.At(0) != 77 {
		t.Error("the channel has its own voxels")
	}
}

func TestRetype(t *testing.T) {
	line := func(values ...float64) *imaging.Volume {
		v := imaging.NewVolume(imaging.Grid{Size: [3]int{len(values), 1, 1}, Affine: imaging.Identity()}, 1, imaging.Float64)
		copy(v.Data.(imaging.Samples[float64]), values)
		return v
	}
	nan, inf := math.NaN(), math.Inf(1)
	for _, tt := range []struct {
		in    []float64
		t     imaging.DataType
		round bool
		want  []float64 // nil: refused
	}{
		{[]float64{0, 255}, imaging.Uint8, false, []float64{0, 255}},
		{[]float64{0, 256}, imaging.Uint8, false, nil},
		{[]float64{-1}, imaging.Uint8, false, nil},
		{[]float64{-128, 127}, imaging.Int8, false, []float64{-128, 127}},
		{[]float64{0.5}, imaging.Int16, false, nil},
		{[]float64{0.5, 1.5, -2.6}, imaging.Int16, true, []float64{0, 2, -3}},
		{[]float64{32767.4}, imaging.Int16, true, []float64{32767}},
		{[]float64{32767.6}, imaging.Int16, true, nil},
		{[]float64{nan}, imaging.Int32, true, nil},
		{[]float64{inf}, imaging.Uint64, true, nil},
		{[]float64{1 << 63}, imaging.Uint64, false, []float64{1 << 63}},
		{[]float64{1 << 63}, imaging.Int64, false, nil},
		{[]float64{1 << 64}, imaging.Uint64, false, nil},
		{[]float64{-1 << 63}, imaging.Int64, false, []float64{-1 << 63}},
		{[]float64{0.1, nan, inf}, imaging.Float32, false, []float64{float64(float32(0.1)), nan, inf}},
		{[]float64{1e300}, imaging.Float32, false, nil},
	} {
		got, err := codec.Retype(t.Context(), line(tt.in...), tt.t, tt.round)
		if tt.want == nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%v as %s: %v", tt.in, tt.t, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v as %s: %v", tt.in, tt.t, err)
			continue
		}
		for i, w := range tt.want {
			if g := got.Data.At(i); g != w && !(math.IsNaN(g) && math.IsNaN(w)) || got.Data.Type() != tt.t {
				t.Errorf("%v as %s: %g, want %g", tt.in, tt.t, g, w)
			}
		}
	}
	v := line(1, 2, 3)
	v.Slope, v.Intercept = 2, 1
	if got, err := codec.Retype(t.Context(), v, imaging.Uint8, false); err != nil || got.At(2, 0, 0, 0) != 7 || got.Slope != 1 {
		t.Errorf("%v, %v", got, err)
	}
	wide := imaging.NewVolume(v.Grid, 1, imaging.Uint64)
	wide.Data.(imaging.Samples[uint64])[1] = 1 << 60
	_, err := codec.Retype(t.Context(), wide, imaging.Int64, false)
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Invalid {
		t.Errorf("2^60 went through float64: %v", err)
	}
}
