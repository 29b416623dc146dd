package nifti

import (
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
	"github.com/voxloop/voxloop/internal/testkit"
)

func readMeta(t testing.TB, b []byte) (*imaging.Volume, Meta) {
	t.Helper()
	s, err := raw.NewSource(bytes.NewReader(b), int64(len(b))).Unzip()
	if err != nil {
		t.Fatal(err)
	}
	v, m, err := ReadWithMeta(t.Context(), s, "x.nii", raw.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v, m
}

func writeMeta(t testing.TB, v *imaging.Volume, o WriteOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, v, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// everything is a Meta in which no field is zero.
func everything() *Meta {
	return &Meta{
		Dim: []int{3, 4, 5, 2, 3}, Step: [4]float64{2.5, 1.5, 0.5, 0.25}, Units: 2 | 8, Description: "a description of 80 bytes at most",
		AuxFile: "aux.txt", Intent: Intent{1007, "vectors", [3]float64{1, 2.5, -3}}, CalMin: -10, CalMax: 200, TimeOffset: 0.75,
		Slices: Slices{1, 4, 3, 0.0625}, DimInfo: 0x39,
		Extensions: []Extension{{6, []byte("a comment, 24 bytes long")}, {4, bytes.Repeat([]byte{7}, 40)}},
	}
}

func TestMetaSurvivesWritingAndReading(t *testing.T) {
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{3, 4, 5}, Affine: imaging.Identity()}, 6, imaging.Int16)
	for _, version := range []int{1, 2} {
		want := everything()
		got, m := readMeta(t, writeMeta(t, v, WriteOptions{Version: version, Meta: want}))
		if got.Grid != v.Grid || got.Channels != 6 || m.Version != version || m.SformCode != 1 || m.QformCode != 1 {
			t.Errorf("version %d: %v × %d, %+v", version, got.Grid, got.Channels, m)
		}
		want.Version, want.SformCode, want.QformCode, want.place = version, 1, 1, m.place
		if !reflect.DeepEqual(&m, want) {
			t.Errorf("version %d:\n got %+v\nwant %+v", version, &m, want)
		}
	}
}

// A block that is no multiple of 16 is filled up with zeros.
func TestExtensionsArePadded(t *testing.T) {
	m := Meta{Units: unitsMM, Extensions: []Extension{{6, []byte("abc")}}}
	b := writeMeta(t, volume(imaging.Identity()), WriteOptions{Meta: &m})
	if got := binary.LittleEndian.Uint32(b[352:]); got != 16 || b[348] != 1 || len(b) != 352+16+2*60 {
		t.Errorf("esize %d, flag %d, %d bytes", got, b[348], len(b))
	}
	_, back := readMeta(t, b)
	if len(back.Extensions) != 1 || string(back.Extensions[0].Data) != "abc\x00\x00\x00\x00\x00" || back.Extensions[0].Code != 6 {
		t.Errorf("%+v", back.Extensions)
	}
	m.Extensions[0].Data = make([]byte, maxExtensions)
	if err := Write(&bytes.Buffer{}, volume(imaging.Identity()), WriteOptions{Meta: &m}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("too long an extension: %v", err)
	}
}

// An extension that cannot be one is left out and named; the voxels are read.
func TestMalformedExtensions(t *testing.T) {
	for name, size := range map[string]int32{"negative": -1, "zero": 0, "beyond the voxels": 64} {
		b := writeMeta(t, volume(imaging.Identity()), WriteOptions{Meta: everything3D()})
		binary.LittleEndian.PutUint32(b[352+32:], uint32(size)) // the second one
		v, m := readMeta(t, b)
		if len(m.Extensions) != 1 || len(m.Problems) != 1 || !strings.Contains(m.Problems[0], "byte 384") || v.Data.At(59) != 52 {
			t.Errorf("%s: %d extensions, problems %q, last voxel %g", name, len(m.Extensions), m.Problems, v.Data.At(59))
		}
	}
}

// Blocks that lack their padding would need more room than there may be: those
// that do not fit are left out, so that what has been read can be written.
func TestUnpaddedExtensionsFitWhenWritten(t *testing.T) {
	const blocks = maxExtensions/extensionHead - 1
	plain := writeMeta(t, volume(imaging.Identity()), WriteOptions{})
	b := slices.Concat(plain[:348], []byte{1, 0, 0, 0}, bytes.Repeat([]byte{8, 0, 0, 0, 6, 0, 0, 0}, blocks), plain[352:])
	binary.LittleEndian.PutUint32(b[108:], math.Float32bits(352+8*blocks))
	v, m := readMeta(t, b)
	if n := len(m.Extensions); n == 0 || n >= blocks || len(m.Problems) != 1 || !strings.Contains(m.Problems[0], "they are not kept") {
		t.Errorf("%d of %d extensions, problems %q", n, blocks, m.Problems)
	}
	if err := Write(&bytes.Buffer{}, v, WriteOptions{Meta: &m}); err != nil {
		t.Error(err)
	}
}

func everything3D() *Meta {
	m := everything()
	m.Dim = []int{3, 4, 5}
	return m
}

// What real files say is written back: the place bit by bit, so that reading
// again gives the very same affine.
func TestRealFilesAreWrittenBackEqual(t *testing.T) {
	for _, name := range []string{
		"with_extension.nii.gz", "5D_small.nii", "avg152T1_LR_nifti.nii.gz", "avg152T1_LR_nifti2.nii.gz", "big.nii.gz", "little.nii.gz", "air2.hdr.gz",
	} {
		s, err := raw.Open(testkit.Shared(t, "data", "nifti_variants", name))
		if err != nil {
			t.Fatal(err)
		}
		folder := testkit.Shared(t, "data", "nifti_variants")
		s.SetOpener(func(n string) (*raw.Source, error) { return raw.OpenIn(folder, n) })
		z, err := s.Unzip()
		if err != nil {
			t.Fatal(err)
		}
		v, m, err := ReadWithMeta(t.Context(), z, name, raw.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		got, back := readMeta(t, writeMeta(t, v, WriteOptions{Meta: &m}))
		if got.Grid != v.Grid || got.Slope != v.Slope || got.Intercept != v.Intercept || !reflect.DeepEqual(got.Data, v.Data) {
			t.Errorf("%s: grid %v, want %v; slope %g, want %g", name, got.Grid, v.Grid, got.Slope, v.Slope)
		}
		m.BigEndian, m.Pair, m.Problems = false, false, nil
		if !reflect.DeepEqual(back, m) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, back, m)
		}
	}
}

// A volume that has been moved gets a new place, whatever was read.
func TestKeptPlaceMustFit(t *testing.T) {
	v, m := readMeta(t, written(t, volume(imaging.Affine{{-2, 0, 0, 9}, {0, 3, 0, 8}, {0, 0, 4, 7}, {0, 0, 0, 1}})))
	v.Affine[0][3] = 5
	got, _ := readMeta(t, writeMeta(t, v, WriteOptions{Meta: &m}))
	if got.Affine != v.Affine {
		t.Errorf("%v, want %v", got.Affine, v.Affine)
	}
}

func TestVersions(t *testing.T) {
	long := imaging.NewVolume(imaging.Grid{Size: [3]int{32768, 1, 1}, Affine: imaging.Identity()}, 1, imaging.Uint8)
	far := volume(imaging.Identity())
	far.Affine[0][3] = 1e300
	many := imaging.NewVolume(imaging.Grid{Size: [3]int{1, 1, 1}, Affine: imaging.Identity()}, 40000, imaging.Uint8)
	for _, tt := range []struct {
		name string
		v    *imaging.Volume
		o    WriteOptions
		want int // 0: refused
	}{
		{"small", volume(imaging.Identity()), WriteOptions{}, 1},
		{"small, 2 asked for", volume(imaging.Identity()), WriteOptions{Version: 2}, 2},
		{"small, read as 2", volume(imaging.Identity()), WriteOptions{Meta: &Meta{Version: 2}}, 2},
		{"small, read as 2, 1 asked for", volume(imaging.Identity()), WriteOptions{Version: 1, Meta: &Meta{Version: 2}}, 1},
		{"long axis", long, WriteOptions{}, 2},
		{"long axis, read as 1", long, WriteOptions{Meta: &Meta{Version: 1}}, 2},
		{"long axis, 1 asked for", long, WriteOptions{Version: 1}, 0},
		{"many channels", many, WriteOptions{}, 2},
		{"beyond float32", far, WriteOptions{}, 2},
		{"beyond float32, 1 asked for", far, WriteOptions{Version: 1}, 0},
		{"version 3", far, WriteOptions{Version: 3}, 0},
	} {
		var b bytes.Buffer
		err := Write(&b, tt.v, tt.o)
		if tt.want == 0 {
			if fault.KindOf(err) != fault.Invalid || b.Len() > 0 {
				t.Errorf("%s: %v, %d bytes written", tt.name, err, b.Len())
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		v, m := readMeta(t, b.Bytes())
		if m.Version != tt.want || v.Grid != tt.v.Grid || v.Channels != tt.v.Channels {
			t.Errorf("%s: version %d, %v × %d", tt.name, m.Version, v.Grid, v.Channels)
		}
	}
}

// NIfTI-2 holds any affine and scaling to the last bit, and a qform that is
// close to it.
func TestVersion2IsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.Float64Range(-1, 1)
		r := rotation(rapid.Float64Range(0, 1).Draw(t, "a"), part.Draw(t, "b"), part.Draw(t, "c"), part.Draw(t, "d"))
		v := volume(imaging.Identity())
		for i := range 3 {
			v.Affine[i][3] = rapid.Float64Range(-1000, 1000).Draw(t, "origin")
			for j := range 3 {
				v.Affine[i][j] = r[i][j] * []float64{0.7, 1.1, -2.3}[j]
			}
		}
		v.Slope, v.Intercept = rapid.Float64Range(0.1, 10).Draw(t, "slope"), part.Draw(t, "intercept")
		var b bytes.Buffer
		if err := Write(&b, v, WriteOptions{Version: 2}); err != nil {
			t.Fatal(err)
		}
		got, m, err := ReadWithMeta(t.Context(), raw.NewSource(&b, -1), "x.nii", raw.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Affine != v.Affine || got.Slope != v.Slope || got.Intercept != v.Intercept {
			t.Fatalf("%v, want %v", got.Affine, v.Affine)
		}
		q, ok := m.Qform()
		if !ok {
			t.Fatal("no qform")
		}
		for i := range 3 {
			for j := range 4 {
				if math.Abs(q[i][j]-v.Affine[i][j]) > 1e-7 {
					t.Fatalf("qform %v, affine %v", q, v.Affine)
				}
			}
		}
	})
}

func TestChannelsByTimeAndComponent(t *testing.T) {
	m := Meta{Dim: []int{7, 6, 5, 4, 3}, Step: [4]float64{2.5}}
	for _, tt := range []struct {
		index []int
		want  int // -1: refused
	}{{nil, 0}, {[]int{3}, 3}, {[]int{0, 1}, 4}, {[]int{3, 2}, 11}, {[]int{4}, -1}, {[]int{0, 3}, -1}, {[]int{-1}, -1}, {[]int{0, 0, 0}, -1}} {
		got, err := m.Channel(tt.index...)
		if tt.want < 0 && fault.KindOf(err) != fault.Invalid || tt.want >= 0 && (err != nil || got != tt.want) {
			t.Errorf("%v: %d, %v", tt.index, got, err)
		}
	}
	if a := m.Axes(); !reflect.DeepEqual(a, []raw.Axis{{Size: 4, Kind: "time", Step: 2.5}, {Size: 3, Kind: "vector"}}) {
		t.Errorf("axes %+v", a)
	}
}
