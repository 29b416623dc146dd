package cli_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/nrrd"
	"github.com/voxloop/voxloop/internal/testkit"
)

// document is a part of what inspect --json prints.
type document struct {
	File, Format, Type, Orientation, Error string
	Size                                   [3]int
	Channels                               int
	Spacing                                [3]float64 `json:"spacing_mm"`
	Statistics                             []struct {
		Min, Max, Mean, Std *float64
		Percentiles         map[string]float64
		NaN, Inf            int
		Labels              []struct {
			Value  float64
			Voxels int
			ML     float64
			Name   string
		}
	}
	Problems []string
}

func inspectJSON(t *testing.T, path string) document {
	t.Helper()
	r := run(t, "inspect", "--json", path)
	if r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.errOut)
	}
	var d document
	if err := json.Unmarshal([]byte(r.out), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// Values 10, 9.5, … -25.5: percentiles linear between neighbours, the standard
// deviation of n steps of d is d·√((n²-1)/12).
func TestInspectStatistics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.nii")
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{6, 4, 3}, Affine: imaging.Affine{{-0.5, 0, 0, 10}, {0, -0.5, 0, 20}, {0, 0, 2.5, -30}, {0, 0, 0, 1}}}, 1, imaging.Int16)
	for i := range v.Data.(imaging.Samples[int16]) {
		v.Data.(imaging.Samples[int16])[i] = int16(71 - i)
	}
	v.Slope, v.Intercept = -0.5, 10 // values 10 … -25.5
	if err := codec.WriteFile(t.Context(), path, v, codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	d := inspectJSON(t, path)
	s := d.Statistics[0]
	if d.Format != "NIfTI-1" || d.Size != [3]int{6, 4, 3} || d.Orientation != "LPS" || d.Type != "int16" || d.Spacing != [3]float64{0.5, 0.5, 2.5} || len(d.Problems) != 0 {
		t.Errorf("%+v", d)
	}
	if *s.Min != -25.5 || *s.Max != 10 || *s.Mean != -7.75 || math.Abs(*s.Std-math.Sqrt((72*72-1)/12.0)/2) > 1e-12 || s.Labels != nil {
		t.Errorf("min %g, max %g, mean %g, std %g, labels %v", *s.Min, *s.Max, *s.Mean, *s.Std, s.Labels)
	}
	for q, want := range map[string]float64{"1": -25.145, "5": -23.725, "25": -16.625, "50": -7.75, "75": 1.125, "95": 8.225, "99": 9.645} {
		if math.Abs(s.Percentiles[q]-want) > 1e-12 {
			t.Errorf("percentile %s is %.17g, want %g", q, s.Percentiles[q], want)
		}
	}
}

// What is odd about files that can be read.
func TestInspectProblems(t *testing.T) {
	plain := func() *imaging.Volume {
		v := imaging.NewVolume(imaging.Grid{Size: [3]int{3, 4, 5}, Affine: imaging.Identity()}, 1, imaging.Float32)
		v.Data.(imaging.Samples[float32])[7] = 2.5
		return v
	}
	for _, tt := range []struct {
		name    string
		change  func(v *imaging.Volume)
		header  func(b []byte) []byte
		problem string // part of one; empty: none
	}{
		{"nothing", nil, nil, ""},
		{"NaN", func(v *imaging.Volume) {
			v.Data.(imaging.Samples[float32])[0] = float32(math.NaN())
		}, nil, "channel 0: 1 voxels are NaN"},
		{"infinite", func(v *imaging.Volume) {
			v.Data.(imaging.Samples[float32])[0] = float32(math.Inf(-1))
		}, nil, "1 voxels are infinite"},
		{"constant", func(v *imaging.Volume) { v.Data.(imaging.Samples[float32])[7] = 0 }, nil, "all finite voxels are 0"},
		{"large spacing", func(v *imaging.Volume) { v.Affine[0][0], v.Affine[1][1], v.Affine[2][2] = 25, 25, 25 }, nil, "spacing along axis 0 is 25 mm"},
		{"small spacing", func(v *imaging.Volume) { v.Affine[0][0], v.Affine[1][1], v.Affine[2][2] = 1e-3, 1e-3, 1e-3 }, nil, "spacing along axis 2 is 0.001 mm"},
		{"thick slices", func(v *imaging.Volume) { v.Affine[0][0], v.Affine[1][1], v.Affine[2][2] = 0.2, 0.2, 15 }, nil, "75 times as long"},
		{"sheared", func(v *imaging.Volume) { v.Affine[0][1] = 0.1 }, nil, "axes 0 and 1 are not at right angles"},
		{"flat", func(v *imaging.Volume) { v.Size = [3]int{3, 20, 1} }, nil, "an axis has one voxel only"},
		{"qform moved", nil, func(b []byte) []byte { put32(b, 268, 3); return b }, "sform and qform disagree by 3 voxels"},
		{"no form", nil, func(b []byte) []byte { b[252], b[254] = 0, 0; return b }, "neither sform nor qform"},
		{"pixdim", nil, func(b []byte) []byte { put32(b, 80, 2); return b }, "the sform contradicts the voxel size"},
		{"pixdim 0", nil, func(b []byte) []byte { put32(b, 84, 0); return b }, "along axis 1 is 0 in pixdim"},
		{"metres", nil, func(b []byte) []byte { b[123] = 1; return b }, `unit of length is "m"`},
		{"bits", nil, func(b []byte) []byte { b[72] = 16; return b }, "16 bits per voxel"},
		{"slope", nil, func(b []byte) []byte { put32(b, 112, float32(math.NaN())); return b }, "the slope is NaN, the intercept 0: voxels are not scaled"},
		{"intercept only", nil, func(b []byte) []byte { put32(b, 112, 0); put32(b, 116, 5); return b }, "the slope is 0, the intercept 5"},
		{"no slope", nil, func(b []byte) []byte { put32(b, 112, 0); return b }, ""},
		{"tail", nil, func(b []byte) []byte { return append(b, 1, 2, 3) }, "3 bytes follow the voxels"},
	} {
		v := plain()
		if tt.change != nil {
			tt.change(v)
		}
		var b bytes.Buffer
		if err := codec.Write(&b, ".nii", v, codec.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		file := b.Bytes()
		if tt.header != nil {
			file = tt.header(file)
		}
		path := filepath.Join(t.TempDir(), "a.nii")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		d := inspectJSON(t, path)
		if all := strings.Join(d.Problems, "; "); tt.problem == "" && all != "" || !strings.Contains(all, tt.problem) {
			t.Errorf("%s: problems %q", tt.name, d.Problems)
		}
		if code, text, _ := inspectText(t, path); code != 0 || !strings.Contains(text, "orientation") || !strings.Contains(text, tt.problem) {
			t.Errorf("%s: exit %d, %s", tt.name, code, text)
		}
	}
}

// Numbers whose differences, products and sums overflow are reported, not lost.
func TestInspectExtremeValues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.nrrd")
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{2, 1, 1}, Affine: imaging.Affine{{1e150, 0, 0, 0}, {0, 1e150, 0, 0}, {0, 0, 1e-150, 0}, {0, 0, 0, 1}}}, 1, imaging.Float64)
	copy(v.Data.(imaging.Samples[float64]), []float64{-math.MaxFloat64, math.MaxFloat64})
	if err := codec.WriteFile(t.Context(), path, v, codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	s := inspectJSON(t, path).Statistics[0]
	if *s.Min != -math.MaxFloat64 || *s.Max != math.MaxFloat64 || s.Std != nil || s.Percentiles["50"] != 0 || math.Abs(s.Percentiles["25"]/(-math.MaxFloat64/2)-1) > 1e-12 {
		t.Errorf("%+v", s)
	}
	if code, text, _ := inspectText(t, path); code != 0 || !strings.Contains(text, "50%: 0,") {
		t.Errorf("exit %d, %s", code, text)
	}
}

// A small file may have very many channels.
func TestInspectManyChannels(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.nrrd")
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{2, 1, 1}, Affine: imaging.Identity()}, 5000, imaging.Uint8)
	for i := range v.Data.Len() {
		v.Data.(imaging.Samples[uint8])[i] = uint8(i)
	}
	if err := codec.WriteFile(t.Context(), path, v, codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	d := inspectJSON(t, path)
	if len(d.Statistics) != 4096 || *d.Statistics[1].Mean != 2.5 || d.Channels != 5000 ||
		!strings.Contains(strings.Join(d.Problems, "; "), "there are 5000 channels; statistics are of the first 4096") {
		t.Errorf("%d statistics, problems %q", len(d.Statistics), d.Problems)
	}
}

func put32(b []byte, at int, f float32) { binary.LittleEndian.PutUint32(b[at:], math.Float32bits(f)) }

// Labels are counted where values are few, form regions, or are called labels by
// the file; not for the values of a grey image.
func TestInspectLabels(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		value      func(x, y, z int) int // of 64 × 8 × 8 voxels
		labels     int
	}{
		{"a mask", "a.nii", func(x, _, _ int) int { return x & 1 }, 2},
		{"sixteen scattered values", "a.nii", func(x, y, z int) int { return (x*7 + y*3 + z*5) % 16 }, 16},
		{"seventeen scattered values", "a.nii", func(x, y, z int) int { return (x*7 + y*3 + z*5) % 17 }, 0},
		{"an 8-bit grey image", "a.nii", func(x, y, z int) int { return (x*37 + y*11 + z*101) % 251 }, 0},
		{"a grey image in much background", "a.nii", func(x, y, z int) int {
			if z > 1 {
				return 0
			}
			return 1 + (x*37+y*11)%200
		}, 0},
		{"200 regions of four voxels", "a.nii", func(x, y, z int) int { return (x/4*7 + y*17 + z*41) % 200 }, 200},
		{"200 regions of two voxels", "a.nii", func(x, y, z int) int { return (x/2*7 + y*17 + z*41) % 200 }, 0},
		{"256 regions", "a.nii", func(x, y, z int) int { return (x/4 + 16*y + 128*z) % 256 }, 256},
		{"257 regions", "a.nii", func(x, y, z int) int { return (x/4 + 16*y + 128*z) % 257 }, 0},
		{"a segmentation", "a.seg.nrrd", func(x, y, z int) int { return (x*37 + y*11 + z*101) % 251 }, 251},
	} {
		path := filepath.Join(t.TempDir(), tt.file)
		v := imaging.NewVolume(imaging.Grid{Size: [3]int{64, 8, 8}, Affine: imaging.Identity()}, 1, imaging.Int16)
		for i := range v.Data.Len() {
			v.Data.(imaging.Samples[int16])[i] = int16(tt.value(i%64, i/64%8, i/512))
		}
		o := codec.WriteOptions{Segments: []nrrd.Segment{{Value: 1}}}
		if err := codec.WriteFile(t.Context(), path, v, o); err != nil {
			t.Fatal(err)
		}
		labels := inspectJSON(t, path).Statistics[0].Labels
		voxels := 0
		for _, l := range labels {
			voxels += l.Voxels
		}
		if len(labels) != tt.labels || len(labels) > 0 && voxels != 4096 {
			t.Errorf("%s: %d labels of %d voxels, want %d", tt.name, len(labels), voxels, tt.labels)
		}
	}
}

// Of the shared folder's files with integers from 0 to 255, the label maps.
func TestInspectLabelsOfRealFiles(t *testing.T) {
	for name, want := range map[string]int{
		"hippocampus/images/hippocampus_127.nii.gz":             0,
		"nifti_variants/avg152T1_LR_nifti.nii.gz":               0,
		"hippocampus/labels/hippocampus_011.nii.gz":             3,
		"nifti_orientations/aal.nii.gz":                         117,
		"totalseg_ct/example_seg_fast_force_split.nii.gz":       62,
		"nrrd_slicerio/Segmentation.seg.nrrd":                   8,
		"dicom_seg_dcmqi/segmentations/liver_seg.nrrd":          2,
		"dicom_seg_dcmqi/segmentations/23x38x3/nrrd/label.nrrd": 2,
	} {
		labels := inspectJSON(t, testkit.Shared(t, filepath.Join("data", name))).Statistics[0].Labels
		if len(labels) != want {
			t.Errorf("%s: %d labels, want %d", name, len(labels), want)
		}
	}
}

func TestInspectSegments(t *testing.T) {
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{10, 10, 10}, Affine: imaging.Identity()}, 2, imaging.Uint8)
	copy(v.Data.(imaging.Samples[uint8]), []uint8{1, 1, 2})
	v.Data.(imaging.Samples[uint8])[1000] = 1
	path := filepath.Join(t.TempDir(), "a.seg.nrrd")
	o := codec.WriteOptions{Segments: []nrrd.Segment{{Name: "spleen", Value: 1}, {Name: "cyst", Value: 1, Layer: 1}, {Name: "lost", Value: 9}, {Name: "far", Value: 1, Layer: 2}}}
	if err := codec.WriteFile(t.Context(), path, v, o); err != nil {
		t.Fatal(err)
	}
	d := inspectJSON(t, path)
	if l := d.Statistics[0].Labels; len(l) != 3 || l[1].Voxels != 2 || l[1].Name != "spleen" || l[1].ML != 0.002 || l[2].Name != "" {
		t.Errorf("%+v", l)
	}
	if l := d.Statistics[1].Labels; len(l) != 2 || l[1].Name != "cyst" {
		t.Errorf("%+v", l)
	}
	want := []string{`segment "lost" has no voxels`, `segment "far" lies in layer 2; the file has 2`, "no segment names the value 2 of layer 0"}
	if strings.Join(d.Problems, ";") != strings.Join(want, ";") {
		t.Errorf("%q", d.Problems)
	}
}

// Files that lie about what they hold, or are not whole.
func TestInspectRefusesHostileFiles(t *testing.T) {
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{8, 8, 8}, Affine: imaging.Identity()}, 1, imaging.Int16)
	for i := range v.Data.(imaging.Samples[int16]) {
		v.Data.(imaging.Samples[int16])[i] = int16(i * i)
	}
	encode := func(ext string) []byte {
		var b bytes.Buffer
		if err := codec.Write(&b, ext, v, codec.WriteOptions{Compress: true}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	patch := func(at int, bytes ...byte) []byte {
		b := encode(".nii")
		copy(b[at:], bytes)
		return b
	}
	cut := func(b []byte, n int) []byte { return b[:len(b)-n] }
	flip := func(b []byte, fromEnd int) []byte { b[len(b)-fromEnd] ^= 0xff; return b }
	text := func(fields, data string) []byte {
		return []byte("NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n" + fields + "\n" + data)
	}
	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty.nii", nil, "it is empty"},
		{"text.nii", []byte("this is no image, whatever its name"), "neither NIfTI nor NRRD"},
		{"half-header.nii", encode(".nii")[:200], "ends before the end of the NIfTI header"},
		{"more-than-it-holds.nii", patch(42, 9), "too short for the 576 voxels"},
		{"one-byte-short.nii", cut(encode(".nii"), 1), "too short"},
		{"huge.nii", patch(42, 0xff, 0x7f, 0xff, 0x7f, 0xff, 0x7f), "more than the"},
		{"zero-axis.nii", patch(44, 0, 0), "0 voxels along axis 2"},
		{"negative-axis.nii", patch(44, 0xff, 0xff), "-1 voxels along axis 2"},
		{"eight-axes.nii", patch(40, 8), "8 dimensions"},
		{"rgb.nii", patch(70, 128, 0), "RGB"},
		{"far-offset.nii", patch(108, 0, 0, 0x80, 0x5f), "start at byte"},
		{"nan-affine.nii", patch(280, 0, 0, 0xc0, 0x7f), "NaN"},
		{"flat-affine.nii", patch(304, 0, 0, 0x80, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), "inverted"},
		{"pair-alone.hdr", patch(344, 'n', 'i', '1', 0), ".img file with its voxels is missing"},
		{"truncated.nii.gz", cut(encode(".nii.gz"), 40), "ends before"},
		{"without-checksum.nii.gz", cut(encode(".nii.gz"), 8), "ends before the end of the gzip stream"},
		{"wrong-checksum.nii.gz", flip(encode(".nii.gz"), 6), "damaged in the gzip stream"},
		{"damaged.nii.gz", flip(encode(".nii.gz"), 200), "damaged"},
		{"truncated.nrrd", cut(encode(".nrrd"), 30), "ends before"},
		{"wrong-checksum.nrrd", flip(encode(".nrrd"), 6), "damaged"},
		{"short.nrrd", text("", "1234567"), "too short for the 8 voxels"},
		{"overflow.nrrd", text("sizes: 4611686018427387904 4 4", ""), "twice"},
		{"outside.nhdr", text("data file: ../secret.raw", ""), "plain name"},
		{"missing.nhdr", text("data file: none.raw", ""), `"none.raw" is missing`},
		{"list.nhdr", text("data file: LIST\nnone.raw\na\nb", ""), "names 3 data files where its sizes need 2"},
		{"pattern.nhdr", text("data file: %d.raw 0 2147483647 1", ""), "data files"},
		{"bad-segment.seg.nrrd", text("Segment0_LabelValue:=x\n", "12345678"), "Segment0_LabelValue"},
		{"ascii.nrrd", []byte("NRRD0004\ntype: uchar\ndimension: 1\nsizes: 3\nencoding: ascii\n\n1 2 300"), "no uint8"},
	} {
		path := filepath.Join(t.TempDir(), tt.name)
		if err := os.WriteFile(path, tt.file, 0o600); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := inspectText(t, path)
		if code != 1 || stdout != "" || !strings.Contains(stderr, tt.want) || !strings.Contains(stderr, tt.name) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, %q, %q", tt.name, code, stdout, stderr)
		}
		out := filepath.Join(t.TempDir(), "out.nii")
		if got := run(t, "convert", path, out); got.code != 1 && tt.name != "bad-segment.seg.nrrd" {
			t.Errorf("%s: convert exits %d: %s", tt.name, got.code, got.errOut)
		}
		if _, err := os.Stat(out); err == nil && tt.name != "bad-segment.seg.nrrd" {
			t.Errorf("%s: convert wrote a file", tt.name)
		}
	}
}

// Of several files the good ones are reported, the bad ones named.
func TestInspectSeveralFiles(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.nii"), filepath.Join(dir, "bad.nii")
	if err := codec.WriteFile(t.Context(), good, series(), codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bad, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := inspectText(t, bad, good)
	if code != 1 || !strings.Contains(stdout, "good.nii: NIfTI-1") || !strings.Contains(stderr, "cannot read bad.nii") || !strings.Contains(stderr, "1 of 2 files cannot be read") {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
	got := run(t, "inspect", "--json", bad, good)
	var docs []document
	for d := json.NewDecoder(strings.NewReader(got.out)); d.More(); {
		var doc document
		if err := d.Decode(&doc); err != nil {
			t.Fatal(err)
		}
		docs = append(docs, doc)
	}
	if got.code != 1 || len(docs) != 2 || docs[0].File != bad || !strings.Contains(docs[0].Error, "neither NIfTI nor NRRD") || docs[1].Channels != 6 {
		t.Errorf("exit %d, %+v", got.code, docs)
	}
	if got := run(t, "inspect"); got.code != 2 {
		t.Errorf("without a file: exit %d", got.code)
	}
}

func inspectText(t *testing.T, paths ...string) (code int, stdout, stderr string) {
	t.Helper()
	r := run(t, append([]string{"inspect"}, paths...)...)
	return r.code, r.out, r.errOut
}
