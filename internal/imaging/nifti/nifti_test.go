package nifti

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

func volume(a imaging.Affine) *imaging.Volume {
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{3, 4, 5}, Affine: a}, 1, imaging.Int16)
	for i := range v.Data.(imaging.Samples[int16]) {
		v.Data.(imaging.Samples[int16])[i] = int16(i - 7)
	}
	return v
}

func written(t testing.TB, v *imaging.Volume) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, v, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readBytes(t testing.TB, b []byte) (*imaging.Volume, error) {
	t.Helper()
	return Read(t.Context(), raw.NewSource(bytes.NewReader(b), int64(len(b))), "x.nii", raw.Limits{})
}

// The choice between sform, qform and neither, on one header.
func TestPlaceRules(t *testing.T) {
	sform := imaging.Affine{{2, 0, 0, 1}, {0, 3, 0, 2}, {0, 0, 4, 3}, {0, 0, 0, 1}}
	qform := imaging.Affine{{-2, 0, 0, 10}, {0, -3, 0, 20}, {0, 0, 4, 30}, {0, 0, 0, 1}}
	qformAt := func(x, y, z float64) imaging.Affine {
		q := qform
		q[0][0], q[1][1], q[2][2] = -x, -y, z
		return q
	}
	base := header{
		dim: []int64{3, 4, 5}, datatype: 4, slope: 1, offset: 352, size: size1,
		placing: placing{
			pixdim: [8]float64{1, 2, 3, 4}, quatern: [3]float64{0, 0, 1}, qoffset: [3]float64{10, 20, 30},
			srow: [3][4]float64{sform[0], sform[1], sform[2]},
		},
	}
	nan := math.NaN()
	for _, tt := range []struct {
		name   string
		change func(h *header)
		want   imaging.Affine
		fails  bool
	}{
		{"both: the sform", func(h *header) { h.scode, h.qcode = 1, 1 }, sform, false},
		{"sform alone", func(h *header) { h.scode = 4 }, sform, false},
		{"qform alone", func(h *header) { h.qcode = 1 }, qform, false},
		{"negative codes are none", func(h *header) { h.scode, h.qcode = -1, -1 }, imaging.Affine{{-2, 0, 0, 2}, {0, 3, 0, -4.5}, {0, 0, 4, -8}, {0, 0, 0, 1}}, false},
		{"neither: centred, x to the left", func(*header) {}, imaging.Affine{{-2, 0, 0, 2}, {0, 3, 0, -4.5}, {0, 0, 4, -8}, {0, 0, 0, 1}}, false},
		{"sform contradicts pixdim", func(h *header) { h.scode, h.qcode, h.pixdim[3] = 1, 1, 5 }, qformAt(2, 3, 5), false},
		{"sform contradicts pixdim, no qform code", func(h *header) { h.scode, h.pixdim[1] = 1, 1 }, qformAt(1, 3, 4), false},
		{"within tolerance", func(h *header) { h.scode, h.pixdim[1] = 1, 2.00001 }, sform, false},
		{"contradiction, but no qform", func(h *header) { h.scode, h.pixdim[1], h.quatern[0] = 1, 1, 5 }, sform, false},
		{"contradiction, qform NaN", func(h *header) { h.scode, h.pixdim[1], h.qoffset[0] = 1, 1, nan }, sform, false},
		{"zero voxel size means 1", func(h *header) { h.qcode, h.pixdim[2] = 1, 0 }, qformAt(2, 1, 4), false},
		{"negative voxel size", func(h *header) { h.qcode, h.pixdim[2] = 1, -3 }, qform, false},
		{"qfac -1 flips z", func(h *header) { h.qcode, h.pixdim[0] = 1, -1 }, qformAt(2, 3, -4), false},
		{"qfac 0 means 1", func(h *header) { h.qcode, h.pixdim[0] = 1, 0 }, qform, false},
		{"quaternion a little too long", func(h *header) { h.qcode, h.quatern[2] = 1, 1+0x1p-24 }, qform, false},
		{"NaN sform", func(h *header) { h.scode, h.qcode, h.srow[1][2] = 1, 1, nan }, sform, true},
		{"NaN qform", func(h *header) { h.qcode, h.qoffset[1] = 1, nan }, qform, true},
		{"qform without rotation", func(h *header) { h.qcode, h.quatern[0] = 1, 1 }, qform, true},
		{"flat sform", func(h *header) { h.scode, h.quatern[0], h.srow[2] = 1, 9, h.srow[1] }, sform, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := base
			tt.change(&h)
			if err := h.check(); err != nil {
				t.Fatal(err)
			}
			g, err := h.grid()
			if tt.fails {
				if err == nil {
					t.Errorf("no error, affine %v", g.Affine)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range 4 {
				for j := range 4 {
					if math.Abs(g.Affine[i][j]-tt.want[i][j]) > 1e-6 {
						t.Fatalf("affine %v, want %v", g.Affine, tt.want)
					}
				}
			}
		})
	}
}

func TestDimensionsBecomeChannels(t *testing.T) {
	for _, tt := range []struct {
		dim      []int64
		size     [3]int
		channels int
	}{
		{[]int64{7}, [3]int{7, 1, 1}, 1},
		{[]int64{7, 6}, [3]int{7, 6, 1}, 1},
		{[]int64{7, 6, 5}, [3]int{7, 6, 5}, 1},
		{[]int64{7, 6, 5, 4}, [3]int{7, 6, 5}, 4},
		{[]int64{7, 6, 5, 1, 3}, [3]int{7, 6, 5}, 3},
		{[]int64{7, 6, 5, 4, 3}, [3]int{7, 6, 5}, 12},
		{[]int64{7, 6, 5, 1, 1, 1, 2}, [3]int{7, 6, 5}, 2},
	} {
		h := header{dim: tt.dim, datatype: 4, slope: 1, offset: 352, size: size1, placing: placing{pixdim: [8]float64{1, 1, 1, 1}}}
		g, err := h.grid()
		if err != nil {
			t.Fatal(err)
		}
		c, err := h.channels()
		if err != nil || g.Size != tt.size || c != tt.channels {
			t.Errorf("%v: %v × %d, %v", tt.dim, g.Size, c, err)
		}
	}
}

func TestScalingFields(t *testing.T) {
	for _, tt := range []struct{ slope, inter, wantSlope, wantInter float64 }{
		{0, 5, 1, 0},
		{math.NaN(), math.NaN(), 1, 0},
		{math.Inf(1), 2, 1, 0},
		{0.5, -12, 0.5, -12},
		{-1, 0, -1, 0},
	} {
		b := written(t, volume(imaging.Identity()))
		binary.LittleEndian.PutUint32(b[112:], math.Float32bits(float32(tt.slope)))
		binary.LittleEndian.PutUint32(b[116:], math.Float32bits(float32(tt.inter)))
		v, err := readBytes(t, b)
		if err != nil || v.Slope != tt.wantSlope || v.Intercept != tt.wantInter {
			t.Errorf("%+v: %v %v", tt, v, err)
		}
	}
}

func TestExtensionsAreSkipped(t *testing.T) {
	b := written(t, volume(imaging.Identity()))
	want, err := readBytes(t, b)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(b[108:], math.Float32bits(352+32))
	b[348] = 1
	extended := append(append(bytes.Clone(b[:352]), bytes.Repeat([]byte{0xee}, 32)...), b[352:]...)
	got, err := readBytes(t, extended)
	if err != nil || got.Data.At(0) != want.Data.At(0) || got.Data.At(59) != want.Data.At(59) {
		t.Errorf("%v", err)
	}
}

// The written fields that viewers rely on, at their offsets in nifti1.h.
func TestWrittenHeader(t *testing.T) {
	v := volume(imaging.Affine{{-0.7, 0, 0, 90}, {0, -0.7, 0, 120.5}, {0, 0, 2.5, -300}, {0, 0, 0, 1}})
	b := written(t, v)
	le := binary.LittleEndian
	i16 := func(at int) int { return int(int16(le.Uint16(b[at:]))) }
	f32 := func(at int) float32 { return math.Float32frombits(le.Uint32(b[at:])) }
	if len(b) != 352+2*60 || le.Uint32(b) != 348 || string(b[344:348]) != "n+1\x00" || f32(108) != 352 {
		t.Errorf("%d bytes, size %d, magic %q, offset %g", len(b), le.Uint32(b), b[344:348], f32(108))
	}
	if dims := [5]int{i16(40), i16(42), i16(44), i16(46), i16(48)}; dims != [5]int{3, 3, 4, 5, 1} {
		t.Errorf("dim %v", dims)
	}
	if i16(70) != 4 || i16(72) != 16 || i16(252) != 1 || i16(254) != 1 || b[123] != 2 {
		t.Errorf("type %d, %d bits, qform %d, sform %d, units %d", i16(70), i16(72), i16(252), i16(254), b[123])
	}
	if f32(76) != 1 || f32(80) != 0.7 || f32(88) != 2.5 || f32(112) != 1 || f32(116) != 0 {
		t.Errorf("pixdim %g %g … %g, slope %g, intercept %g", f32(76), f32(80), f32(88), f32(112), f32(116))
	}
	if f32(256) != 0 || f32(260) != 0 || f32(264) != 1 { // half a turn about z
		t.Errorf("quaternion %g %g %g", f32(256), f32(260), f32(264))
	}
}

// The qform of any rotation, mirrored or not, is within 1e-4 of the sform. Very
// close to half turns the format itself cannot hold angles below 2e-4.
func TestQformEqualsSform(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.Float64Range(-1, 1)
		qb, qc, qd := part.Draw(t, "b"), part.Draw(t, "c"), part.Draw(t, "d")
		a := rapid.SampledFrom([]float64{0, 1e-9, 1e-5, 1e-3, 0.5, 1}).Draw(t, "a")
		if qb*qb+qc*qc+qd*qd < 1e-3 {
			a = 1
		}
		r := rotation(a, qb, qc, qd)
		spacing := [3]float64{0.7, 1, rapid.SampledFrom([]float64{2.5, -2.5}).Draw(t, "z")}
		want := imaging.Identity()
		for i := range 3 {
			for j := range 3 {
				want[i][j] = r[i][j] * spacing[j]
			}
		}
		var b bytes.Buffer
		if err := Write(&b, volume(want), WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		var h header
		if err := h.parse1(fields{b: b.Bytes(), order: binary.LittleEndian}); err != nil {
			t.Fatal(err)
		}
		q, ok := h.qform()
		if !ok {
			t.Fatalf("quaternion %v is too long", h.quatern)
		}
		s := h.sform()
		tolerance := 1e-4
		if n := math.Sqrt(a*a + qb*qb + qc*qc + qd*qd); a/n < 0.01 {
			tolerance = 2.5 * 4e-4
		}
		for i := range 3 {
			for j := range 4 {
				if math.Abs(q[i][j]-s[i][j]) > tolerance || math.Abs(s[i][j]-want[i][j]) > 1e-6 {
					t.Fatalf("qform %v\nsform %v\nwant %v", q, s, want)
				}
			}
		}
	})
}

func TestNearestOrthogonal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m matrix
		for i := range 3 {
			for j := range 3 {
				m[i][j] = rapid.Float64Range(-1, 1).Draw(t, "m")
			}
		}
		if math.Abs(m.det()) < 1e-3 {
			t.Skip("nearly singular")
		}
		u := nearestOrthogonal(m)
		// UᵀU = 1, and UᵀM is symmetric and positive definite: the two facts
		// that define the polar factor.
		var gram, h matrix
		for i := range 3 {
			for j := range 3 {
				for k := range 3 {
					gram[i][j] += u[k][i] * u[k][j]
					h[i][j] += u[k][i] * m[k][j]
				}
			}
		}
		for i := range 3 {
			for j := range 3 {
				want := 0.0
				if i == j {
					want = 1
				}
				if math.Abs(gram[i][j]-want) > 1e-12 || math.Abs(h[i][j]-h[j][i]) > 1e-12 {
					t.Fatalf("m %v: UᵀU = %v, UᵀM = %v", m, gram, h)
				}
			}
		}
		if h[0][0] <= 0 || h[0][0]*h[1][1]-h[0][1]*h[1][0] <= 0 || h.det() <= 0 {
			t.Fatalf("UᵀM = %v is not positive definite", h)
		}
	})
}
