package codec_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
	"github.com/voxloop/voxloop/internal/imaging/nrrd"
)

func TestExt(t *testing.T) {
	for _, tt := range []struct {
		name, ext string
		known     bool
	}{
		{"a.nii", ".nii", true},
		{"a.nii.gz", ".nii.gz", true},
		{"1.2.840.5.nii.gz", ".nii.gz", true},
		{"A.NII.GZ", ".NII.GZ", true},
		{"a.seg.nrrd", ".seg.nrrd", true},
		{"a.Nrrd", ".Nrrd", true},
		{"a.nhdr", ".nhdr", true},
		{"scan.dcm", ".dcm", false},
		{"archive.tar.gz", ".gz", false},
		{"plain", "", false},
		{"", "", false},
		{"nii", "", false},
		{"folder.nii/plain", "", false},
	} {
		if got := codec.Ext(tt.name); got != tt.ext || codec.Known(got) != tt.known {
			t.Errorf("%q: %q, known %v", tt.name, got, codec.Known(got))
		}
	}
}

// drawVolume makes a random volume; its geometry survives float32 exactly, so
// that NIfTI can be compared without tolerance.
func drawVolume(t *rapid.T) *imaging.Volume {
	dim := rapid.IntRange(1, 6)
	g := imaging.Grid{Size: [3]int{dim.Draw(t, "nx"), dim.Draw(t, "ny"), dim.Draw(t, "nz")}, Affine: imaging.Identity()}
	entry := rapid.Float32Range(-4, 4)
	for i := range 3 {
		for j := range 4 {
			g.Affine[i][j] = float64(entry.Draw(t, "affine"))
		}
	}
	for d := g.Affine.Det(); math.Abs(d) < 0.1; d = g.Affine.Det() {
		for i := range 3 {
			g.Affine[i][i] = float64(float32(g.Affine[i][i] + 1.5 + 0.25*float64(i)))
		}
	}
	v := imaging.NewVolume(g, rapid.IntRange(1, 3).Draw(t, "channels"), imaging.DataType(rapid.IntRange(1, 10).Draw(t, "type")))
	switch d := v.Data.(type) {
	case imaging.Samples[uint8]:
		draw(t, d, rapid.Uint8())
	case imaging.Samples[int8]:
		draw(t, d, rapid.Int8())
	case imaging.Samples[uint16]:
		draw(t, d, rapid.Uint16())
	case imaging.Samples[int16]:
		draw(t, d, rapid.Int16())
	case imaging.Samples[uint32]:
		draw(t, d, rapid.Uint32())
	case imaging.Samples[int32]:
		draw(t, d, rapid.Int32())
	case imaging.Samples[uint64]:
		draw(t, d, rapid.Uint64())
	case imaging.Samples[int64]:
		draw(t, d, rapid.Int64())
	case imaging.Samples[float32]:
		draw(t, d, rapid.Float32())
	case imaging.Samples[float64]:
		draw(t, d, rapid.Float64())
	}
	return v
}

func draw[T any](t *rapid.T, dst []T, g *rapid.Generator[T]) {
	copy(dst, rapid.SliceOfN(g, len(dst), len(dst)).Draw(t, "voxels"))
}

func TestWriteThenReadIsIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawVolume(t)
		ext := rapid.SampledFrom([]string{".nii", ".nii.gz", ".nrrd", ".seg.nrrd", ".NRRD"}).Draw(t, "ext")
		o := codec.WriteOptions{Compress: rapid.Bool().Draw(t, "compress")}
		var b, again bytes.Buffer
		if err := codec.Write(&b, ext, v, o); err != nil {
			t.Fatal(err)
		}
		if err := codec.Write(&again, ext, v, o); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Fatalf("writing twice gives different bytes (%v)", err)
		}
		// The name's extension plays no part in reading.
		got, err := codec.ReadFrom(t.Context(), &b, "upload.bin", codec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Grid != v.Grid || got.Channels != v.Channels || got.Data.Type() != v.Data.Type() {
			t.Fatalf("%v × %d %s, want %v × %d %s", got.Grid, got.Channels, got.Data.Type(), v.Grid, v.Channels, v.Data.Type())
		}
		for i := range v.Data.Len() {
			if a, b := got.Data.At(i), v.Data.At(i); a != b {
				t.Fatalf("voxel %d is %g, want %g", i, a, b)
			}
		}
	})
}

func TestScalingIsKeptOrApplied(t *testing.T) {
	for _, tt := range []struct {
		ext              string
		dt               imaging.DataType
		slope, intercept float64
		want             imaging.DataType // as stored
	}{
		{".nii", imaging.Int16, 0.25, -1024, imaging.Int16},
		{".nii.gz", imaging.Uint8, -2, 0, imaging.Uint8},
		{".nii", imaging.Int32, 1e-60, 0, imaging.Float64}, // no float32
		{".nii", imaging.Int16, 1e-60, 3, imaging.Float32},
		{".nrrd", imaging.Int16, 0.25, -1024, imaging.Float32},
		{".nrrd", imaging.Int32, 0.25, -1024, imaging.Float64},
		{".nrrd", imaging.Float32, 2, 0, imaging.Float32},
	} {
		v := small(tt.dt)
		v.Slope, v.Intercept = tt.slope, tt.intercept
		got, err := codec.ReadFrom(t.Context(), bytes.NewReader(encode(t, tt.ext, v, codec.WriteOptions{})), "x", codec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Data.Type() != tt.want {
			t.Errorf("%+v: stored as %s", tt, got.Data.Type())
		}
		for _, p := range [][3]int{{0, 0, 0}, {4, 3, 2}, {2, 1, 1}} {
			a, b := got.At(p[0], p[1], p[2], 0), v.At(p[0], p[1], p[2], 0)
			if math.Abs(a-b) > 1e-7*math.Abs(b) {
				t.Errorf("%+v: voxel %v is %g, want %g", tt, p, a, b)
			}
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	flat := small(imaging.Uint8)
	flat.Affine[0], flat.Affine[1] = [4]float64{}, [4]float64{}
	for _, tt := range []struct {
		name, ext string
		v         *imaging.Volume
		kind      fault.Kind
	}{
		{"unknown extension", ".dcm", small(imaging.Uint8), fault.Invalid},
		{"read-only extension", ".nhdr", small(imaging.Uint8), fault.Invalid},
		{"no extension", "", small(imaging.Uint8), fault.Invalid},
		{"flat grid", ".nii", flat, fault.Invalid},
		{"flat grid, NRRD", ".nrrd", flat, fault.Invalid},
	} {
		var b bytes.Buffer
		if err := codec.Write(&b, tt.ext, tt.v, codec.WriteOptions{}); fault.KindOf(err) != tt.kind || b.Len() > 0 {
			t.Errorf("%s: %v, %d bytes written", tt.name, err, b.Len())
		}
	}
	l := imaging.NewLabelMap(small(imaging.Uint8).Grid)
	l.Data[7] = 300
	if err := codec.WriteLabels(&bytes.Buffer{}, ".nii", l, imaging.Uint8, codec.WriteOptions{}); fault.KindOf(err) != fault.Invalid || !errors.Is(err, imaging.ErrFormat) {
		t.Errorf("label 300 as uint8: %v", err)
	}
}

// failing accepts some bytes, then the disk is full.
type failing struct{ left int }

var errFull = errors.New("disk full")

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteErrorsComeThrough(t *testing.T) {
	for _, ext := range []string{".nii", ".nii.gz", ".nrrd", ".seg.nrrd"} {
		for _, compress := range []bool{false, true} {
			whole := len(encode(t, ext, small(imaging.Int16), codec.WriteOptions{Compress: compress}))
			for _, left := range []int{0, whole / 2, whole - 1} {
				err := codec.Write(&failing{left}, ext, small(imaging.Int16), codec.WriteOptions{Compress: compress})
				if !errors.Is(err, errFull) {
					t.Errorf("%s after %d of %d bytes: %v", ext, left, whole, err)
				}
			}
		}
	}
}

func TestCompressedFilesCarryNoTime(t *testing.T) {
	b := encode(t, ".nii.gz", small(imaging.Int16), codec.WriteOptions{})
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("time %v, name %q", z.ModTime, z.Name)
	}
}

func TestSegmentationsNameTheirSegments(t *testing.T) {
	l := imaging.NewLabelMap(small(imaging.Uint8).Grid)
	l.Data[3], l.Data[4] = 1, 2
	o := codec.WriteOptions{Compress: true, Segments: []nrrd.Segment{
		{Name: "spleen", Value: 1, Color: [3]float64{1, 0.5, 0}},
		{ID: "liver_2", Value: 2, Layer: 0},
	}}
	var b bytes.Buffer
	if err := codec.WriteLabels(&b, ".seg.nrrd", l, imaging.Uint8, o); err != nil {
		t.Fatal(err)
	}
	_, meta, err := nrrd.ReadWithMeta(t.Context(), raw.NewSource(&b, -1), codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"Segment0_ID": "Segment_1", "Segment0_Name": "spleen", "Segment0_Color": "1 0.5 0", "Segment0_LabelValue": "1",
		"Segment0_Layer": "0", "Segment0_Extent": "0 4 0 3 0 2", "Segment1_ID": "liver_2", "Segment1_Name": "liver_2",
	} {
		if got, ok := meta.Get(key); !ok || got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// A pair of a header and an image file, the image compressed or not.
func TestPairs(t *testing.T) {
	b := encode(t, ".nii", small(imaging.Int16), codec.WriteOptions{})
	want, weighted := checksums(small(imaging.Int16))
	header, voxels := bytes.Clone(b[:348]), b[352:]
	copy(header[344:], "ni1\x00")
	set32(header, 108, 0)
	for _, tt := range []struct {
		hdr, img     string
		hdrGz, imgGz bool
		ok           bool
	}{
		{"a.hdr", "a.img", false, false, true},
		{"b.hdr.gz", "b.img.gz", true, true, true},
		{"c.hdr", "c.img.gz", false, true, true},
		{"d.hdr", "other.img", false, false, false},
		{"e.nii", "e.img", false, false, false},
	} {
		dir := t.TempDir()
		for name, content := range map[string][]byte{tt.hdr: header, tt.img: voxels} {
			if name == tt.hdr && tt.hdrGz || name == tt.img && tt.imgGz {
				content = zipped(content)
			}
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		v, err := codec.Read(t.Context(), filepath.Join(dir, tt.hdr), codec.Limits{})
		if !tt.ok {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s: %v", tt.hdr, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.hdr, err)
			continue
		}
		if s, w := checksums(v); s != want || w != weighted {
			t.Errorf("%s: sums %g, %g", tt.hdr, s, w)
		}
	}
}
